"""The predecessor of each sequence, from one epoch to the next: unrelated sequences are shuffled, streams are not.

The comparison needs no targets, shift or axis of time: a batch, or a row of a batch, is identified by its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray
from rnncallbacks.arrays.fingerprints import digest
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import indices_of, inputs_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class PredecessorLimits:
    """Limits of the kept and compared sequences. All numbers bound the cost, and were chosen by eye."""

    batches: int = 1000
    """Batches of the first epoch whose sequences are kept; with more, nothing is compared."""

    row_entries: int = 256
    """Entries of a row that make its key, evenly spaced."""

    compared_batches: int = 8
    """Batches of a later epoch that are compared."""


PREDECESSORS = PredecessorLimits()

SEVERAL_PREDECESSORS = 0
"""Marks the predecessor of a sequence that occurred more than once."""


@attrs.define(eq=False)
class Predecessors:
    """Remembers the sequence before each sequence, and compares it in the next epoch.

    Nothing is kept before :meth:`start`. Whole batches and single rows are compared, as one or the other is shuffled.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> rows = np.arange(12.0).reshape(6, 2, 1)
    >>> order, found = Predecessors(), []
    >>> order.start(batch_axis=None)
    >>> for epoch, places in ((1, [0, 1, 2, 3, 4, 5]), (2, [0, 3, 1, 2, 5, 4])):
    ...     for index, place in enumerate(places, start=1):
    ...         found.append(order.add(Batch((rows[place], None), "train", index), epoch, rows=1))
    >>> [one.tolist() for one in found if one is not None]
    [[True], [True], [False], [True], [True]]
    """

    tracking: bool = state_field(False)
    _batch_axis: int | None = state_field(None)
    _first_epoch: int = state_field(0)
    _epoch: int = state_field(0)
    _compared: int = state_field(0)
    _kept: int = state_field(0)
    _before: dict[int, int] = state_field(factory=dict)
    _previous: list[int] = state_field(factory=list)

    def start(self, batch_axis: int | None) -> None:
        """Begin to keep sequences; ``batch_axis`` is that of the inputs, None if it is not known."""
        if not self._first_epoch and not self.tracking:
            self.tracking, self._batch_axis = True, batch_axis

    def wants(self, epoch: int) -> bool:
        """Whether batches of this epoch are to be compared with those of the first one."""
        return self.tracking and 0 < self._first_epoch < epoch

    def add(self, batch: Batch, epoch: int, rows: int | None) -> BoolArray | None:
        """Add a batch; return for each of its known rows whether its predecessor differs from that of the first epoch.

        None where nothing is compared: in the first epoch, and for batches half of whose rows or more are new.
        """
        if not self.tracking:
            return None
        self._first_epoch = self._first_epoch or epoch
        keys = self._keys(batch)
        previous = self._previous if epoch == self._epoch else []
        self._epoch, self._previous = epoch, keys
        if not keys or len(previous) != len(keys):
            return None
        if epoch == self._first_epoch:
            self._keep(keys, previous)
            return None
        found = [
            (self._before.get(key, SEVERAL_PREDECESSORS), before) for key, before in zip(keys, previous, strict=True)
        ]
        self._compared += 1
        if self._compared >= PREDECESSORS.compared_batches:
            self.tracking, self._before = False, {}
        whole, *single = (None if kept == SEVERAL_PREDECESSORS else kept != before for kept, before in found)
        if whole is not None:
            return np.full(rows or 1, whole, dtype=np.bool_)
        if len(single) != rows or 2 * sum(one is None for one in single) >= max(len(single), 1):
            return None
        return np.array([one for one in single if one is not None], dtype=np.bool_)

    def _keep(self, keys: list[int], previous: list[int]) -> None:
        self._kept += 1
        if self._kept > PREDECESSORS.batches:
            self.tracking, self._before = False, {}
            return
        for key, before in zip(keys, previous, strict=True):
            self._before[key] = SEVERAL_PREDECESSORS if key in self._before else before

    def _keys(self, batch: Batch) -> list[int]:
        """A number for the whole batch, and one for each row if the axis of the batch is known.

        Where no inputs are shown, the indices that the loader yields stand for them.
        """
        inputs = inputs_of(batch)
        if inputs is None and (indices := indices_of(batch)) is not None:
            return [_key(one) for one in (indices, *(indices[:, None] if len(indices) > 1 else ()))]
        try:
            array = np.asarray(inputs)
        except ValueError:  # rows of different lengths
            return []
        if array.dtype.kind not in "biuf" or not array.ndim:
            return []
        axis = self._batch_axis
        rows: list[Array] = [] if axis is None or array.ndim <= axis else list(np.moveaxis(array, axis, 0))
        return [_key(one) for one in (array, *map(_without_padding, rows))]


def _without_padding(row: Array) -> Array:
    """A row of tokens without the zeros or negative numbers at its end, as many as the longest of its batch needs."""
    if row.dtype.kind not in "iu" or row.ndim != 1:
        return row
    used = np.flatnonzero(row > 0)
    return row[: used[-1] + 1] if used.size else row[:0]


def _key(array: Array) -> int:
    flat = array.reshape(-1)
    sample = flat if flat.size <= PREDECESSORS.row_entries else flat[:: -(-flat.size // PREDECESSORS.row_entries)]
    return digest(sample.tobytes())
