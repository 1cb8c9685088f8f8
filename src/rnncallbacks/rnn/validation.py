"""Validation of the arrays, states and options that a network is given. Each error names the first violation."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays.containers import Array, BoolArray
from rnncallbacks.errors import ContainerError, DataError, OptionError, ShapeError

IntArray = npt.NDArray[np.integer[Any]]


def as_array(name: str, values: npt.ArrayLike) -> Array:
    """The values as an array, without a copy if they are one. ``name`` stands for them in an error.

    Raises
    ------
    ShapeError
        They are nested lists of different lengths.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ShapeError(
            f"{name}: expected an array, got rows that differ in length: {error}",
            hint="for token sequences of different lengths, use a SequenceLoader",
        ) from None


def as_tokens(name: str, tokens: npt.ArrayLike) -> IntArray:
    """Token numbers as an integer array with one axis. ``name`` stands for them in an error.

    Raises
    ------
    DataError
        They are not integers, or one is negative.
    ShapeError
        They do not have exactly one axis.
    """
    array = as_array(name, tokens)
    if array.ndim != 1:
        raise ShapeError(f"{name}: expected one axis of token numbers, got shape {array.shape}")
    if not array.size:
        return array.astype(np.intp)
    if not is_integer(array):
        raise DataError(
            f"{name}: expected token numbers, which are integers, got {array.dtype}",
            hint="Vocabulary.encode turns text into token numbers",
        )
    check_values(name, array)
    return array


def as_indices(name: str, tokens: Array, vocab_size: int, option: str = "vocab_size") -> IntArray:
    """The tokens as array indices, in a single pass over them. ``option`` names the option that sets ``vocab_size``.

    Raises
    ------
    DataError
        They are not integers, there are none, or one is not in the range from 0 to vocab_size - 1.
    """
    if not is_integer(tokens):
        raise DataError(
            f"{name}: expected token numbers, which are integers, got {tokens.dtype} {tokens.shape}",
            hint='for floats, make the model with input_size (inputs) or loss="mse" (targets)',
        )
    check_steps(name, tokens)
    indices = np.ascontiguousarray(tokens, dtype=np.intp)
    # As unsigned integers, negative tokens are larger than all others.
    if indices.view(np.uintp).max() >= vocab_size:
        wrong = (indices < 0) | (indices >= vocab_size)
        position = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise DataError(
            f"{name}: token {indices[position]} at {position} is out of range: {option} is {vocab_size}, so tokens "
            f"are 0 to {vocab_size - 1} ({int(wrong.sum())} of {wrong.size} positions are wrong)",
            hint="masked positions need a valid token too, such as 0",
        )
    return indices


def check_count(name: str, value: int, minimum: int = 1) -> int:
    """The option ``value``, which must be an integer of at least ``minimum``.

    Raises
    ------
    OptionError
        It is not.

    Example
    -------
    >>> check_count("batch_size", 32)
    32
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise OptionError(f"{name}: expected an integer >= {minimum}, got {value!r}")
    return int(value)


def is_integer(array: Array) -> bool:
    return array.dtype.kind in "iu"


def one_per_sequence(targets: Array) -> bool:
    return targets.ndim == (1 if is_integer(targets) else 2)


def check_layout(inputs: Array, targets: Array, mask: BoolArray | None, time_axis: int) -> None:
    """Check that arrays match one another. ``time_axis`` is 0 in a batch and 1 in a dataset.

    Raises
    ------
    DataError
        An array has a dtype that it cannot have, or the inputs are empty.
    ShapeError
        The shapes do not match.
    """
    axes = "seq_len, batch" if time_axis == 0 else "sequences, seq_len"
    for name, array in (("inputs", inputs), ("targets", targets)):
        _check_array(name, array)
        if not is_integer(array) and not np.issubdtype(array.dtype, np.floating):
            raise DataError(
                f"{name}: expected token numbers, which are integers, or floats, got {array.dtype}",
                hint="convert with astype",
            )
    if inputs.ndim != (2 if is_integer(inputs) else 3):
        raise ShapeError(
            f"inputs: expected floats ({axes}, features) or tokens ({axes}), got {inputs.dtype} {inputs.shape}",
            hint="give a single feature an axis of its own: inputs[:, :, None]"
            if not is_integer(inputs) or inputs.ndim != 3
            else "convert integer features to floats: inputs.astype(np.float32)",
        )
    check_steps("inputs", inputs)
    steps = inputs.shape[:2]
    sequences = steps[1 - time_axis : 2 - time_axis]
    leading = sequences if one_per_sequence(targets) else steps
    if targets.ndim != len(leading) + (not is_integer(targets)) or targets.shape[: len(leading)] != leading:
        raise ShapeError(
            f"targets {targets.dtype} {targets.shape} do not match inputs of shape {inputs.shape}: expected tokens "
            f"{steps} or {sequences}, or floats with one more axis at the end",
            hint="give single floats an axis of their own: targets[..., None]"
            if not is_integer(targets) or targets.ndim <= len(leading)
            else "convert integer values to floats: targets.astype(np.float32)",
        )
    if mask is not None:
        check_flags("mask", mask, steps, inputs)


def check_flags(name: str, flags: BoolArray, shape: tuple[int, ...], inputs: Array) -> None:
    """Check that ``flags`` are booleans of this shape; DataError or ShapeError if not."""
    _check_array(name, flags)
    if flags.dtype != np.bool_:
        raise DataError(f"{name}: expected booleans, got {flags.dtype}", hint="a comparison gives booleans: flags != 0")
    if flags.shape != shape:
        raise ShapeError(
            f"{name} of shape {flags.shape} does not match inputs of shape {inputs.shape}: expected {shape}"
        )


def check_steps(name: str, inputs: Array) -> None:
    """Check that there is at least one sequence of one step; DataError if not."""
    if not inputs.size:
        raise DataError(f"{name}: expected at least one sequence of one step, got shape {inputs.shape}")


def check_values(name: str, array: Array) -> None:
    """Check that tokens are not negative and floats are finite; DataError with the first violation if not."""
    if array.dtype.kind == "u":
        return  # Reading a memory map of a long stream would find nothing.
    integer = is_integer(array)
    # min and max propagate NaN, and need no boolean array of the dataset's size.
    if not array.size or (array.min() >= 0 if integer else np.isfinite([array.min(), array.max()]).all()):
        return
    wrong = array < 0 if integer else ~np.isfinite(array)
    position = tuple(int(index) for index in np.unravel_index(int(np.argmax(wrong)), array.shape))
    place = position[0] if len(position) == 1 else position
    if integer:
        raise DataError(
            f"{name}: expected token numbers of 0 or more, got {array[position]} at {place} "
            f"(the first of {int(wrong.sum())})"
        )
    raise DataError(
        f"{name}: expected finite values, got {array[position]} at {place} (the first of {int(wrong.sum())})",
        hint="masked values must be finite too: fill them with 0",
    )


def check_state(state: Any, expected: Any, name: str = "state") -> None:
    """Check that a recurrent state has the structure of ``expected``: a float array, or a tuple of states.

    Raises
    ------
    ContainerError
        A float array is missing, or a tuple has another length.
    ShapeError
        An array has another shape.

    Example
    -------
    >>> check_state((np.zeros((2, 3)), np.zeros((2, 3))), (np.zeros((2, 3)), np.zeros((2, 3))))
    """
    if isinstance(expected, tuple):
        if not isinstance(state, (tuple, list)) or len(state) != len(expected):
            got = f"{type(state).__name__} of {len(state)}" if isinstance(state, (tuple, list)) else _kind(state)
            raise ContainerError(
                f"{name}: expected a tuple of {len(expected)}, got {got}",
                hint="start from model.zero_state(batch.size): (h, c) for an LSTM, one state per layer and direction",
            )
        for number, (one, wanted) in enumerate(zip(state, expected, strict=True)):
            check_state(one, wanted, f"{name}[{number}]")
        return
    if not isinstance(state, np.ndarray) or state.dtype.kind != "f":
        raise ContainerError(f"{name}: expected a float array, got {_kind(state)}")
    if state.shape != expected.shape:
        raise ShapeError(
            f"{name} of shape {state.shape} does not match this batch and model: expected {expected.shape}",
            hint="start from model.zero_state(batch.size); the last batch may be smaller than the others",
        )


def check_numba(owner: str, dtype: npt.DTypeLike) -> None:
    """Check that compiled kernels can be used. ``owner`` is named in the error.

    Raises
    ------
    OptionError
        The dtype is not float32, or numba is not installed.
    """
    if np.dtype(dtype) != np.float32:
        raise OptionError(
            f'{owner}: kernels="numba" need dtype float32, got {np.dtype(dtype)}',
            hint='choose dtype="float32", or keep kernels="numpy"',
        )
    try:
        importlib.import_module("numba")
    except ImportError as error:
        raise OptionError(
            f'{owner}: kernels="numba" needs numba: {error}', hint="pip install 'rnncallbacks[fast]'"
        ) from None


def _check_array(name: str, array: object) -> None:
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name}: expected an array, got {type(array).__name__}", hint="convert with np.asarray")


def _kind(state: Any) -> str:
    return f"an array of {state.dtype}" if isinstance(state, np.ndarray) else type(state).__name__
