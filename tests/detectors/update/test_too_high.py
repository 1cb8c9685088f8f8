"""What shows that a learning rate is too high: losses that rise, weights that grow, and batches of several sizes."""

import numpy as np
import pytest

from rnncallbacks.detectors.update.too_high import (
    check_divergence,
    check_too_high,
    loss_rise_window,
    units_died,
    updates_are_large,
    updates_diverged,
    updates_overshoot,
    weights_outgrew,
)
from rnncallbacks.detectors.update.too_high_finding import times_too_high
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord

CLOSE = MEASUREMENTS.close_updates


def record(losses, *, grow=1.0, start=1.0, step=0.05, changes=None, positions=None):
    """A record of updates of a 4 x 4 matrix: each turns it by ``step`` and makes it ``grow`` times as large."""
    kept = UpdateRecord()
    weights = start * np.eye(4)
    turn = np.array([[0.0, step], [-step, 0.0]])
    for number, loss in enumerate(losses):
        kept.add_loss(float(loss), 1.0 if positions is None else float(positions[number]))
        before = {"w": weights}
        weights = grow * (weights + np.kron(np.eye(2), turn) @ weights)
        kept.add_update(before, {"w": weights}, {"w": np.ones((4, 4))}, 1.0)
        if changes is not None:
            kept.loss_changes.append(changes[number])
    return kept


@pytest.mark.parametrize(("step", "lowest", "window"), [(0.02, 0.05, 0), (0.02, 0.2, 10), (0.1, 0.05, 10)])
def test_an_easy_first_sequence_is_no_reference_while_small_updates_lead_to_losses_below_it(step, lowest, window):
    losses = [0.07, 1.9, 0.9, 0.2, 0.8, 0.5, 0.9, 0.2, 0.7, 0.6, lowest, 0.6, 0.7, 0.4, 0.3, 0.9, 0.5, 0.8, 0.2, 0.7]
    assert loss_rise_window(record(losses, step=step)) == window


def test_weights_that_grow_while_the_loss_rests_are_seen_early():
    growing = record([1.0] * 12, grow=1.2)
    assert growing.weight_growth == pytest.approx(1.2**12, rel=0.05)
    assert weights_outgrew(growing)
    assert not weights_outgrew(record([1.0] * 11, grow=1.3))
    assert not weights_outgrew(record([1.0] * 12, grow=1.05))
    assert not weights_outgrew(record([1.0] * 6 + [0.3] * 6, grow=1.2))


def test_slower_growth_is_judged_at_the_end_of_the_first_updates():
    assert weights_outgrew(record([1.0] * CLOSE, grow=4.2 ** (1 / CLOSE)))
    assert not weights_outgrew(record([1.0] * CLOSE, grow=3.2 ** (1 / CLOSE)))
    raised = [0.0, 0.2] * (CLOSE // 2)
    assert weights_outgrew(record([1.0] * CLOSE, grow=3.2 ** (1 / CLOSE), changes=raised))
    assert not weights_outgrew(record([1.0] * CLOSE, grow=3.2 ** (1 / CLOSE), changes=[-0.1] * CLOSE))


@pytest.mark.parametrize(
    ("next_decreases", "growth", "loss", "outgrew"),
    [
        ([-0.05] * 11 + [0.01] * 3, 2.7, 0.9, True),
        ([-0.05] * 7 + [0.01] * 7, 2.7, 0.9, False),
        ([-0.002] * 14, 2.7, 0.9, False),
        ([-0.05] * 14, 2.2, 0.9, False),
        ([-0.05] * 14, 2.7, 0.6, False),
        ([-0.05] * 11, 2.7, 0.9, False),
    ],
    ids=["reversed", "half of them", "by little", "weights of a healthy run", "the loss falls", "too few"],
)
def test_growth_is_too_fast_where_the_next_gradients_reverse_the_updates(next_decreases, growth, loss, outgrew):
    kept = record([1.0] * 20 + [loss] * 20, grow=growth ** (1 / CLOSE))
    kept.next_decreases = next_decreases
    assert weights_outgrew(kept) is outgrew
    if outgrew:
        message = check_too_high(kept).finding.message
        assert (
            "the gradient of the next batch reverses 75% of the last updates, which raise its loss by 0.05" in message
        )


@pytest.mark.parametrize(
    ("rise", "loss", "harder", "fired"),
    [(0.3, 1.0, False, True), (0.03, 1.0, False, False), (0.3, 0.8, False, False), (0.3, 1.0, True, False)],
    ids=["back at the first loss", "near a minimum", "a loss that fell", "harder batches"],
)
def test_later_reversed_updates_count_where_the_loss_is_back_at_the_first(rise, loss, harder, fired):
    kept = record([1.0] * 60 + [loss] * 40, grow=2.7 ** (1 / 100))
    kept.next_decreases = [-rise] * 14
    assert (check_too_high(kept, batches_are_harder=lambda: harder).finding is not None) is fired


def test_weights_that_began_near_zero_may_grow_to_the_usual_size():
    assert record([1.0] * CLOSE, start=0.01, grow=40 ** (1 / CLOSE)).weight_growth < 0.5
    assert not weights_outgrew(record([1.0] * CLOSE, start=0.01, grow=40 ** (1 / CLOSE)))
    assert weights_outgrew(record([1.0] * CLOSE, start=0.01, grow=900 ** (1 / CLOSE)))


def test_a_loss_that_updates_did_not_raise_is_not_their_fault():
    assert loss_rise_window(record([1.0] + [5.0] * 19))
    assert not loss_rise_window(record([1.0] + [5.0] * 19, step=1e-4))  # too small to have done it
    assert not loss_rise_window(record([1.0] + [5.0] * 19, changes=[-0.1] * 20))  # each lowered its own batch's loss


@pytest.mark.parametrize(
    ("late", "fired"),
    [
        ([], False),  # only the first updates were measured, when a schedule kept the rate low
        ([-0.1] * 8, False),  # batches that get harder
        ([0.3, -0.1, 0.2, 0.3, -0.1], True),
    ],
)
def test_a_loss_that_rises_later_does_not_pass_and_is_judged_by_the_updates_of_that_time(late, fired):
    risen = record([1.0] * CLOSE + [5.0] * CLOSE, changes=[-0.1] * 2 * CLOSE)
    risen.late_changes = late
    result = check_too_high(risen)
    assert (result.finding is not None) is fired
    assert ("RNN501" in result.checked) is fired
    assert ("RNN501" in result.withdrawn) is not fired


def test_sums_over_longer_batches_are_no_rise():
    positions = [2.0] + [10.0] * 30
    assert not loss_rise_window(record(positions, positions=positions))
    assert loss_rise_window(record([0.5 * one for one in positions]))


def test_an_easy_first_batch_is_no_measure():
    easy = record([0.1] + [1.0] * 20)
    assert loss_rise_window(easy)
    known = UpdateRecord()
    known.constant_loss = 1.1
    for loss in [0.1] + [1.0] * 20:
        known.add_loss(loss, 1.0)
    assert (known.reference_loss, loss_rise_window(known)) == (1.1, 0)


def test_updates_that_were_not_measured_count_as_much_as_those_that_were():
    all_of_them = record([1.0] + [5.0] * 19, step=0.02)
    half = record([1.0] + [5.0] * 19, step=0.02)
    del half.update_ratios[1::2]
    assert updates_are_large(all_of_them)
    assert updates_are_large(half)
    assert not updates_are_large(record([1.0] + [5.0] * 19, step=0.01))


@pytest.mark.parametrize(
    ("losses", "step", "blew"),
    [
        ([1.0, 9.0], 0.5, True),  # a steep rise
        ([1.0, 1.0], 0.5, False),  # nothing before tells of it: a poisoned batch
        ([1.0, 9.0], 1e-4, False),
        ([1.0, 1.0], 2.0, True),  # the weights were replaced at once
    ],
)
def test_a_batch_beyond_numbers_is_the_updates_doing_or_not(losses, step, blew):
    assert updates_diverged(record(losses, step=step)) is blew


# --- what is reported ----------------------------------------------------------------------------------------------


def test_updates_that_overshoot_often_while_the_loss_rests():
    often = [0.2, -0.1, -0.1, -0.1] * (CLOSE // 4)
    assert updates_overshoot(record([1.0] * CLOSE, grow=2.2 ** (1 / CLOSE), changes=often))
    assert not updates_overshoot(record([1.0] * CLOSE, grow=1.5 ** (1 / CLOSE), changes=often))
    assert not updates_overshoot(record([1.0] * CLOSE, grow=2.2 ** (1 / CLOSE), changes=[-0.1] * CLOSE))
    assert not updates_overshoot(record([1.0] * 20 + [0.5] * 20, grow=2.2 ** (1 / CLOSE), changes=often))


@pytest.mark.parametrize(("later", "fallen", "found"), [(0.02, 0.85, False), (0.2, 0.85, True), (0.02, 1.0, True)])
def test_updates_that_overshoot_at_first_only_have_settled_if_the_loss_falls(later, fallen, found):
    changes = [0.3, -0.1] * (CLOSE // 4) + [later, -0.1] * (CLOSE // 4)
    losses = [1.0] * 20 + [fallen] * 20
    assert updates_overshoot(record(losses, grow=2.2 ** (1 / CLOSE), changes=changes)) is found


@pytest.mark.parametrize(
    ("shares", "changes", "died"),
    [
        ([0.1] + [0.7] * 5, None, True),
        ([0.1] + [0.5] * 5, None, False),
        ([0.1] + [0.5] * 5, [0.2, -0.1] * (CLOSE // 2), True),
        ([0.1] + [0.7] * 5, [-0.1] * CLOSE, False),
        ([0.6] + [0.7] * 5, None, False),
        ([0.1] + [0.7] * 4, None, False),
    ],
)
def test_units_that_died_count_by_how_many_more_they_are(shares, changes, died):
    kept = record([1.0] * CLOSE, grow=2.2 ** (1 / CLOSE), changes=changes)
    kept.dead_unit_shares = shares
    assert units_died(kept) is died


CASES = {
    "rise": lambda: record([1.0] + [5.0] * 19),
    "growth": lambda: record([1.0] * 12, grow=1.2),
    "overshoot": lambda: record([1.0] * CLOSE, grow=2.2 ** (1 / CLOSE), changes=[0.2, -0.1, -0.1, -0.1] * 10),
}


@pytest.mark.parametrize("name", CASES)
def test_a_finding_has_a_short_headline_its_numbers_and_a_remedy_with_the_estimate(name):
    kept = CASES[name]()
    result = check_too_high(kept)
    finding = result.finding
    assert (finding.code, list(result.checked)) == ("RNN501", ["RNN501"])
    assert len(finding.message.partition(":")[0]) <= 80
    assert f"by about {times_too_high(kept):.0f}, and" in finding.remedy
    assert finding.evidence["times_too_high"] == times_too_high(kept)
    assert ("overshoot_share" in finding.evidence) == (name == "overshoot")


def test_a_batch_beyond_numbers_is_reported_with_the_losses_before_it():
    finding = check_divergence(record([1.0, 9.0], step=0.5)).finding
    assert finding.message.startswith(
        "2 updates made the loss non-finite: it was 1 in the first batch and 9 in the last"
    )
    assert check_divergence(record([1.0, 1.0], step=0.5)).finding is None


def test_a_healthy_record_passes_after_the_fortieth_batch_and_not_before():
    assert check_too_high(record([1.0] * (CLOSE - 1))).checked == {}
    passed = check_too_high(record([1.0] * CLOSE, changes=[-0.1] * (CLOSE - 1) + [0.1]))
    assert passed.finding is None
    assert passed.checked["RNN501"].startswith("after 40 batches the loss is 1 times the first, and the weights 1.05 ")
    assert passed.checked["RNN501"].endswith("; 1 of 40 updates raised the loss of their own batch")


def test_a_record_without_a_change_of_the_weights_does_not_pass():
    assert check_too_high(record([1.0] * CLOSE, step=0.0)).checked == {}


def test_few_changes_of_a_batch_of_its_own_are_enough_to_deny_a_rise():
    """Batches whose targets grow: the losses rise, and each update lowers the loss of its own batch."""
    harder = [1.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert loss_rise_window(record(harder))
    assert not loss_rise_window(record(harder, changes=[-0.1] * 7))
    assert loss_rise_window(record(harder, changes=[0.5] * 7))


@pytest.mark.parametrize(
    ("next_decreases", "step", "denied"),
    [
        ([-0.005, 0.005] * 3, 0.025, True),  # targets that nothing predicts, and a first batch that was an easy one
        ([-0.5, 0.1] * 3, 0.025, True),
        ([-0.05] * 5 + [0.01], 0.025, False),
        ([0.01] * 5, 0.025, False),
        ([0.01] * 6, 0.04, False),  # momentum: single updates are not reversed
    ],
)
def test_the_next_gradients_deny_that_small_updates_raised_the_loss(next_decreases, step, denied):
    kept = record([1.0] + [5.0] * 19, step=step)
    kept.next_decreases = next_decreases
    assert (loss_rise_window(kept) == 0) is denied


@pytest.mark.parametrize(("step", "rise", "window"), [(0.015, 1.1, 0), (0.015, 1.3, 20), (0.03, 1.1, 20)])
def test_a_small_rise_is_blamed_on_large_updates_only(step, rise, window):
    kept = record([1.0] * 10 + [rise] * 90, step=step)
    kept.update_ratios[0] = 0.03
    assert loss_rise_window(kept) == window
