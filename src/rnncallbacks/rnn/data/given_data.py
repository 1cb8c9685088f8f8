"""Converts arrays, and the batches and datasets of other libraries, to loaders and batches of this library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.errors import DataError, OptionError, ShapeError, closest
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import ArrayLoader
from rnncallbacks.rnn.validation import as_array, check_layout, is_integer, one_per_sequence

PARTS = ("inputs", "targets", "mask")
"""The names of the arrays of a pair or a triple, in order, and the keys of a mapping."""
BATCH_SIZE = 32
"""Default number of sequences per batch, as in Keras."""
IGNORED_TARGET = -100
"""The integer target of a position that contributes nothing to the loss, as PyTorch's ``ignore_index``."""


def as_loaders(train: Any, validation: Any, batch_size: int | None = None) -> tuple[Any, Any]:
    """Loaders of training and validation data. Loaders are returned as they are, arrays in an ``ArrayLoader``.

    Parameters
    ----------
    train, validation:
        A pair (inputs, targets), a triple (inputs, targets, mask), a mapping with these keys, or a dataset of the
        library ``datasets`` with these columns; the first axis of each array is the sequence. Or any iterable of
        batches. ``validation`` may be None.
    batch_size:
        Sequences per batch of arrays; None for 32. Training sequences are shuffled in each epoch.

    Raises
    ------
    OptionError
        ``batch_size`` is given for loaders, which make their own batches.
    DataError
        A mapping lacks inputs or targets.

    ``ArrayLoader`` raises further errors.

    Example
    -------
    >>> loader, _ = as_loaders((np.zeros((5, 7, 2)), np.zeros(5, int)), None, batch_size=3)
    >>> [batch.inputs.shape for batch in loader]
    [(7, 3, 2), (7, 2, 2)]
    """
    given = [_as_columns(data) for data in (train, validation)]
    if batch_size is not None and not any(map(_is_arrays, given)):
        raise OptionError(
            f"batch_size: expected None with loaders, which make their own batches, got {batch_size!r}",
            hint="pass arrays, such as (inputs, targets), or give the loader this batch_size",
        )
    size = BATCH_SIZE if batch_size is None else batch_size
    train, validation = (
        _loader(data, size, shuffle) if _is_arrays(data) else data
        for data, shuffle in zip(given, (True, False), strict=True)
    )
    return train, validation


def as_batch(data: Any) -> SequenceBatch:
    """A ``SequenceBatch`` from a pair, a triple or a mapping as for :func:`as_loaders`.

    The first axis of the arrays is the sequence, as in the batches of PyTorch's ``DataLoader``. An integer target of
    -100 is masked, as in PyTorch's cross-entropy.

    Raises
    ------
    DataError
        The data is none of these, or lacks inputs or targets.
    ShapeError
        The shapes of the arrays do not match.

    Example
    -------
    >>> batch = as_batch((np.zeros((3, 7, 2)), np.zeros(3, int)))
    >>> batch.inputs.shape, batch.targets.shape
    ((7, 3, 2), (3,))
    """
    if isinstance(data, SequenceBatch):
        return data
    if not _is_arrays(data):
        raise DataError(
            "Trainer: expected batches of the class SequenceBatch or pairs of inputs and targets, got "
            f"{type(data).__name__}",
            hint="use a loader such as rnncallbacks.rnn.data.loaders.ArrayLoader(inputs, targets, batch_size), or pass "
            "arrays as one pair: (inputs, targets)",
        )
    inputs, targets, mask = _arrays(data)
    if inputs.ndim == 1 and is_integer(inputs):
        raise ShapeError(
            f"inputs: expected tokens (sequences, seq_len), got one sequence of shape {inputs.shape}",
            hint="a dataset yields single sequences: pass DataLoader(dataset, batch_size=32), which makes batches",
        )
    check_layout(inputs, targets, mask, time_axis=1)
    return SequenceBatch(
        _time_first(inputs),
        targets if one_per_sequence(targets) else _time_first(targets),
        None if mask is None else _time_first(mask),
    )


def _as_columns(data: Any) -> Any:
    """The columns of a dataset of the library ``datasets`` as arrays. Other data is returned as it is."""
    is_dataset = hasattr(data, "column_names") and callable(getattr(data, "with_format", None))
    return data.with_format("numpy")[:] if is_dataset else data


def _loader(data: Any, batch_size: int, shuffle: bool) -> ArrayLoader:
    inputs, targets, mask = _arrays(data)
    return ArrayLoader(inputs, targets, batch_size, mask=mask, shuffle=shuffle)


def _is_arrays(data: Any) -> TypeGuard[tuple[Any, ...] | list[Any] | Mapping[str, Any]]:
    if isinstance(data, Mapping):
        return True
    return isinstance(data, tuple | list) and len(data) in (2, 3) and all(hasattr(one, "shape") for one in data)


def _arrays(data: tuple[Any, ...] | list[Any] | Mapping[str, Any]) -> tuple[Array, Array, Array | None]:
    given = data if isinstance(data, Mapping) else dict(zip(PARTS, data, strict=False))
    for name in PARTS[:2]:
        if name not in given:
            raise DataError(
                f"expected the keys 'inputs' and 'targets', and maybe 'mask', got {sorted(map(str, given))}",
                hint=closest(name, given) or f"rename the column that is to be the {name}",
            )
    inputs, targets = (as_array(name, given[name]) for name in PARTS[:2])
    mask = given.get("mask")
    kept = None if mask is None else as_array("mask", mask)
    if is_integer(targets) and targets.ndim > 1 and (ignored := targets == IGNORED_TARGET).any():
        targets = np.where(ignored, 0, targets)
        kept = ~ignored if kept is None else kept & ~ignored
    return inputs, targets, kept


def _time_first(array: Array) -> Array:
    return np.ascontiguousarray(array.swapaxes(0, 1))
