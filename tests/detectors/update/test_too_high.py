"""What the record of the first updates says: of losses, of weights that grow, and of batches of several sizes."""

import math

import numpy as np
import pytest

from rnncallbacks.detectors.update.too_high import CLOSE, FIRST, LOOKS, UpdateRecord


def record(losses, *, grow=1.0, start=1.0, step=0.05, changes=None, positions=None):
    """A record of updates of a 4 x 4 matrix: each turns it by ``step`` and makes it ``grow`` times as large."""
    kept = UpdateRecord()
    weights = start * np.eye(4)
    turn = np.array([[0.0, step], [-step, 0.0]])
    for number, loss in enumerate(losses):
        kept.note(float(loss), 1.0 if positions is None else float(positions[number]))
        before = {"w": weights}
        weights = grow * (weights + np.kron(np.eye(2), turn) @ weights)
        kept.measure(before, {"w": weights}, {"w": np.ones((4, 4))}, 1.0)
        if changes is not None:
            kept.changes.append(changes[number])
    return kept


def test_weights_that_grow_while_the_loss_rests_are_seen_early():
    growing = record([1.0] * 12, grow=1.2)
    assert growing.growth == pytest.approx(1.2**12, rel=0.05)
    assert growing.outgrew()
    assert not record([1.0] * 11, grow=1.3).outgrew()
    assert not record([1.0] * 12, grow=1.05).outgrew()
    assert not record([1.0] * 6 + [0.3] * 6, grow=1.2).outgrew()


def test_slower_growth_is_judged_at_the_end_of_the_first_updates():
    assert record([1.0] * CLOSE, grow=4.2 ** (1 / CLOSE)).outgrew()
    assert not record([1.0] * CLOSE, grow=3.2 ** (1 / CLOSE)).outgrew()
    raised = [0.0, 0.2] * (CLOSE // 2)
    assert record([1.0] * CLOSE, grow=3.2 ** (1 / CLOSE), changes=raised).outgrew()
    assert not record([1.0] * CLOSE, grow=3.2 ** (1 / CLOSE), changes=[-0.1] * CLOSE).outgrew()


def test_weights_that_began_near_zero_may_grow_to_the_usual_size():
    assert record([1.0] * CLOSE, start=0.01, grow=40 ** (1 / CLOSE)).growth < 0.5
    assert not record([1.0] * CLOSE, start=0.01, grow=40 ** (1 / CLOSE)).outgrew()
    assert record([1.0] * CLOSE, start=0.01, grow=900 ** (1 / CLOSE)).outgrew()


def test_a_loss_that_updates_did_not_raise_is_not_their_fault():
    assert record([1.0] + [5.0] * 19).rise()
    assert not record([1.0] + [5.0] * 19, step=1e-4).rise()  # too small to have done it
    assert not record([1.0] + [5.0] * 19, changes=[-0.1] * 20).rise()  # each lowered its own batch's loss


def test_sums_over_longer_batches_are_no_rise():
    positions = [2.0] + [10.0] * 30
    assert not record(positions, positions=positions).rise()
    assert record([0.5 * one for one in positions]).rise()


def test_an_easy_first_batch_is_no_measure():
    easy = record([0.1] + [1.0] * 20)
    assert easy.rise()
    known = UpdateRecord()
    known.blind = 1.1
    for loss in [0.1] + [1.0] * 20:
        known.note(loss, 1.0)
    assert (known.reference, known.rise()) == (1.1, 0)


def test_whether_the_first_update_follows_the_gradient():
    gradient = np.array([[3.0, 0.1]])
    for step, cosine in ((gradient, 1.0), (np.sign(gradient), 0.73), (-gradient, -1.0)):
        kept = UpdateRecord()
        kept.note(1.0, 1.0)
        kept.measure({"w": np.ones((1, 2))}, {"w": np.ones((1, 2)) - 0.1 * step}, {"w": gradient}, 1.0)
        assert kept.follows == pytest.approx(cosine, abs=0.01)
        kept.note(1.0, 1.0)
        kept.measure({"w": np.ones((1, 2))}, {"w": np.array([[1.1, 0.7]])}, {"w": gradient}, 1.0)
        assert kept.follows == pytest.approx(cosine, abs=0.01)
    kept.begin()
    assert math.isnan(kept.follows)


def test_which_updates_are_measured():
    kept, due = UpdateRecord(), []
    for number in range(200):
        if kept.due:
            due.append(number)
        kept.note(1.0, 1.0)
    assert due[:FIRST] == list(range(FIRST))
    assert set(LOOKS) < set(due)
    assert CLOSE // 2 < sum(number < CLOSE for number in due) < 0.75 * CLOSE
    assert [number for number in due if number >= CLOSE] == [40, 80, 120, 160]


def test_updates_that_were_not_measured_count_as_much_as_those_that_were():
    all_of_them = record([1.0] + [5.0] * 19, step=0.02)
    half = record([1.0] + [5.0] * 19, step=0.02)
    del half.ratios[1::2]
    assert all_of_them.large
    assert half.large
    assert not record([1.0] + [5.0] * 19, step=0.01).large


def test_beginning_anew_keeps_the_reference_and_forgetting_does_not():
    kept = record([2.0] * 20, grow=1.3)
    kept.begin()
    assert (kept.seen, kept.growth, kept.reference) == (0, 1.0, 2.0)
    kept.note(0.5, 1.0)
    assert kept.reference == 2.0
    kept.forget()
    kept.note(0.5, 1.0)
    assert kept.reference == 0.5


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
    assert record(losses, step=step).blew_up() is blew


def test_the_first_dozen_updates_tell_how_far_a_rate_goes():
    estimates = [record([1.0] * 12, step=step, grow=1.0).times_too_high for step in (0.1, 0.5, 9.0)]
    assert estimates == sorted(estimates)
    assert 10 < estimates[0] < 30 < estimates[2] == 100.0
    assert record([1.0] * 32, step=0.5).times_too_high == estimates[1]
    assert UpdateRecord().times_too_high == 1.0
