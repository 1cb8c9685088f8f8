"""RNN501 in words: the finding with all measurements, and what was compared if it passes."""

from __future__ import annotations

import math
from statistics import median

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.detectors.update.metrics import overshoot
from rnncallbacks.detectors.update.times_too_high import times_too_high
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord


@attrs.frozen(kw_only=True)
class ReportedNumbers:
    """Numbers that the message and the remedy of RNN501 contain only where they mean something."""

    smallest_reported_multiple: float = 2.0
    """Estimate of :func:`times_too_high` from which the remedy contains it. Chosen by eye, after its accuracy."""
    reported_overshoot_share: float = 0.1
    """Share of overshooting updates that is usual in healthy runs; larger ones are compared with it in the message."""


REPORTED = ReportedNumbers()


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
