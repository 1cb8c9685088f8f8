"""Searches for a training loop that changes no parameter: its update is lost, or changes copies."""

from __future__ import annotations

from types import FrameType
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.loop_search import BoundedSearch, LoopCandidate, SearchEnded


@attrs.frozen(kw_only=True)
class StillSearchThresholds:
    """Which loops compute a loss and gradients. Chosen by eye."""

    intervals: int = 3
    """Iterations at which the loss and the gradients differ from those before, after which a loop is a candidate."""
    ticks: int = 8
    """Iterations of one execution of a loop that are compared."""
    gradients: int = 2
    """Smallest number of arrays that differ and have the shapes of constant arrays."""


STILL_SEARCH_THRESHOLDS = StillSearchThresholds()


@attrs.define(eq=False)
class _Activation:
    ticks: int = 0
    losses: dict[Any, float] = attrs.field(factory=dict)
    arrays: dict[Any, Any] = attrs.field(factory=dict)


class StillSearch(BoundedSearch):
    """Looks for a loop in which, at each iteration, a number and some arrays differ that have the shapes of constant
    ones.

    Loops over time steps sum the loss or the gradients, not both. Loops over validation batches have no gradients.
    """

    def __init__(self, *given: Any, thresholds: StillSearchThresholds = STILL_SEARCH_THRESHOLDS) -> None:
        super().__init__(*given)
        self._thresholds = thresholds
        self._active: dict[tuple[int, FrameType], _Activation] = {}
        self._intervals: dict[int, int] = {}

    def start(self, number: int, frame: FrameType) -> None:
        """The loop begins."""
        self._active[number, frame] = _Activation()

    def end(self, number: int, frame: FrameType) -> None:
        """The loop has ended."""
        self._active.pop((number, frame))

    def tick(self, number: int, frame: FrameType) -> None:
        """An iteration of the loop begins."""
        self._end_in_time()
        activation = self._active[number, frame]
        activation.ticks += 1
        if activation.ticks > self._thresholds.ticks or self._is_excluded(number):
            return
        losses, arrays = {}, {}
        for key, value in self._modules.values(frame):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1:
                arrays[key] = value.copy()
            elif isinstance(value, float | np.floating):
                losses[key] = float(value)
        before, activation.losses = activation.losses, losses
        gradients = _like_constant_ones(activation.arrays, arrays)
        activation.arrays = arrays
        if len(gradients) < self._thresholds.gradients or not any(
            before.get(key, one) != one for key, one in losses.items()
        ):
            return
        self._intervals[number] = self._intervals.get(number, 0) + 1
        if self._intervals[number] >= self._thresholds.intervals:
            names = tuple(key[2] for key in gradients)
            self.candidates[number] = LoopCandidate(self._sites[number], len(gradients), names)
            raise SearchEnded


def _like_constant_ones(before: dict[Any, Any], arrays: dict[Any, Any]) -> list[Any]:
    """The keys of arrays that changed, one for each shape, if another array of the same shape did not change."""
    same: set[tuple[int, ...]] = set()
    other: dict[tuple[int, ...], Any] = {}
    for key, array in arrays.items():
        earlier = before.get(key)
        if earlier is None or earlier.shape != array.shape:
            continue
        if np.array_equal(earlier, array):
            same.add(array.shape)
        else:
            other.setdefault(array.shape, key)
    return [key for shape, key in other.items() if shape in same]
