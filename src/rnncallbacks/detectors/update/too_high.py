"""RNN501: checks whether the learning rate is too high, by the effect of updates on the weights and the loss."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median

import attrs

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.detectors.update.loss_rise import losses_above_reference
from rnncallbacks.detectors.update.metrics import overshoot
from rnncallbacks.detectors.update.reversed_updates import REVERSED_UPDATES, reversal, updates_are_reversed
from rnncallbacks.detectors.update.too_high_finding import comparison_in_words, too_high_finding
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord


@attrs.frozen(kw_only=True)
class FrequentOvershoot:
    """A share of overshooting updates that is too high while the loss is above ``loss_ratio`` times the first."""

    loss_ratio: float
    overshoot_share: float


@attrs.frozen(kw_only=True)
class TooHighThresholds:
    """The thresholds of RNN501, set on half of the seeds of the fault benchmark; see docs/reference/fault-benchmark.md.

    Update ratios are norm(dW) / norm(W), loss ratios are loss / reference loss, overshoot is relative to that loss.
    """

    cumulative_update: float = 0.3
    """Sum of the update ratios up to which updates are too small to have raised the loss."""
    largest_update: float = 0.02
    """Largest update ratio up to which the same holds."""
    small_rise: float = 1.25
    """Loss ratio below which most updates must be larger than ``largest_update``. Four runs whose targets had been
    shuffled rose to 1.05 to 1.08, by updates of 0.015."""
    noisy_update: float = 0.03
    """Median update ratio up to which losses that return to the first one in between rose by chance: that of a single
    sequence may be easy. Chosen by eye: two healthy regressions on single sequences had 0.02."""
    first_checked_batch: int = 7
    """First batch at which a rise is checked: one more than the shortest window of losses."""

    confirming_changes: int = 8
    """Measured changes of a batch's own loss that are enough to confirm that updates raise it."""
    denying_changes: int = 3
    """Measured changes that are enough to deny it. Chosen by eye: a rate that is too high overshoots at once."""
    confirming_overshoot: float = 0.01
    """Mean overshoot below which they deny it."""
    confirming_share: float = 0.1
    """Share of ``confirming_changes`` or more that raised their batch's loss, up to which they deny it. 0.07 was
    measured where batches get harder, 0.33 and more with rates that are too high."""

    weight_growth: float = 5.0
    """norm(W) / initial norm(W) from the twelfth update. Weights that are initialized at a hundredth of the usual
    size grow to twenty times that in healthy runs, and are measured relative to orthogonal ones for this reason."""
    late_weight_growth: float = 4.0
    """The same after the fortieth update."""
    confirmed_weight_growth: float = 3.0
    """The same after the fortieth update, if the updates overshoot by ``growth_overshoot``."""
    growth_overshoot: float = 0.02
    """Mean overshoot that confirms it."""
    reversed_weight_growth: float = 2.5
    """norm(W) / initial norm(W) after the fortieth update, if the next batches' gradients reverse the updates. In 100
    runs that had not learned by then, healthy ones measured up to 2.2, RMSprop and Adagrad at ten times a good rate 2.5
    and more."""
    halved_loss: float = 0.5
    """Loss ratio up to which growing weights have lowered the loss."""
    confirmed_halved_loss: float = 0.7
    """The same where the overshoot or reversed updates confirm the growth."""

    doubled_weights: float = 2.0
    """Smallest norm(W) / initial norm(W) for blaming overshoot or dead units. With less growth, healthy runs overshoot
    too if a batch is a single sequence, and small initial weights have dead units."""
    mean_overshoot: float = 0.004
    """Largest mean overshoot that is noise."""
    frequent_overshoot: tuple[FrequentOvershoot, ...] = (
        FrequentOvershoot(loss_ratio=0.95, overshoot_share=0.15),
        FrequentOvershoot(loss_ratio=0.8, overshoot_share=0.25),
    )
    """Healthy runs measured shares of up to 0.07 while the loss had hardly fallen, and up to 0.23 later."""
    settled_overshoot: float = 0.25
    """Mean overshoot of the later half of the updates / that of the earlier half, up to which the updates have settled
    by themselves, if the loss has fallen: 0.1 in two healthy runs of Adagrad, whose first updates are the largest."""
    large_overshoot: float = 0.1
    """Mean overshoot that is enough by itself while the loss has not fallen. Chosen by eye."""
    risen_loss: float = 1.05
    """Loss ratio above which the loss has risen, so that nothing speaks for the learning rate: the lowest factor of
    :class:`~rnncallbacks.detectors.update.loss_rise.LossRiseThresholds`."""
    unchanged_loss: float = 0.95
    """Loss ratio above which the loss has not fallen. Chosen by eye."""

    confirmed_dead_units: float = 0.35
    """Rise of the share of dead units since the first batch, where ``dead_unit_overshoot`` confirms it. Healthy runs
    measured up to 0.45, without overshoot."""
    dead_units: float = 0.5
    """The same where no closure shows the overshoot."""
    dead_unit_overshoot: float = 0.1
    """Share of overshooting updates that confirms it, and below which it is denied."""

    divergence_batches: int = 100
    """Last batch in which a non-finite value is blamed on the updates before it. Chosen by eye."""
    divergence_loss: float = 3.0
    """Loss ratio of the batch before, above which it is. Chosen by eye."""
    replacement_batches: int = 10
    """Last batch in which a single update as large as the weights is blamed. Chosen by eye."""
    replacement_update: float = 1.0
    """Update ratio above which an update replaced the weights."""


TOO_HIGH = TooHighThresholds()


def check_too_high(record: UpdateRecord, *, batches_are_harder: Callable[[], bool] = lambda: False) -> CheckResult:
    """RNN501 if the updates so far show that the learning rate is too high; call it after each finite batch.

    The criteria are, in this order: a loss that stays above the first, weights that outgrew their initial size, updates
    that overshoot, units that died. From the fortieth batch on, all of them were compared. The first one is left out if
    ``batches_are_harder`` returns True, because losses then rise for another reason; it is called where they rise.
    While the loss lies above the first without proof that the updates raised it, or the weights have outgrown their
    initial size although the loss fell, the code does not pass.
    """
    finding = _find_too_high(record, batches_are_harder)
    due = record.batches >= MEASUREMENTS.close_updates and record.checks_losses
    if finding is None and not (due and any(record.update_ratios)):
        return NOTHING_COMPARED
    comparison = {"RNN501": comparison_in_words(record)}
    ratio, growth = record.loss_ratio(MEASUREMENTS.close_updates // 2), record.weight_growth
    outgrown = growth >= TOO_HIGH.confirmed_weight_growth and ratio > TOO_HIGH.halved_loss
    if finding is None and (ratio > TOO_HIGH.risen_loss or outgrown or growth >= TOO_HIGH.weight_growth):
        return CheckResult(withdrawn=comparison)
    return CheckResult(finding=finding, checked=comparison)


def check_divergence(record: UpdateRecord) -> CheckResult:
    """RNN501 if the updates so far led to a batch whose loss or gradient is not finite; call it in such a batch."""
    if not updates_diverged(record):
        return NOTHING_COMPARED
    finding = too_high_finding(
        record,
        f"{record.batches} updates made the loss non-finite",
        f"it was {record.reference_loss:.6g} in the first batch and {record.losses[-1]:.6g} in the last finite one",
    )
    return CheckResult(finding=finding, checked={"RNN501": comparison_in_words(record)})


def _find_too_high(record: UpdateRecord, batches_are_harder: Callable[[], bool]) -> Finding | None:
    if not record.checks_losses:
        return None
    window = loss_rise_window(record)
    if window and not batches_are_harder():
        ratio = record.loss_ratio(window)
        return too_high_finding(
            record,
            f"the median of the last {window} losses is {ratio:.3g} times the first",
            f"{ratio * record.reference_loss:.6g} against {record.reference_loss:.6g}",
        )
    late = record.batches > MEASUREMENTS.close_updates
    if weights_outgrew(record) and not (late and batches_are_harder()):
        ratio = record.loss_ratio(min(record.batches, MEASUREMENTS.close_updates) // 2)
        numbers = f"after {record.batches} updates the loss is {ratio:.3g} times the first"
        if updates_are_reversed(record):
            share, rise = reversal(record)
            numbers += (
                f", and the gradient of the next batch reverses {share:.0%} of the last updates, which raise its loss "
                f"by {rise:.2g} of it (median)"
            )
        return too_high_finding(
            record, f"the weights grew to {record.weight_growth:.3g} times their initial norm", numbers
        )
    if updates_overshoot(record):
        ratio = record.loss_ratio(MEASUREMENTS.close_updates // 2)
        return too_high_finding(
            record,
            "updates overshoot the minimum of the loss",
            f"after {record.batches} updates the loss is {ratio:.3g} times the first",
        )
    if units_died(record):
        first, *later = record.dead_unit_shares
        return too_high_finding(
            record,
            "updates made recurrent units dead",
            f"after {record.batches} updates {median(later):.0%} pass no gradient on, {first:.0%} in the first batch",
        )
    return None


# Criteria -----------------------------------------------------------------------------------------------------------


def updates_are_large(record: UpdateRecord) -> bool:
    """Whether the updates were large enough to have raised the loss.

    Updates that were not measured count with the mean size of the others, up to the fortieth; of later ones, one in
    twenty counts.
    """
    ratios = record.update_ratios
    if len(ratios) < 2 or max(ratios) <= TOO_HIGH.largest_update:
        return False
    close, interval = MEASUREMENTS.close_updates, MEASUREMENTS.sparse_interval
    updates = min(record.batches, close) + max(record.batches - close, 0) / interval
    return fmean(ratios) * updates > TOO_HIGH.cumulative_update


def loss_rise_window(record: UpdateRecord) -> int:
    """The number of last losses that lie above the reference because of the updates; 0 if they do not.

    Where a closure shows the overshoot, it must confirm that updates raise the loss of their own batch. Where updates
    are small, the gradients of the next batches must not deny it.
    """
    if record.batches < TOO_HIGH.first_checked_batch or not record.checks_losses or not updates_are_large(record):
        return 0
    not_reversed = updates_are_reversed(record, fewest=REVERSED_UPDATES.denying_updates) is False
    if closure_denies(record) or (not_reversed and max(record.update_ratios) < REVERSED_UPDATES.small_update):
        return 0
    window = min(
        losses_above_reference(losses, record.reference_loss) for losses in (record.losses, record.rescaled_losses)
    )
    if window and record.loss_ratio(window) < TOO_HIGH.small_rise:
        # Targets that cannot be learned raise the loss a little, by updates of the usual size.
        return window if median(record.update_ratios) > TOO_HIGH.largest_update else 0
    returned = window and min(record.rescaled_losses[1:]) <= record.reference_loss
    return 0 if returned and median(record.update_ratios) <= TOO_HIGH.noisy_update else window


def closure_denies(record: UpdateRecord) -> bool:
    """Whether the updates did not raise the loss of their own batch, as far as a closure shows it.

    Other losses may rise for other reasons: batches that get harder, or a batch that was an easy one.
    """
    changes = record.deciding_changes
    if len(changes) < TOO_HIGH.denying_changes:
        return False
    share, mean_overshoot = overshoot(changes)
    rare = len(changes) >= TOO_HIGH.confirming_changes and share <= TOO_HIGH.confirming_share
    return rare or mean_overshoot < TOO_HIGH.confirming_overshoot


def weights_outgrew(record: UpdateRecord) -> bool:
    """Whether the weights grew several times, and the loss has not halved.

    After the fortieth update, the loss must be back at the first one, and the updates clearly reversed.
    """
    if record.batches < MEASUREMENTS.initial_updates:
        return False
    growth, half = record.weight_growth, record.batches // 2
    if record.batches > MEASUREMENTS.close_updates:
        if growth < TOO_HIGH.reversed_weight_growth:
            return False
        risen = record.loss_ratio(MEASUREMENTS.close_updates // 2) > TOO_HIGH.unchanged_loss
        return risen and updates_are_reversed(record, rise=REVERSED_UPDATES.late_rise) is True
    if record.batches < MEASUREMENTS.close_updates:
        return growth >= TOO_HIGH.weight_growth and record.loss_ratio(half) > TOO_HIGH.halved_loss
    ratio = record.loss_ratio(half)
    changes = record.loss_changes
    confirmed = len(changes) >= TOO_HIGH.confirming_changes and overshoot(changes)[1] >= TOO_HIGH.growth_overshoot
    if growth >= TOO_HIGH.late_weight_growth and ratio > TOO_HIGH.halved_loss:
        return True
    if ratio <= TOO_HIGH.confirmed_halved_loss:
        return False
    return (confirmed and growth >= TOO_HIGH.confirmed_weight_growth) or (
        growth >= TOO_HIGH.reversed_weight_growth and updates_are_reversed(record) is True
    )


def updates_overshoot(record: UpdateRecord) -> bool:
    """Whether, at the fortieth update, updates raised their own batch's loss too often or too far."""
    if not _weights_doubled(record) or not _overshoot_is_known(record) or _have_settled(record):
        return False
    share, mean_overshoot = overshoot(record.loss_changes)
    ratio = record.loss_ratio(MEASUREMENTS.close_updates // 2)
    often = any(
        ratio > criterion.loss_ratio and share >= criterion.overshoot_share for criterion in TOO_HIGH.frequent_overshoot
    )
    return (often and mean_overshoot >= TOO_HIGH.mean_overshoot) or (
        mean_overshoot >= TOO_HIGH.large_overshoot and ratio > TOO_HIGH.unchanged_loss
    )


def units_died(record: UpdateRecord) -> bool:
    """Whether, at the fortieth update, many units are dead through which the first batch's gradient still passed."""
    shares = record.dead_unit_shares
    if not _weights_doubled(record) or len(shares) < len(MEASUREMENTS.dead_unit_updates):
        return False
    rise = median(shares[1:]) - shares[0]
    if not _overshoot_is_known(record):
        return rise >= TOO_HIGH.dead_units
    confirmed = overshoot(record.loss_changes)[0] >= TOO_HIGH.dead_unit_overshoot
    return confirmed and rise >= TOO_HIGH.confirmed_dead_units and not _have_settled(record)


def updates_diverged(record: UpdateRecord) -> bool:
    """Whether updates led to a batch that is not finite: after a steep rise, or by replacing the weights at once."""
    if not record.losses or record.batches > TOO_HIGH.divergence_batches or not record.update_ratios:
        return False
    last = min(record.losses[-1], record.rescaled_losses[-1])
    risen = last > TOO_HIGH.divergence_loss * record.reference_loss
    if risen and max(record.update_ratios) > TOO_HIGH.largest_update:
        return True
    return (
        record.batches <= TOO_HIGH.replacement_batches
        and max(record.unscheduled_ratios, default=0.0) > TOO_HIGH.replacement_update
        and record.loss_ratio(1) > TOO_HIGH.unchanged_loss
    )


def _weights_doubled(record: UpdateRecord) -> bool:
    """Whether the fortieth update was just made, and large updates have doubled the weights."""
    return (
        record.batches == MEASUREMENTS.close_updates
        and updates_are_large(record)
        and record.weight_growth >= TOO_HIGH.doubled_weights
    )


def _have_settled(record: UpdateRecord) -> bool:
    """Whether the loss has fallen, and updates overshoot much less than at first."""
    half = len(record.loss_changes) // 2
    earlier, later = (overshoot(changes)[1] for changes in (record.loss_changes[:half], record.loss_changes[half:]))
    fallen = record.loss_ratio(MEASUREMENTS.close_updates // 2) <= TOO_HIGH.unchanged_loss
    return fallen and later <= TOO_HIGH.settled_overshoot * earlier


def _overshoot_is_known(record: UpdateRecord) -> bool:
    return len(record.loss_changes) >= MEASUREMENTS.close_updates // 2
