"""Detects a training loss that rises permanently (RNN602), and single outliers (RNN605), by quantiles.

Losses of single sequences have heavy tails. Means and standard deviations mistake a tail for a rise; medians, the
median absolute deviation (MAD) and shares of pairs do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.core.plugin_state import reset_state, state_field
from rnncallbacks.detectors.loss.rise_cause import Rise, RiseCause
from rnncallbacks.detectors.progress.statistics import (
    MAD_TO_STANDARD_DEVIATION,
    mann_kendall_z,
    noise_deviation,
    probability_of_superiority,
    quantile,
)


@attrs.frozen(kw_only=True)
class DivergenceThresholds:
    """Thresholds of a divergence, in addition to the options of the detector.

    Numbers without a source were chosen by eye.
    """

    rising_pair_share: float = 0.85
    """Smallest share of the pairs of a recent loss and one of the best window in which the recent one is higher. The
    lowest of thousands of healthy windows and a high one reach 0.8."""
    window_noise_factor: float = 6.0
    """Smallest rise in units of the noise between the medians of successive windows; chosen by eye."""
    noise_windows: int = 6
    """Fewest windows for an estimate of the noise."""
    remembered_windows: int = 20
    """Recent windows that the noise is estimated from."""
    falling_trend: float = -2.0
    """Mann-Kendall statistic of the later half of the recent losses, in standard deviations, below which the loss
    falls again, as after a difficult document or a bad update. The 2.5% quantile of noise is -1.96."""
    recovered_rise_factor: float = 1.25
    """Smallest rise in units of the largest one from which the run recovered by itself; chosen by eye."""
    recovery_share: float = 0.5
    """Largest rise, in units of the margin ``max_rise`` times the first loss, at which a run has recovered."""
    below_first_factor: float = 2.0
    """Smallest rise, in units of that margin, while the loss is below the first one and the cause of the rise is
    unknown: the network has not lost everything, and the data may have become harder."""

    close_windows: int = 4
    """Windows after which those of low losses are compared half as often. Chosen by eye, for its cost."""

    jump_ratio: float = 4.0
    """Smallest ratio of the tenth percentile of the losses after the first one to the first loss, if the first update
    destroyed the network; chosen by eye."""
    jump_spread_factor: float = 1.5
    """Smallest logarithm of that ratio in units of the logarithmic spread from the tenth to the ninetieth percentile;
    chosen by eye."""
    spike_excess_factor: float = 3.0
    """Smallest excess of a spike over the median in units of the largest excess before; chosen by eye."""
    excess_decay: float = 0.999
    """Factor by which the largest excess shrinks with each batch: it halves in 693 batches."""


DIVERGENCE = DivergenceThresholds()


UNKNOWN_CAUSE = RiseCause("unknown")


@attrs.define(eq=False, kw_only=True)
class DivergenceDetector:
    r"""Compares the losses of the last ``window`` batches with those of the best window before them.

    They are compared every ``window / 5`` batches; after ``close_windows`` windows, half as often unless losses are
    above ``spike_level``. While there are fewer than ``2 * window`` losses, both windows are shorter, but not shorter
    than two fifths of ``window``.

    Parameters
    ----------
    window:
        Batches of a window, 2 or more.
    max_rise:
        Largest rise of the median that is no divergence, as a share of the first loss :math:`|\ell_1|`, above 0.
    spike:
        Smallest excess over the median that is a spike, in standard deviations estimated as 1.4826 times the MAD,
        above 0.

    Attributes
    ----------
    windows_compared, spikes_compared:
        The number of windows compared with the best one, and of losses compared with the median before them.
    best_end:
        The number of the last batch of the best window, from 1; 0 before there is one.

    Example
    -------
    >>> detector = DivergenceDetector(window=10)
    >>> findings = [found for loss in [1.0] * 20 + [2.0] * 20 for found in detector.check(loss)]
    >>> spike, rise, *_ = findings
    >>> print(spike.message)
    the loss jumped to 2 from a median of 1: the losses before it hardly differ; spike is 10
    >>> print(rise.message)
    the loss rose from 1 to 2 and does not fall: the median of the last 10 losses is 2, that of the best 10 before 1,
    and the rise 100% of the first loss (max_rise = 25%)
    """

    window: int = 50
    max_rise: float = 0.25
    spike: float = 10.0
    windows_compared: int = state_field(0)
    spikes_compared: int = state_field(0)
    best_end: int = state_field(0)
    _first: float = state_field(0.0)
    _median: float = state_field(0.0)
    _deviation: float = state_field(0.0)
    _best: float = state_field(math.inf)
    _batches: int = state_field(0)
    _recent: list[float] = state_field(factory=list)
    _best_losses: list[float] = state_field(factory=list)
    _window_medians: list[float] = state_field(factory=list)
    _largest_excess: float = state_field(0.0)
    _excursion: float = state_field(0.0)
    _recovered_rise: float = state_field(0.0)
    _rise: tuple[str, float, str, float, int, int, bool] | None = state_field(None)

    @property
    def _diverged(self) -> Rise | None:
        """The rise that was found and has not gone back; None if there is none."""
        return None if self._rise is None else Rise(*self._rise)

    @property
    def shortest_window(self) -> int:
        """The fewest batches of a window that is compared."""
        return max(2 * self.window // 5, 1)

    @property
    def spike_level(self) -> float:
        """The loss that the next spike must exceed; infinite as long as none is looked for."""
        return math.inf if self._batches < self.window else self._median + self.max_rise * abs(self._first)

    @property
    def batches_to_next(self) -> int:
        """The number of batches until the next one after which windows are compared, 1 for the next batch."""
        number, window, step = self._batches, self.window, max(self.window // 5, 1)
        if number < DIVERGENCE.close_windows * window:
            return min(ahead for ahead in (step - number % step, window + 1 - number) if ahead > 0)
        return min(2 * step - number % (2 * step), window - number % window)

    def add_missed(self, losses: Sequence[float]) -> None:
        """Add the losses of batches that were left out: no spikes, and before the next batch of a comparison."""
        for loss in losses[max(self.window - self._batches, 0) :]:  # those after a first window
            self.spikes_compared += 1
            self._largest_excess = max(DIVERGENCE.excess_decay * self._largest_excess, loss - self._median)
        self._batches += len(losses)
        self._recent = [*self._recent, *losses][-2 * self.window :]

    def restart(self) -> None:
        """Forget all losses, for example after parameters were restored."""
        reset_state(self)

    def check(
        self, loss: float, cause_of: Callable[[Rise], RiseCause] = lambda rise: UNKNOWN_CAUSE
    ) -> Sequence[Finding]:
        """Add the loss of the next training batch; return a spike, and the rise or the recovery that it completes.

        ``cause_of`` returns the cause of a rise. If it is unknown, a large rise is a divergence.
        """
        spikes = [self._spike_finding(loss)] if self._is_spike(loss) else []
        if not self._follow(loss):
            return spikes
        recovered_from = self._diverged
        rise = self._compare_windows()
        if rise is not None and self._diverged is None:
            return [*spikes, *self.conclude(rise, cause_of(rise))]
        if recovered_from is not None and self._diverged is None:
            return [*spikes, self._recovery_finding(recovered_from)]
        return spikes

    def conclude(self, rise: Rise, cause: RiseCause) -> Iterator[Finding]:
        """The finding of a rise with this cause, if there is one."""
        if self._diverged is not None:
            return
        if cause.kind == "order":
            yield self._order_finding(rise, cause)
        elif cause.kind == "divergence" or (cause.kind == "unknown" and rise.is_large):
            self._rise = attrs.astuple(rise)
            yield self._rise_finding(rise, cause)

    def _is_spike(self, loss: float) -> bool:
        if self._batches < self.window:
            return False
        self.spikes_compared += 1
        excess, largest = loss - self._median, self._largest_excess
        self._largest_excess = max(DIVERGENCE.excess_decay * largest, excess)
        return (
            excess > self.max_rise * abs(self._first)
            and excess > self.spike * self._deviation
            and excess > DIVERGENCE.spike_excess_factor * largest
        )

    def _follow(self, loss: float) -> bool:
        """Add a loss; return whether windows are compared after it."""
        if self._batches == 0:
            self._first = self._median = loss
        self._batches += 1
        self._recent.append(loss)
        del self._recent[: -2 * self.window]
        return self._batches == self.window + 1 or not self._batches % max(self.window // 5, 1)

    def _compare_windows(self) -> Rise | None:
        margin = self.max_rise * abs(self._first)
        if self._batches == self.window + 1:
            jump = self._jump(margin)
            if jump is not None:
                return jump
        if self._batches % max(self.window // 5, 1):
            return None
        return self._compare(min(self._batches // 2, self.window), margin)

    def _compare(self, count: int, margin: float) -> Rise | None:
        """Compare the last ``count`` losses with the best window."""
        limits, window = DIVERGENCE, self.window
        recent = sorted(self._recent[-window:])
        self._median = quantile(recent, 0.5)
        self._largest_excess = max(self._largest_excess, recent[-1] - self._median)
        self._deviation = MAD_TO_STANDARD_DEVIATION * quantile(sorted([abs(one - self._median) for one in recent]), 0.5)
        if count < self.shortest_window:
            return None
        self.windows_compared += 1
        earlier, now = self._recent[-count - window : -count], self._recent[-count:]
        before = quantile(sorted(earlier), 0.5)
        value = self._median if count == window else quantile(sorted(now), 0.5)
        if before < self._best:
            self._best, self._best_losses, self.best_end = before, earlier, self._batches - count
        medians = self._window_medians
        if self._batches % window == 0:
            self._window_medians = [*medians[1 - limits.remembered_windows :], value]
        rise = value - self._best
        if rise < limits.recovery_share * margin:
            self._recovered_rise = max(self._recovered_rise, self._excursion)
            self._excursion = 0.0
            # After a jump of the first update, the best window is not comparable: it lies beyond the jump.
            if self._diverged is not None and value - self._diverged.reference <= margin:
                self._rise = None
            return None
        self._excursion = max(self._excursion, rise)
        if rise <= max(margin, limits.recovered_rise_factor * self._recovered_rise):
            return None
        if len(medians) >= limits.noise_windows and rise <= limits.window_noise_factor * noise_deviation(medians):
            return None
        if probability_of_superiority(now, self._best_losses) < limits.rising_pair_share:
            return None
        if mann_kendall_z(now[count // 2 :]) < limits.falling_trend:
            return None
        best = f"that of the best {len(earlier)} before"
        is_large = value > self._first or rise > limits.below_first_factor * margin
        statistic = f"the median of the last {count} losses"
        return Rise(statistic, value, best, self._best, count=count, best_end=self.best_end, is_large=is_large)

    def _jump(self, margin: float) -> Rise | None:
        """The rise that the first update caused: the first loss lies far below the window after it."""
        first, after = self._recent[0], sorted(self._recent[1:])
        count = len(after)
        spread = quantile(after, 0.75) - quantile(after, 0.25)
        if after[0] - first > max(margin, spread):
            return Rise(f"the lowest of {count} losses", after[0], "the first", first, count=count, best_end=0)
        low, high = quantile(after, 0.1), quantile(after, 0.9)
        far = first > 0.0 and low - first > margin and low > DIVERGENCE.jump_ratio * first
        if far and math.log(low / first) > DIVERGENCE.jump_spread_factor * math.log(high / low):
            return Rise(f"the tenth percentile of {count} losses", low, "the first", first, count=count, best_end=0)
        return None

    def _rise_finding(self, rise: Rise, cause: RiseCause) -> Finding:
        share = (rise.value - rise.reference) / abs(self._first) if self._first else math.inf
        message = (
            f"the loss rose from {rise.reference:.6g} to {rise.value:.6g} and does not fall: {rise.statistic} is "
            f"{rise.value:.6g}, {rise.reference_statistic} {rise.reference:.6g}, and the rise {share:.0%} of the first "
            f"loss (max_rise = {self.max_rise:.0%})"
        )
        return Finding(
            "RNN602",
            f"{message}; {cause.shown_by}" if cause.shown_by else message,
            {"loss": rise.value, "best": rise.reference, "first": self._first},
            remedy=(
                f"go back to the parameters that had a loss of {rise.reference:.4g}; lower the learning rate, and clip "
                "gradients (gradient_clipping)"
            ),
        )

    def _order_finding(self, rise: Rise, cause: RiseCause) -> Finding:
        return Finding(
            "RNN602",
            f"the order of the batches raises the loss: {rise.statistic} is {rise.value:.6g}, "
            f"{rise.reference_statistic} {rise.reference:.6g}; {cause.shown_by}",
            {"loss": rise.value, "best": rise.reference, "first": self._first},
            severity="info",
            cause="batches become harder in their order",
            remedy="shuffle the batches, unless their order has a purpose, as in a curriculum or a series in time",
        )

    def _recovery_finding(self, rise: Rise) -> Finding:
        return Finding(
            "RNN602",
            f"the loss rose from {rise.reference:.6g} to {rise.value:.6g} and came back: the median of the last "
            f"{min(self._batches, self.window)} losses is {self._median:.6g}",
            {"loss": self._median, "best": rise.reference, "first": self._first, "highest": rise.value},
            severity="info",
            cause="divergence that healed",
            remedy="if it recurs, lower the learning rate and clip gradients (gradient_clipping)",
        )

    def _spike_finding(self, loss: float) -> Finding:
        spread = "the losses before it hardly differ"
        if self._deviation > 0.0:
            count = (loss - self._median) / self._deviation
            spread = f"{count:.3g} deviations of {self._deviation:.4g} each above it"
        return Finding(
            "RNN605",
            f"the loss jumped to {loss:.6g} from a median of {self._median:.6g}: {spread}; spike is {self.spike:g}",
            {"loss": loss, "median": self._median, "deviation": self._deviation},
            remedy=(
                f"check the data of this batch, whose loss is {loss:.4g}; if spikes recur, clip gradients and lower "
                "the learning rate"
            ),
        )
