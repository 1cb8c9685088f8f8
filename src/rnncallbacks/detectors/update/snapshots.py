"""Snapshots of arrays; the last one from a healthy part of the run is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

import attrs

from rnncallbacks.arrays.containers import Array, all_finite
from rnncallbacks.core.plugin_state import state_field


@attrs.frozen(kw_only=True)
class SnapshotThresholds:
    """Thresholds of a healthy run. Numbers without a source were chosen by eye."""

    loss_window: int = 10
    """Last batches whose median loss is compared."""
    risen_ratio: float = 1.1
    """Median loss / its lowest value, or the first loss, above which the loss has risen."""
    fallen_ratio: float = 0.85
    """Median loss / first loss up to which the run has learned. Two that learned on from there measured 0.77
    and 0.82, one that needed a second start 0.96."""
    rounding: float = 1e-12
    """Absolute difference up to which losses near zero have not risen."""


SNAPSHOTS = SnapshotThresholds()


@attrs.frozen(eq=False)
class Snapshot:
    """Copies of arrays by name, and the step after which they were taken."""

    step: int
    arrays: Mapping[str, Array]

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Write the copies into these arrays."""
        for name, array in arrays.items():
            array[...] = self.arrays[name]


@attrs.define(eq=False)
class Snapshots:
    """Keeps the last healthy snapshot, and one whose health is not known yet.

    A snapshot is taken every ``every`` steps if the loss has not risen: the median of the last 10 batch losses is at
    most 1.1 times its lowest value so far. If that still holds at the next snapshot, the former one was healthy. The
    first snapshot is taken before the first step.

    Example
    -------
    >>> import numpy as np
    >>> weights = {"w": np.array([1.0])}
    >>> snapshots = Snapshots(every=2)
    >>> snapshots.begin(0, weights)
    >>> for step, loss in enumerate([3.0, 2.0, 1.0, 1.0, 9.0, 9.0], start=1):
    ...     weights["w"][...] = step
    ...     snapshots.follow(step, loss, weights)
    >>> snapshots.healthy.step, snapshots.healthy.arrays["w"]
    (2, array([2.]))
    """

    every: int
    _healthy: tuple[int, dict[str, Array]] | None = state_field(None)
    _latest: tuple[int, dict[str, Array]] | None = state_field(None)
    _losses: list[float] = state_field(factory=list)
    _lowest_median: float = state_field(math.inf)
    _first_loss: float = state_field(math.nan)

    @property
    def healthy(self) -> Snapshot | None:
        """The last snapshot that proved healthy, or None."""
        return None if self._healthy is None else Snapshot(*self._healthy)

    def begin(self, step: int, arrays: Mapping[str, Array]) -> None:
        """Take the first snapshot. It counts as healthy unless an entry is not finite."""
        self._latest, self._losses, self._lowest_median, self._first_loss = None, [], math.inf, math.nan
        self._healthy = _copied(step, arrays) if all_finite(arrays.values()) else None

    def is_due(self, step: int) -> bool:
        """Whether a snapshot may be taken after this step."""
        return step % self.every == 0

    def follow(self, step: int, loss: float, arrays: Mapping[str, Array]) -> None:
        """Add the loss of a batch, and take a snapshot after its update if one is due.

        The arrays are read only if :meth:`is_due`.
        """
        if math.isnan(self._first_loss):
            self._first_loss = loss
        self._losses = [*self._losses[1 - SNAPSHOTS.loss_window :], loss]
        self._lowest_median = min(self._lowest_median, self._median)
        if not self.is_due(step) or self.has_risen or not all_finite(arrays.values()):
            return
        if self._latest is not None:
            self._healthy = self._latest
        self._latest = _copied(step, arrays)

    def restore(self, arrays: Mapping[str, Array]) -> int | None:
        """Write the healthy snapshot into the arrays and return its step; None if there is none."""
        self._latest, self._losses = None, []
        if self.healthy is None:
            return None
        self.healthy.restore(arrays)
        return self.healthy.step

    @property
    def has_risen(self) -> bool:
        """Whether the loss is above its lowest value, or not finite.

        A snapshot is then not trusted. Healthy runs reach this as well if their batches differ much.
        """
        return self._is_above(max(self._lowest_median, 0.0))

    @property
    def has_diverged(self) -> bool:
        """Whether the loss is above the first one, or not finite. No healthy run remains there."""
        return self._is_above(self._first_loss)

    @property
    def has_fallen(self) -> bool:
        """Whether the run has learned: the loss is well below the first one, and near its lowest value."""
        fallen = bool(self._losses) and self._median <= SNAPSHOTS.fallen_ratio * self._first_loss
        return fallen and not self.has_risen

    def _is_above(self, reference: float) -> bool:
        limit = SNAPSHOTS.risen_ratio * reference + SNAPSHOTS.rounding
        return bool(self._losses) and not self._median <= limit  # true for NaN as well

    @property
    def _median(self) -> float:
        return median(self._losses) if all(map(math.isfinite, self._losses)) else math.inf


def _copied(step: int, arrays: Mapping[str, Array]) -> tuple[int, dict[str, Array]]:
    return step, {name: array.copy() for name, array in arrays.items()}
