"""Copies of parameters to go back to: those of a run that was still well some time after they were taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

import attrs

from rnncallbacks.arrays import Array, all_finite

RECENT = 10
"""Losses whose median is the level of a run."""

RISEN = 1.1
"""A level above so many times the lowest one is no longer healthy."""


@attrs.frozen(eq=False)
class Snapshot:
    """Copies of arrays by name, and the step behind which they were taken."""

    step: int
    arrays: Mapping[str, Array]

    @classmethod
    def of(cls, step: int, arrays: Mapping[str, Array]) -> Snapshot:
        return cls(step, {name: array.copy() for name, array in arrays.items()})

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Write the copies into these arrays."""
        for name, array in arrays.items():
            array[...] = self.arrays[name]


class Snapshots:
    """Keeps the last snapshot that proved healthy, and the next one on trial.

    A snapshot is taken after every ``every`` batches while the level of the loss, the median of the last 10, is at most
    1.1 times its lowest value. It has proved healthy when that still holds ``every`` batches later. The first one is
    that of the beginning.

    Example
    -------
    >>> weights = {"w": np.array([1.0])}
    >>> kept = Snapshots(every=2)
    >>> kept.begin(0, weights)
    >>> for step, loss in enumerate([3.0, 2.0, 1.0, 1.0, 9.0, 9.0], start=1):
    ...     weights["w"][...] = step
    ...     kept.follow(step, loss, weights)
    >>> kept.healthy.step, kept.healthy.arrays["w"]
    (2, array([2.]))
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.healthy: Snapshot | None = None
        self._trial: Snapshot | None = None
        self._losses: list[float] = []
        self._lowest = math.inf
        self._first = math.nan

    def begin(self, step: int, arrays: Mapping[str, Array]) -> None:
        """Take the first snapshot; it counts as healthy unless something in it is not finite."""
        self._trial, self._losses, self._lowest, self._first = None, [], math.inf, math.nan
        self.healthy = Snapshot.of(step, arrays) if all_finite(arrays.values()) else None

    def follow(self, step: int, loss: float, arrays: Mapping[str, Array]) -> None:
        """Take in the loss of a batch, and a snapshot behind its update if one is due."""
        if math.isnan(self._first):
            self._first = loss
        self._losses = [*self._losses[1 - RECENT :], loss]
        self._lowest = min(self._lowest, self._level)
        if step % self.every or self.risen or not all_finite(arrays.values()):
            return
        if self._trial is not None:
            self.healthy = self._trial
        self._trial = Snapshot.of(step, arrays)

    def go_back(self, arrays: Mapping[str, Array]) -> int | None:
        """Write the healthy snapshot into the arrays and return its step; None if there is none."""
        self._trial, self._losses = None, []
        if self.healthy is None:
            return None
        self.healthy.restore(arrays)
        return self.healthy.step

    @property
    def risen(self) -> bool:
        """Whether the loss has left its lowest level upwards, or is no number.

        That is enough to distrust a snapshot. Where batches differ much, healthy runs are there now and then.
        """
        return self._above(max(self._lowest, 0.0))

    @property
    def lost(self) -> bool:
        """Whether the loss has left the first one upwards, or is no number: no healthy run is there for long."""
        return self._above(self._first)

    def _above(self, reference: float) -> bool:
        return bool(self._losses) and not self._level <= RISEN * reference + 1e-12

    @property
    def _level(self) -> float:
        return median(self._losses) if all(map(math.isfinite, self._losses)) else math.inf
