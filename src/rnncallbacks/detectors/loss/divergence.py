"""Whether a stream of losses rises for good, or one of them stands out: by quantiles, whatever their distribution.

Losses of single sequences have heavy tails. A mean and a standard deviation take the tail for a rise; medians and
quartiles do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.progress.statistics import MAD_TO_SIGMA, mann_kendall, noise, share_above

ABOVE = 0.85
"""Of all pairs of a recent and an early loss, the share in which the recent one is higher, that is a rise. The luckiest
window of thousands and an unlucky one reach 0.8."""

DRIFT = 6.0
"""Beside how windows differ from their neighbours, a rise that is none of the data's own."""

FALLING = -2.0
"""A trend below, in the later half of the recent losses, is that of a loss that comes down again: after a hard
document, or an unlucky update."""

AGAIN = 1.25
"""A rise has to exceed those from which the run came back by itself by so much."""

JUMP = 1.5
"""Beside the spread of the losses, on a logarithmic scale, how far the first has to lie below nine of ten of them."""


@attrs.frozen
class Rise:
    """``what`` is ``value``, above ``than``, ``reference``."""

    what: str
    value: float
    than: str
    reference: float


@attrs.define(eq=False)
class LossLevels:
    """Compares the losses of the last ``window`` batches with those of the best window before them.

    Both are compared every ``window / 5`` batches. While there are fewer losses, windows are shorter, but no shorter
    than two fifths.

    Example
    -------
    >>> levels = LossLevels()
    >>> rises = [levels.follow(loss, window=10, max_rise=0.25) for loss in [1.0] * 20 + [2.0] * 20]
    >>> next(rise for rise in rises if rise is not None)
    Rise(what='the median of the last 10 losses', value=2.0, than='that of the best 10 before', reference=1.0)
    """

    first: float = state_field(0.0)
    level: float = state_field(0.0)
    deviation: float = state_field(0.0)
    best: float = state_field(math.inf)
    _batches: int = state_field(0)
    _recent: list[float] = state_field(factory=list)
    _best_losses: list[float] = state_field(factory=list)
    _medians: list[float] = state_field(factory=list)
    _farthest: float = state_field(0.0)
    _excursion: float = state_field(0.0)
    _recovered: float = state_field(0.0)

    def begin(self) -> None:
        """Forget all losses."""
        self._batches, self._recent, self._best_losses, self._medians = 0, [], [], []
        self.best = math.inf
        self._farthest = self._excursion = self._recovered = 0.0

    def spikes(self, loss: float, *, window: int, max_rise: float, spike: float) -> bool:
        """Whether a loss stands out from those before it: by deviations, and three times as far as the farthest."""
        if self._batches < window:
            return False
        excess = loss - self.level
        stands_out = excess > max(max_rise * abs(self.first), spike * self.deviation, 3.0 * self._farthest)
        self._farthest = max(0.999 * self._farthest, excess)
        return stands_out

    def follow(self, loss: float, *, window: int, max_rise: float) -> Rise | None:
        """Take in a batch's loss, and return the rise that it completes."""
        if self._batches == 0:
            self.first = self.level = loss
        self._batches += 1
        self._recent.append(loss)
        if len(self._recent) > 2 * window:
            del self._recent[0]
        margin = max_rise * abs(self.first)
        if self._batches == window + 1:
            jump = _jump(self._recent, margin)
            if jump is not None:
                return jump
        if self._batches % max(window // 5, 1):
            return None
        return self._compare(min(self._batches // 2, window), window, margin)

    def _compare(self, count: int, window: int, margin: float) -> Rise | None:
        recent = sorted(self._recent[-window:])
        self.level = _quantile(recent, 0.5)
        self._farthest = max(self._farthest, recent[-1] - self.level)
        self.deviation = MAD_TO_SIGMA * _quantile(sorted(abs(loss - self.level) for loss in recent), 0.5)
        if count < max(2 * window // 5, 1):
            return None
        earlier, now = self._recent[-count - window : -count], self._recent[-count:]
        median, value = _quantile(sorted(earlier), 0.5), _quantile(sorted(now), 0.5)
        if median < self.best:
            self.best, self._best_losses = median, earlier
        before = self._medians
        if self._batches % window == 0:
            self._medians = [*self._medians[-19:], value]
        rise = value - self.best
        if rise < 0.5 * margin:
            # Documents may differ by more than the margin: what was come back from once is no divergence.
            self._recovered = max(self._recovered, self._excursion)
            self._excursion = 0.0
            return None
        self._excursion = max(self._excursion, rise)
        # A loss that is below the first one still has learned something: it may be that the data became harder.
        needed = max(margin if value > self.first else 2.0 * margin, AGAIN * self._recovered)
        if rise <= needed or (len(before) >= 6 and rise <= DRIFT * noise(before)):
            return None
        if share_above(now, self._best_losses) < ABOVE or mann_kendall(now[count // 2 :]) < FALLING:
            return None
        return Rise(
            f"the median of the last {count} losses", value, f"that of the best {len(earlier)} before", self.best
        )


def _jump(losses: Sequence[float], margin: float) -> Rise | None:
    """Whether the first update did it: the first loss lies far below those behind it, and not by its own luck."""
    first, after = losses[0], sorted(losses[1:])
    count = len(after)
    spread = _quantile(after, 0.75) - _quantile(after, 0.25)
    if after[0] - first > max(margin, spread):
        return Rise(f"the lowest of {count} losses", after[0], "the first", first)
    low, high = _quantile(after, 0.1), _quantile(after, 0.9)
    far = first > 0.0 and low - first > margin and low > 4.0 * first
    if far and math.log(low / first) > JUMP * math.log(high / low):
        return Rise(f"the tenth percentile of {count} losses", low, "the first", first)
    return None


def _quantile(ranked: Sequence[float], share: float) -> float:
    """Of numbers in order. NumPy's own takes longer than all else here together."""
    place = share * (len(ranked) - 1)
    below = int(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (place - below) * (ranked[above] - ranked[below])
