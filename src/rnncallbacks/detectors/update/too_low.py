"""RNN502: checks whether the learning rate is too low, by the decrease of the loss that the gradients predict."""

from __future__ import annotations

import math
from statistics import median

import attrs

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.detectors.update.update_record import UpdateRecord


@attrs.frozen(kw_only=True)
class TooLowThresholds:
    """The thresholds of RNN502, set on half of the seeds of the fault benchmark; see docs/reference/fault-benchmark.md.

    Update ratios are norm(dW) / norm(W). In 936 runs, those of healthy ones were 0.0098 and more, those of rates that
    were too low 0.00012 and less.
    """

    checked_after: int = 60
    """Training batches after which the rate is checked, once."""
    measured_updates: int = 20
    """Fewest measured updates."""
    run_decrease: float = 0.1
    """Predicted relative decrease of the loss over the whole run, below which the rate may be too low."""
    shortest_run: int = 500
    """Smallest assumed number of updates of a run. Chosen by eye."""
    longest_run: int = 2000
    """Largest assumed number of updates of a run. Chosen by eye."""
    relative_gradient: float = 0.1
    """norm(g) norm(W) / loss above which the gradient is not negligible. Chosen by eye."""
    update_ratio: float = 3e-3
    """Median update ratio below which the rate may be too low."""
    negligible_ratio: float = 1.2e-4
    """Median update ratio up to which a decrease that the batch's own gradient predicts proves nothing: the largest of
    936 runs whose rates were too low. The gradient of a single sequence is mostly noise, and predicts too much."""
    negligible_run_decrease: float = 1.0
    """``run_decrease`` of updates up to ``negligible_ratio``, if the gradients of the next batches agree: even along a
    straight line the loss does not come down to zero within the run. 45 runs of real numbers whose rates were 1,000
    times too low measured 0.02 to 0.8 in 500 updates. No healthy run of the benchmarks has updates as small."""
    growing_updates: float = 1.3
    """Median ratio of the last third of the updates / that of the second third, from which a script's own warm-up may
    raise the rate further. Linear warm-up measures 1.7 in 60 updates. Chosen by eye."""
    negligible_change: float = 0.01
    """Median update ratio times updates of the run, below which the network stays as it is, even if all updates agree,
    whatever the targets are. Chosen by eye: fine-tuning with a rate of 1e-5 and Adam reaches 0.1 in 1,000 updates."""
    standard_errors: float = 2.0
    """Half-width of the confidence interval of the decrease of other batches, in standard errors."""
    fallen_loss: float = 0.7
    """Median loss of the last third of the batches / that of the first third, below which small updates lower the loss.
    Chosen by eye: 0.88 and 0.97 were measured in two forecasts whose rates were 1,000 times too low."""
    learned_loss: float = 0.2
    """Median loss / loss of the best constant prediction, or the first loss, up to which a network that stays as it is
    has learned before. Chosen by eye: untrained networks whose outputs follow their inputs had 0.75 of the former."""
    untrained_loss: float = 0.8
    """Median loss / loss of the best constant prediction, above which a network counts as untrained. Chosen by eye."""

    reported_decrease: float = 0.05
    """Relative decrease of the loss for which the message gives a number of updates."""
    target_update_ratio: float = 1e-3
    """Target of the remedy for the update ratio: a rule of thumb."""
    smallest_factor: float = 2.0
    """Target / median update ratio from which the rate is too low. Chosen by eye: runs that learned after a plateau
    measured up to 1.1, with initial weights a tenth of the usual."""


TOO_LOW = TooLowThresholds()

TARGETS_NOT_SHOWN = "the updates are small, as in fine-tuning; show the targets: run.observe(inputs=..., targets=...)"


def check_too_low(record: UpdateRecord, planned_updates: int) -> CheckResult:
    r"""RNN502 if a run of 500 to 2000 updates would hardly lower the loss; call it after each batch.

    The rate is checked once, after 60 batches, if at least 20 updates were measured.

    The predicted relative decrease of the run is

    .. math:: n \cdot \operatorname{median}_i \frac{-g_i \cdot \Delta\theta_i}{s_i L_i}

    with n the planned number of updates, limited to 500 to 2000, :math:`L_i` the loss of the batch, and :math:`s_i` the
    learning-rate schedules' scale: a rate that a warm-up keeps low for now is not too low.

    Example
    -------
    >>> record = UpdateRecord()
    >>> record.batches, record.losses, record.constant_loss = 60, [2.0] * 60, 2.0
    >>> record.predicted_decreases, record.relative_gradients = [1e-6] * 30, [5.0] * 30
    >>> record.unscheduled_ratios = [2e-5] * 30
    >>> check_too_low(record, planned_updates=1000).finding.remedy
    'multiply the learning rate by about 50, until updates are a thousandth of the weights'
    """
    if record.batches != TOO_LOW.checked_after:
        return NOTHING_COMPARED
    measured = len(record.predicted_decreases)
    if measured < TOO_LOW.measured_updates:
        why = f"{measured} updates with nonzero gradients were measured, and {TOO_LOW.measured_updates} are needed"
        return CheckResult(cannot_tell={"RNN502": why})
    decrease, gradient, ratio = (
        median(values) for values in (record.predicted_decreases, record.relative_gradients, record.unscheduled_ratios)
    )
    updates = min(max(planned_updates, TOO_LOW.shortest_run), TOO_LOW.longest_run)
    stays = ratio * updates < TOO_LOW.negligible_change
    share = TOO_LOW.learned_loss if stays else TOO_LOW.untrained_loss
    loss = median(record.losses)
    learned = loss <= TOO_LOW.learned_loss * max(record.constant_loss, record.reference_loss)
    was_untrained = record.has_initial_biases and ratio <= TOO_LOW.negligible_ratio
    untrained = (loss > share * record.constant_loss or was_untrained) and not learned
    slow = 0.0 < decrease * updates < TOO_LOW.run_decrease
    across, error = record.decrease_of_next()
    of_next = across + TOO_LOW.standard_errors * error
    if ratio <= TOO_LOW.negligible_ratio and not slow:
        agree = across > TOO_LOW.standard_errors * error
        limit = TOO_LOW.negligible_run_decrease if agree else TOO_LOW.run_decrease
        updates = max(planned_updates, TOO_LOW.shortest_run) if agree else updates
        if of_next * updates < limit:
            slow, decrease = True, max(across, of_next / 2.0)
    compared = (
        f"{measured} updates changed the weights by {ratio:.2g} of their norm, and the gradient predicts that they "
        f"lower the loss by {decrease:.2g} times its value each (medians)"
    )
    if not (slow and gradient > TOO_LOW.relative_gradient and ratio < TOO_LOW.update_ratio and untrained):
        third = len(record.losses) // 3
        fell = median(record.losses[-third:]) < TOO_LOW.fallen_loss * median(record.losses[:third])
        if ratio < TOO_LOW.update_ratio and not fell and not learned:
            return CheckResult(cannot_tell={"RNN502": f"{compared}; noise of single batches hides what they learn"})
        return CheckResult(checked={"RNN502": compared})
    if _updates_grow(record):
        return CheckResult(cannot_tell={"RNN502": f"{compared}; the updates grow, as in a warm-up"})
    if not (record.constant_loss or record.has_initial_biases or stays):
        return CheckResult(not_checked={"RNN502": TARGETS_NOT_SHOWN})
    factor = TOO_LOW.target_update_ratio / ratio
    if factor < TOO_LOW.smallest_factor:
        return CheckResult(cannot_tell={"RNN502": f"{compared}; they are of a usual size, as on a plateau"})
    needed, rounded = math.ceil(TOO_LOW.reported_decrease / decrease), float(f"{factor:.1g}")
    finding = Finding(
        "RNN502",
        f"updates hardly change the network: they change the weights by {ratio:.2g} of their norm (median) and lower "
        f"the loss by {decrease:.2g} of it, so that {needed} updates lower it by {TOO_LOW.reported_decrease:.0%}, and "
        f"{updates:,} by {decrease * updates:.0%} at most",
        {"predicted_decrease": decrease, "update_ratio": ratio, "updates_for_5_percent": needed},
        remedy=f"multiply the learning rate by about {rounded:.0f}, until updates are a thousandth of the weights",
    )
    return CheckResult(finding=finding, checked={"RNN502": compared})


def _updates_grow(record: UpdateRecord) -> bool:
    """Whether the updates, without those of momentum's first steps, become larger."""
    ratios = record.unscheduled_ratios
    third = len(ratios) // 3
    return median(ratios[-third:]) > TOO_LOW.growing_updates * median(ratios[third:-third])
