"""RNN501 in words: the finding with all measurements, how many times too high the rate is, and what was compared."""

from __future__ import annotations

import math
from statistics import fmean, median

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.detectors.update.metrics import is_proportional, overshoot
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord


@attrs.frozen(kw_only=True)
class ReportedNumbers:
    """Numbers that the message and the remedy of RNN501 contain only where they mean something."""

    smallest_reported_multiple: float = 2.0
    """Estimate of :func:`times_too_high` from which the remedy contains it. Chosen by eye, after its accuracy."""
    reported_overshoot_share: float = 0.1
    """Share of overshooting updates that is usual in healthy runs; larger ones are compared with it in the message."""


REPORTED = ReportedNumbers()


@attrs.frozen(kw_only=True)
class TimesTooHighFit:
    """Coefficients of the estimate of learning rate / good learning rate.

    Fitted to 450 runs at 10, 30 and 100 times a good rate, under five optimizers: two thirds of the estimates of the
    power law are within a factor of 2.2.
    """

    factor: float = 29.0
    exponent: float = 0.24
    """Small, because growing weights and clipped gradients reduce the size of updates."""
    adaptive_update: float = 0.07
    """Mean update ratio of adaptive optimizers at a good rate, whose updates do not grow with the gradient. 39 healthy
    runs measured medians of 0.02 with Adam, 0.10 with RMSprop and 0.12 with Adagrad."""
    largest: float = 100.0
    """The largest multiple in the fitted runs."""


TIMES_TOO_HIGH = TimesTooHighFit()


def too_high_finding(record: UpdateRecord, headline: str, numbers: str) -> Finding:
    """RNN501 with all measurements."""
    ratios = [ratio for ratio in record.update_ratios if ratio] or [0.0]  # accumulated gradients: some are zero
    ratio, largest_ratio = median(ratios), max(ratios)
    times = times_too_high(record)
    message = (
        f"{headline}: {numbers}; updates changed the weights by {ratio:.2g} of their norm (median), at most "
        f"{largest_ratio:.2g}"
    )
    evidence: dict[str, float | int | str] = {
        "first_loss": record.reference_loss,
        "loss": record.losses[-1],
        "updates": record.batches,
        "update_ratio": ratio,
        "largest_update_ratio": largest_ratio,
        "weight_growth": record.weight_growth,
        "times_too_high": times,
    }
    if not math.isnan(record.gradient_cosine):
        evidence["update_gradient_cosine"] = record.gradient_cosine
    if len(record.dead_unit_shares) > 1:
        evidence |= {
            "dead_unit_share": record.dead_unit_shares[-1],
            "first_dead_unit_share": record.dead_unit_shares[0],
        }
    if changes := record.deciding_changes:
        share, mean_overshoot = overshoot(changes)
        evidence |= {
            "overshoot_share": share,
            "mean_overshoot": mean_overshoot,
            "overshoot_updates": len(changes),
        }
        message += f"; {share:.0%} of {len(changes)} updates raised the loss of their own batch"
        if share > REPORTED.reported_overshoot_share:
            message += f", at most {REPORTED.reported_overshoot_share:.0%} is usual"
    remedy = None
    if times >= REPORTED.smallest_reported_multiple:
        remedy = f"divide the learning rate by about {times:.0f}, and adjust it to the loss curve"
    return Finding("RNN501", message, evidence, remedy=remedy)


def times_too_high(record: UpdateRecord) -> float:
    r"""An estimate of learning rate / good learning rate, for a rate that is too high.

    .. math:: \min(29\, \bar r^{\,0.24}, 100)

    with :math:`\bar r` the mean of the first twelve update norms, each divided by the initial norm of the weights. For
    updates that are not proportional to the gradient, :math:`\bar r / 0.07` if that is more. 1 if no update was
    measured.

    Example
    -------
    >>> record = UpdateRecord()
    >>> record.initial_ratios = [0.5, 1.5]
    >>> times_too_high(record)
    29.0
    """
    if not record.initial_ratios:
        return 1.0
    fit, ratio = TIMES_TOO_HIGH, fmean(record.initial_ratios)
    times = fit.factor * math.pow(ratio, fit.exponent)
    if is_proportional(record.gradient_cosine) is False:
        times = max(times, ratio / fit.adaptive_update)
    return min(times, fit.largest)


def comparison_in_words(record: UpdateRecord) -> str:
    """The compared loss and weights and, with a closure, the overshoot, in words."""
    ratio = record.loss_ratio(MEASUREMENTS.close_updates // 2)
    compared = (
        f"after {record.batches} batches the loss is {ratio:.3g} times the first, and the weights "
        f"{record.weight_growth:.3g} times their initial norm"
    )
    changes = record.deciding_changes
    if not changes:
        return compared
    raised = sum(change > 0.0 for change in changes)
    return f"{compared}; {raised} of {len(changes)} updates raised the loss of their own batch"
