"""What a batch shows of its sequences, however the script lays them out: tokens, axes, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.arrays import Array

if TYPE_CHECKING:
    from rnncallbacks.records import Batch


@attrs.frozen(eq=False)
class Sequences:
    """Inputs and targets of one batch.

    ``inputs`` are token numbers (two axes: time and batch, in one order or the other) or features (one axis more).
    ``targets`` are likewise, or one per sequence (one axis less). One-hot vectors have become token numbers.
    ``time_axis`` is 0 or 1, None if nothing tells. ``vocab_size`` is the length of the targets' one-hot axis, None if
    they have none.
    """

    inputs: Array | None
    targets: Array | None
    time_axis: int | None
    vocab_size: int | None

    @property
    def seq_len(self) -> int | None:
        """Number of time steps, None if nothing tells."""
        return None if self.inputs is None or self.time_axis is None else int(self.inputs.shape[self.time_axis])

    @property
    def batch_size(self) -> int | None:
        """Number of sequences, None if nothing tells."""
        return None if self.inputs is None or self.time_axis is None else int(self.inputs.shape[1 - self.time_axis])

    @property
    def per_step(self) -> bool:
        """Whether inputs and targets have a token or a vector for each step."""
        return self.inputs is not None and self.targets is not None and self.inputs.shape[:2] == self.targets.shape[:2]


def sequences_of(batch: Batch) -> Sequences:
    """What is known of the batch's sequences: what the script observed, else what the loader yielded.

    The loader may yield an object or a mapping with ``inputs`` and ``targets``, or a pair of the two. Costs a pass over
    the arrays, so guards ask only in some batches.

    Example
    -------
    >>> from rnncallbacks.records import Batch
    >>> tokens = np.array([[0, 1, 2], [2, 1, 0]])
    >>> shown = sequences_of(Batch((np.eye(3)[tokens], tokens), "train", 1, batch_size=2))
    >>> shown.inputs.tolist(), shown.seq_len, shown.batch_size
    ([[0, 1, 2], [2, 1, 0]], 3, 2)
    """
    inputs, targets, time_first = _found(batch)
    size = batch.batch_size or batch.sequences
    x, y = _as_array(inputs), _as_array(targets)
    if x is None or x.ndim == 0:
        return Sequences(None, None, None, None)
    x, hot_axis = _without_one_hot(x)
    vocab_size = None
    if y is not None:
        before = y
        y, axis = _without_one_hot(y)
        vocab_size = None if axis is None else int(before.shape[axis])
    if x.ndim == 1:  # one sequence by itself
        x = x[:, None]
        y = y[:, None] if y is not None and y.ndim == 1 and len(y) == len(x) else y
        return Sequences(x, y, 0, vocab_size)
    fitting = [axis for axis in (0, 1) if x.shape[axis] == size]
    time_axis: int | None = None
    if len(fitting) == 1:
        time_axis = 1 - fitting[0]
    elif time_first or hot_axis == 1:
        time_axis = 0
    elif y is not None and y.ndim == 1 and x.shape[0] != x.shape[1] and len(y) in x.shape[:2]:
        time_axis = 1 - x.shape.index(len(y))
    return Sequences(x, y, time_axis, vocab_size)


def _found(batch: Batch) -> tuple[Any, Any, bool]:
    """Inputs, targets, and whether they come in the library's own layout, time first."""
    data, observed = batch.data, batch.evidence
    inputs, targets, time_first = None, None, False
    if isinstance(data, Mapping):
        inputs, targets = data.get("inputs"), data.get("targets")
    elif hasattr(data, "inputs") and hasattr(data, "targets"):
        inputs, targets, time_first = data.inputs, data.targets, True
    elif isinstance(data, tuple | list) and len(data) == 2:
        inputs, targets = data
    if "inputs" in observed or "targets" in observed:
        time_first = False
    return observed.get("inputs", inputs), observed.get("targets", targets), time_first


def _as_array(value: Any) -> Array | None:
    if isinstance(value, list | tuple) and value:
        try:
            value = np.asarray(value)
        except ValueError:  # rows of different lengths
            return None
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else None


def _without_one_hot(array: Array) -> tuple[Array, int | None]:
    """Token numbers in place of one-hot vectors, and the axis on which these lay; else the array itself, and None."""
    integer = array.dtype.kind != "f"
    if array.ndim < (3 if integer else 2) or not array.size:
        return array, None
    axes = (1, array.ndim - 1, 0) if array.ndim == 3 else (array.ndim - 1,)
    for axis in axes:
        if array.shape[axis] > 1 and (array.sum(axis=axis) == 1).all() and ((array == 0) | (array == 1)).all():
            return array.argmax(axis=axis), axis
    return array, None
