"""Searches for a training loop that changes no parameter: its update is lost, or changes copies."""

from __future__ import annotations

from types import FrameType
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.loop_search import LoopCandidate, SearchEnded
from rnncallbacks.doctor.tick_search import LoopExecution, TickSearch


@attrs.frozen(kw_only=True)
class StillSearchThresholds:
    """Which loops compute a loss and gradients. Chosen by eye."""

    intervals: int = 3
    """Iterations at which the loss and the gradients differ from those before, after which a loop is a candidate."""
    ticks: int = 8
    """Iterations of one execution of a loop that are compared."""
    gradients: int = 2
    """Smallest number of arrays that differ and have the shapes of constant arrays."""


STILL_SEARCH = StillSearchThresholds()


@attrs.define(eq=False)
class _Execution(LoopExecution):
    losses: dict[Any, float] = attrs.field(factory=dict)
    arrays: dict[Any, Any] = attrs.field(factory=dict)


class StillSearch(TickSearch[_Execution]):
    """Looks for a loop in which, at each iteration, a number and some arrays differ that have the shapes of constant
    ones.

    Loops over time steps sum the loss or the gradients, not both. Loops over validation batches have no gradients.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given, execution=_Execution, ticks=STILL_SEARCH.ticks)
        self._intervals: dict[int, int] = {}

    def _compare(self, number: int, frame: FrameType, execution: _Execution) -> None:
        losses, arrays = {}, {}
        for key, value in self._modules.values(frame):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1:
                arrays[key] = value.copy()
            elif isinstance(value, float | np.floating):
                losses[key] = float(value)
            elif isinstance(value, list) and value and isinstance(value[-1], float | np.floating):
                losses[key] = float(value[-1])  # the script may only append the loss to a list
        before, execution.losses = execution.losses, losses
        gradients = _like_constant_ones(execution.arrays, arrays)
        execution.arrays = arrays
        if len(gradients) < STILL_SEARCH.gradients or not any(
            before.get(key, one) != one for key, one in losses.items()
        ):
            return
        self._intervals[number] = self._intervals.get(number, 0) + 1
        if self._intervals[number] >= STILL_SEARCH.intervals:
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
