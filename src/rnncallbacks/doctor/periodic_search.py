"""The search of a training loop that updates its parameters every few iterations, as gradient accumulation does."""

from __future__ import annotations

from types import FrameType
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.loop_search import LOOP_SEARCH, LoopCandidate, SearchEnded, relative_change
from rnncallbacks.doctor.tick_search import LoopExecution, TickSearch


@attrs.frozen(kw_only=True)
class PeriodicSearchThresholds:
    """Which loops have updates at equal distances. Chosen by eye."""

    updates: int = 3
    """Updates at equal distances, after which a loop is a candidate."""
    ticks: int = 200
    """Ticks of one loop that are looked at."""
    arrays: int = 2
    """Arrays that change together, and only then."""


PERIODIC_SEARCH = PeriodicSearchThresholds()


@attrs.define(eq=False)
class _Execution(LoopExecution):
    values: dict[Any, Any] = attrs.field(factory=dict)
    identities: dict[Any, int] = attrs.field(factory=dict)
    updates: dict[Any, tuple[int, ...]] = attrs.field(factory=dict)  # the ticks before which an array changed
    rejected: set[Any] = attrs.field(factory=set)


class PeriodicSearch(TickSearch[_Execution]):
    """Looks for arrays that change together, by a little, at every k-th tick of a loop, k being 2 or more."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given, execution=_Execution, ticks=PERIODIC_SEARCH.ticks)

    def _compare(self, number: int, frame: FrameType, execution: _Execution) -> None:
        values = {}
        for key, value in self._modules.values(frame):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1:
                values[key] = value.copy()
                execution.identities.setdefault(key, id(value))
        for key, array in values.items():
            before = execution.values.get(key)
            if before is None or np.array_equal(array, before):
                continue
            if not _is_small_change(before, array):
                execution.rejected.add(key)  # a gradient that adds up, or data
            execution.updates[key] = (*execution.updates.get(key, ()), execution.ticks)
        execution.values = values
        self._add_candidate(number, execution)

    def _add_candidate(self, number: int, execution: _Execution) -> None:
        together: dict[tuple[int, ...], dict[int, Any]] = {}
        for key, ticks in execution.updates.items():
            if key in execution.rejected:
                continue
            if len(ticks) >= PERIODIC_SEARCH.updates and ticks[-1] == execution.ticks and period_of(ticks):
                together.setdefault(ticks, {}).setdefault(execution.identities[key], key)
        for ticks, keys in together.items():
            if len(keys) >= PERIODIC_SEARCH.arrays:
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
    """The period of equally spaced ticks, 2 or more; 0 if they are not equally spaced.

    >>> period_of((5, 9, 13)), period_of((2, 3, 4)), period_of((2, 3, 7))
    (4, 0, 0)
    """
    distances: set[int] = set(np.diff(ticks).tolist())
    return distances.pop() if len(distances) == 1 and 1 not in distances else 0


def _is_small_change(before: Any, after: Any) -> bool:
    if before.shape != after.shape:
        return False
    return bool(before.any()) and relative_change(before, after) < LOOP_SEARCH.largest_change
