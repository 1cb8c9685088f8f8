"""Whether the losses of the first batches rose above a reference loss and stay there."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import attrs


@attrs.frozen(kw_only=True)
class RiseCriterion:
    """One criterion of :class:`LossRiseThresholds`: a risen median of the last losses.

    ``after_batches`` is the number of batches from which the criterion applies, ``window`` the number of last losses
    whose median is taken, and ``factor`` the multiple of the reference loss that it must exceed.
    """

    after_batches: int
    window: int
    factor: float


@attrs.frozen(kw_only=True)
class LossRiseThresholds:
    """The thresholds of :func:`losses_above_reference`."""

    divergence_window: int = 6
    """Consecutive losses, in batches, that must all lie above ``divergence_factor``. The rise after the first updates
    of an adaptive optimizer is over within about five batches."""
    divergence_factor: float = 3.0
    """Loss / reference loss. Chosen by eye."""
    criteria: tuple[RiseCriterion, ...] = (
        RiseCriterion(after_batches=20, window=10, factor=2.0),
        RiseCriterion(after_batches=60, window=20, factor=1.25),
        RiseCriterion(after_batches=80, window=20, factor=1.05),
    )
    """Stricter with more batches: working recipes, with a large vocabulary or batches of single sequences, measured up
    to 1.6 times the first loss after 40 batches. In 936 runs, the smoothed loss rose above 1.25 times the
    first one in no healthy run, and in 54% to 81% of those with a rate that was too high."""
    falling_ratio: float = 0.8
    """Median of the later half of the losses / median of the earlier half, below which a loss counts as falling. Chosen
    by eye."""

    @property
    def longest_history(self) -> int:
        """Most losses that any criterion needs, in batches."""
        return max(criterion.after_batches for criterion in self.criteria)


LOSS_RISE = LossRiseThresholds()


def losses_above_reference(losses: Sequence[float], reference: float) -> int:
    """The number of last losses that remain above the reference; 0 if they do not.

    A run counts as risen if its last 6 losses all exceed 3 times the reference, or if the median of its last 10 to 20
    losses exceeds the factor that applies after this number of batches, from 2 down to 1.05. Losses that are falling do
    not count: the first updates of adaptive optimizers may raise the loss several times, and it falls again within
    about ten batches.

    Example
    -------
    >>> losses_above_reference([1.0, 5.0, 2.0, 0.9, 0.8, 0.7, 0.6], 1.0)
    0
    >>> losses_above_reference([1.0, 4.0, 5.0, 7.0, 9.0, 8.0, 9.0], 1.0)
    6
    """
    window = LOSS_RISE.divergence_window
    recent = losses[-window:]
    if len(losses) > window and min(recent) > LOSS_RISE.divergence_factor * reference and not is_falling(recent):
        return window
    for criterion in LOSS_RISE.criteria:
        recent = losses[-2 * criterion.window :]
        risen = len(losses) >= criterion.after_batches and (
            median(recent[criterion.window :]) > criterion.factor * reference
        )
        if risen and not is_falling(recent):
            return criterion.window
    return 0


def is_falling(losses: Sequence[float]) -> bool:
    """Whether the median of the later half of the losses is below 0.8 times that of the earlier half.

    Example
    -------
    >>> is_falling([4.0, 4.0, 3.0, 3.0]), is_falling([4.0, 4.0, 3.9, 3.9])
    (True, False)
    """
    half = len(losses) // 2
    return median(losses[half:]) < LOSS_RISE.falling_ratio * median(losses[:half])
