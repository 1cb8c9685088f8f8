"""What arrays and options must be before a network sees them. Each error names the first thing that is not."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays import Array
from rnncallbacks.errors import DataError, OptionError, ShapeError

IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]


def as_array(name: str, values: npt.ArrayLike) -> Array:
    """The values as an array, without a copy where they are one; ``name`` names them in an error.

    Raises
    ------
    ShapeError
        They are nested lists whose lengths differ.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ShapeError(
            f"{name}: expected an array, got rows that differ in length: {error}",
            hint="token sequences of various lengths go into a SequenceLoader",
        ) from None


def as_tokens(name: str, tokens: npt.ArrayLike) -> IntArray:
    """Token numbers as an integer array of one axis; ``name`` names them in an error.

    Raises
    ------
    DataError
        They are no integers, or one is negative.
    ShapeError
        They have another number of axes than one.
    """
    array = as_array(name, tokens)
    if array.ndim != 1:
        raise ShapeError(f"{name}: expected one axis of token numbers, got shape {array.shape}")
    if not array.size:
        return array.astype(np.intp)
    if not is_integer(array):
        raise DataError(
            f"{name}: expected token numbers, which are integers, got {array.dtype}",
            hint="text is turned into numbers by Vocabulary.encode",
        )
    check_values(name, array)
    return array


def check_count(name: str, value: int, minimum: int = 1) -> int:
    """The option ``value``, if it is an integer of at least ``minimum``.

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
        raise OptionError(f"{name}: expected an integer of {minimum} or more, got {value!r}")
    return int(value)


def is_integer(array: Array) -> bool:
    return array.dtype.kind in "iu"


def one_per_sequence(targets: Array) -> bool:
    return targets.ndim == (1 if is_integer(targets) else 2)


def check_layout(inputs: Array, targets: Array, mask: BoolArray | None, time_axis: int) -> None:
    """Refuse arrays that do not belong together; ``time_axis`` is 0 in a batch and 1 in a dataset."""
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
            else "features that are integers become floats by inputs.astype(np.float32)",
        )
    if not inputs.size:
        raise DataError(f"inputs: expected at least one sequence of one step, got shape {inputs.shape}")
    steps = inputs.shape[:2]
    sequences = steps[1 - time_axis : 2 - time_axis]
    leading = sequences if one_per_sequence(targets) else steps
    if targets.ndim != len(leading) + (not is_integer(targets)) or targets.shape[: len(leading)] != leading:
        raise ShapeError(
            f"targets {targets.dtype} {targets.shape} do not belong to inputs of shape {inputs.shape}: expected tokens "
            f"{steps} or {sequences}, or floats with one more axis at the end",
            hint="give single floats an axis of their own: targets[..., None]"
            if not is_integer(targets) or targets.ndim <= len(leading)
            else "values that are integers become floats by targets.astype(np.float32)",
        )
    if mask is not None:
        check_flags("mask", mask, steps, inputs)


def check_flags(name: str, flags: BoolArray, shape: tuple[int, ...], inputs: Array) -> None:
    _check_array(name, flags)
    if flags.dtype != np.bool_:
        raise DataError(f"{name}: expected booleans, got {flags.dtype}", hint="a comparison gives booleans: flags != 0")
    if flags.shape != shape:
        raise ShapeError(
            f"{name} of shape {flags.shape} does not belong to inputs of shape {inputs.shape}: expected {shape}"
        )


def _check_array(name: str, array: object) -> None:
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name}: expected an array, got {type(array).__name__}", hint="convert with np.asarray")


def check_values(name: str, array: Array) -> None:
    """Refuse negative tokens and values that are not finite, naming the first."""
    if array.dtype.kind == "u":
        return  # a memory map of a long stream is not read through for nothing
    integer = is_integer(array)
    # NaN passes through min and max, which need no boolean array of the dataset's size.
    if not array.size or (array.min() >= 0 if integer else np.isfinite([array.min(), array.max()]).all()):
        return
    wrong = array < 0 if integer else ~np.isfinite(array)
    position = tuple(int(index) for index in np.unravel_index(int(np.argmax(wrong)), array.shape))
    place = position[0] if len(position) == 1 else position
    if integer:
        raise DataError(
            f"{name}: token numbers are 0 or more, got {array[position]} at {place} (the first of {int(wrong.sum())})"
        )
    raise DataError(
        f"{name}: expected finite values, got {array[position]} at {place} (the first of {int(wrong.sum())})",
        hint="values that the mask leaves out must be finite too: fill them with 0",
    )


def check_numba(owner: str, dtype: npt.DTypeLike) -> None:
    """Refuse compiled kernels where there are none: for another dtype than float32, and without numba.

    Raises
    ------
    OptionError
        Either is so; ``owner`` is named.
    """
    if np.dtype(dtype) != np.float32:
        raise OptionError(
            f'{owner}: kernels="numba" are for float32, got {np.dtype(dtype)}',
            hint='choose dtype="float32", or leave kernels="numpy"',
        )
    try:
        importlib.import_module("numba")
    except ImportError as error:
        raise OptionError(
            f'{owner}: kernels="numba" needs numba: {error}', hint="pip install 'rnncallbacks[fast]'"
        ) from None
