"""Follows the batches of a loader that yields an index, until they return in the next pass (RNN404 and RNN405).

Such a script shows no data, but the same index is the same batch: :mod:`batch_changes
<rnncallbacks.detectors.gradient.batch_changes>` compares what its gradients say with what its loss does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, named_arrays, parameters_of
from rnncallbacks.arrays.fingerprints import fingerprint_or_none
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.batch_changes import BATCH_CHANGES, BatchChange, compare_changes
from rnncallbacks.detectors.gradient.clipped import find_clipping
from rnncallbacks.detectors.sequences import indices_of

if TYPE_CHECKING:
    from rnncallbacks.alarms.finding import Finding
    from rnncallbacks.detectors.training_batch import TrainingBatch


@attrs.frozen(kw_only=True)
class ReturningBatchThresholds:
    """Bounds of the cost. Chosen by eye."""

    batches: int = 40
    """Batches that are followed from one pass to the next. Chosen by eye."""
    kept_entries: int = 3_000_000
    """Entries of the copies of parameters and gradients, 24 MB: fewer batches of larger networks are followed. Chosen
    by eye."""
    pairs_of_passes: int = 8
    """Pairs of successive passes that are compared. Chosen by eye."""


RETURNING_BATCHES = ReturningBatchThresholds()


class _Visit(NamedTuple):
    """A batch as it was in one pass: its loss, and vectors of all parameters and gradients."""

    loss: float
    params: Array
    gradients: Array


@attrs.define(eq=False)
class ReturningBatchDetector:
    """Follows the first batches of each pass of a loader that yields an index, until they return in the next one.

    ``over`` says that nothing is left to follow, and ``waits`` that a batch of this pass may be wanted.

    Example
    -------
    >>> ReturningBatchDetector().waits
    True
    """

    over: bool = state_field(False)
    _pairs: int = state_field(0)
    _begins: bool = state_field(False, saved=False)
    _follows_gradient: bool = state_field(True, saved=False)
    _names: list[str] = state_field(factory=list, saved=False)
    _ends: list[int] = state_field(factory=list, saved=False)
    _before: dict[int, _Visit] = state_field(factory=dict, saved=False)
    _now: dict[int, _Visit] = state_field(factory=dict, saved=False)
    _changes: list[BatchChange] = state_field(factory=list, saved=False)
    _other: Array | None = state_field(None, saved=False)
    _params: bytes | None = state_field(None, saved=False)  # the fingerprint in the last batch

    def stop(self) -> None:
        """End the check and release the copies."""
        self.over = True
        self._before, self._now, self._changes, self._other = {}, {}, [], None

    def begin_pass(self) -> None:
        """Say that the next batch is the first of a pass."""
        self._begins = True

    @property
    def waits(self) -> bool:
        """Whether batches of this pass are still to be kept, or to return."""
        return not self.over and (self._begins or bool(self._before) or len(self._now) < self._most)

    @property
    def _most(self) -> int:
        size = 2 * self._ends[-1] if self._ends else 1
        return min(RETURNING_BATCHES.batches, RETURNING_BATCHES.kept_entries // size)

    def check(self, given: TrainingBatch, *, follows_gradient: bool = True) -> Finding | None:
        """Add a training batch before its update.

        A finding is RNN405 where one factor of all arrays explains the difference, an info unless ``follows_gradient``
        says that the length of an update is that of the gradient; else RNN404.
        """
        loss, gradients, params = given.loss, given.gradients, given.params
        indices = None if self.over or params is None else indices_of(given.batch)
        if indices is None or len(indices) != 1 or not math.isfinite(loss):
            self.stop()
            return None
        self._follows_gradient = follows_gradient
        found = None
        if self._begins:
            self._begins = False
            found = self._end_pass()
        key = int(indices[0])
        if self.over or not (key in self._before or len(self._now) < self._most):
            return found
        before, self._params = self._params, fingerprint_or_none(params)
        pairs = self._pairs_of(given)
        if not pairs:
            self.stop()
            return found
        first = self._before.pop(key, None)
        bounds = find_clipping(gradients)
        clipped = bounds.norm is not None or bounds.value is not None or bool(bounds.arrays)
        # Without an update since the last batch, the gradient may be a sum over micro-batches.
        if clipped or before == self._params:
            return found
        visit = _Visit(loss, _joined(pairs), _joined({name: gradients[name] for name in pairs}))
        if first is not None and first.params.size == visit.params.size:
            self._changes.append(self._change(first, visit))
            self._other = visit.gradients
            if not self._before:
                found = found or self._compare()
        if len(self._now) < self._most:
            self._now[key] = visit
        return found

    def _pairs_of(self, given: TrainingBatch) -> dict[str, Array]:
        """The parameters by the names of their gradients; empty if they are other ones now, or too large to be kept."""
        paired = parameters_of(given.gradients, named_arrays(given.params))
        pairs = {name: array for name, array in paired.items() if array.size}
        if not pairs or (self._names and [*pairs] != self._names):
            return {}
        self._names, self._ends = [*pairs], np.cumsum([array.size for array in pairs.values()]).tolist()
        return pairs if self._most >= BATCH_CHANGES.fewest_batches else {}

    def _end_pass(self) -> Finding | None:
        found, began = self._compare(), bool(self._names)
        self._before, self._now, self._changes, self._other = self._now, {}, [], None
        if self._pairs >= RETURNING_BATCHES.pairs_of_passes or (
            began and len(self._before) < BATCH_CHANGES.fewest_batches
        ):
            self.stop()
        return found

    def _change(self, first: _Visit, last: _Visit) -> BatchChange:
        starts, step = [0, *self._ends[:-1]], last.params - first.params
        with np.errstate(all="ignore"):  # of a run that diverges
            start, end = (np.add.reduceat(one.gradients * step, starts) for one in (first, last))
            growth = np.add.reduceat((last.params + first.params) * step / 2.0, starts)
            alike = self._other is not None and _cosine(first.gradients, last.gradients) > _cosine(
                first.gradients, self._other
            )
        return BatchChange(first.loss, last.loss, start, end, growth, alike)

    def _compare(self) -> Finding | None:
        changes, self._changes = self._changes, []
        self._pairs += len(changes) >= BATCH_CHANGES.fewest_batches
        found = compare_changes(self._names, changes, follows_gradient=self._follows_gradient)
        if found is not None:
            self.stop()
        return found


def _joined(arrays: Mapping[str, Array]) -> Array:
    return np.concatenate([array.reshape(-1) for array in arrays.values()]).astype(np.float64, copy=False)


def _cosine(one: Array, other: Array) -> float:
    return float(one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-300)
