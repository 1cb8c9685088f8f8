"""Iterations of a loop that end with one update of the parameters, and the numbers that they add up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.value_walk import Key


@attrs.define(eq=False)
class UpdatePeriod:
    """Counts the ticks of a loop that updates its parameters at every ``period``-th one.

    Attributes
    ----------
    period, first:
        The distance of two updates in ticks, and the tick, from 1, before which the first iterations begin.
    numbers:
        The numbers that the loop had after each tick since the last update.

    Example
    -------
    >>> updates = UpdatePeriod(period=3, first=2)
    >>> updates.start()
    >>> [updates.begins_at_next_tick() for _ in range(8)]
    [False, True, False, False, True, False, False, True]
    """

    period: int = 1
    first: int = 1
    numbers: dict[Key, list[float]] = attrs.field(factory=dict)
    _ticks: int = 0

    def start(self) -> None:
        """The loop begins."""
        self._ticks = 0

    def begins_at_next_tick(self) -> bool:
        """Count a tick; whether the iterations up to the next update begin with it."""
        self._ticks += 1
        return self._ticks >= self.first and (self._ticks - self.first) % self.period == 0

    def add(self, values: Iterable[tuple[Key, Any]]) -> None:
        """Add the numbers among the values of a frame: one of the iterations has ended."""
        for key, value in values:
            if isinstance(value, int | float | np.number) or (isinstance(value, np.ndarray) and value.size == 1):
                self.numbers.setdefault(key, []).append(float(np.reshape(value, -1)[0]))

    def finish(self, values: Iterable[tuple[Key, Any]]) -> dict[Key, float]:
        """Sums and means of the numbers at an update; empty where each iteration updates the parameters."""
        if self.period == 1:
            return {}
        self.add(values)
        return sums_and_means(self.numbers)


def sums_and_means(numbers: dict[Key, list[float]]) -> dict[Key, float]:
    """Sums and means of numbers over the iterations between two updates, under keys of their own.

    >>> sums_and_means({("end", "f", "loss"): [3.0, 1.0]})
    {('end', 'f', 'loss summed over 2'): 4.0, ('end', 'f', 'loss summed over 2, / 2'): 2.0}
    """
    found = {}
    for (kind, scope, name), values in numbers.items():
        text = f"{name} summed over {len(values)}"
        found[kind, scope, text] = sum(values)
        found[kind, scope, f"{text}, / {len(values)}"] = sum(values) / len(values)
    return found
