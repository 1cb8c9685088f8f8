"""The search of a training loop that updates its parameters every few iterations, as gradient accumulation does."""

from __future__ import annotations

from types import FrameType
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.instrument import Sites
from rnncallbacks.doctor.loop_search import (
    LOOP_SEARCH_THRESHOLDS,
    BoundedSearch,
    LoopCandidate,
    SearchEnded,
    relative_change,
)


@attrs.frozen(kw_only=True)
class PeriodicSearchThresholds:
    """Which loops have updates at equal distances. Chosen by eye."""

    updates: int = 3
    """Updates at equal distances, after which a loop is a candidate."""
    ticks: int = 200
    """Ticks of one loop that are looked at."""
    arrays: int = 2
    """Arrays that change together, and only then."""


PERIODIC_SEARCH_THRESHOLDS = PeriodicSearchThresholds()


@attrs.define(eq=False)
class _Activation:
    ticks: int = 0
    values: dict[Any, Any] = attrs.field(factory=dict)
    identities: dict[Any, int] = attrs.field(factory=dict)
    updates: dict[Any, tuple[int, ...]] = attrs.field(factory=dict)  # the ticks before which an array changed
    rejected: set[Any] = attrs.field(factory=set)


class PeriodicSearch(BoundedSearch):
    """Looks for arrays that change together, by a little, at every k-th tick of a loop, k being 2 or more."""

    def __init__(
        self, sites: Sites, modules: OwnModules, excluded: set[tuple[str, int]], seconds: float,
        thresholds: PeriodicSearchThresholds = PERIODIC_SEARCH_THRESHOLDS,
    ) -> None:  # fmt: skip
        super().__init__(sites, modules, excluded, seconds)
        self._thresholds = thresholds
        self._active: dict[tuple[int, FrameType], _Activation] = {}

    def start(self, number: int, frame: FrameType) -> None:
        """The loop begins."""
        self._active[number, frame] = _Activation()

    def tick(self, number: int, frame: FrameType) -> None:
        """An iteration of the loop begins."""
        self._end_in_time()
        activation = self._active[number, frame]
        activation.ticks += 1
        if activation.ticks > self._thresholds.ticks or self._is_excluded(number):
            return
        values = {}
        for key, value in self._modules.values(frame):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1:
                values[key] = value.copy()
                activation.identities.setdefault(key, id(value))
        for key, array in values.items():
            before = activation.values.get(key)
            if before is None or np.array_equal(array, before):
                continue
            if not _is_small_change(before, array):
                activation.rejected.add(key)  # a gradient that adds up, or data
            activation.updates[key] = (*activation.updates.get(key, ()), activation.ticks)
        activation.values = values
        self._add_candidate(number, activation)

    def end(self, number: int, frame: FrameType) -> None:
        """The loop has ended."""
        self._active.pop((number, frame))

    def _add_candidate(self, number: int, activation: _Activation) -> None:
        together: dict[tuple[int, ...], dict[int, Any]] = {}
        for key, ticks in activation.updates.items():
            if key in activation.rejected:
                continue
            if len(ticks) >= self._thresholds.updates and ticks[-1] == activation.ticks and period_of(ticks):
                together.setdefault(ticks, {}).setdefault(activation.identities[key], key)
        for ticks, keys in together.items():
            if len(keys) >= self._thresholds.arrays:
                period = period_of(ticks)
                self.candidates[number] = LoopCandidate(
                    self._sites[number],
                    len(keys),
                    tuple(key[2] for key in keys.values()),
                    frozenset(keys.values()),
                    period=period,
                    first=1 if ticks[0] == period + 1 else ticks[0],
                )
                raise SearchEnded


def period_of(ticks: tuple[int, ...]) -> int:
    """The distance of ticks that are equally far apart, 2 or more; 0 for others.

    >>> period_of((5, 9, 13)), period_of((2, 3, 4)), period_of((2, 3, 7))
    (4, 0, 0)
    """
    distances: set[int] = set(np.diff(ticks).tolist())
    return distances.pop() if len(distances) == 1 and 1 not in distances else 0


def _is_small_change(before: Any, after: Any) -> bool:
    if before.shape != after.shape:
        return False
    return bool(before.any()) and relative_change(before, after) < LOOP_SEARCH_THRESHOLDS.largest_change
