"""The record of updates: what is measured, when, and what a restart keeps."""

import math

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.core.plugin_state import reset_state
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord, positions_in
from rnncallbacks.rnn.data.batches import SequenceBatch

CLOSE = MEASUREMENTS.close_updates


def test_whether_the_first_update_follows_the_gradient():
    gradient = np.array([[3.0, 0.1]])
    for step, cosine in ((gradient, 1.0), (np.sign(gradient), 0.73), (-gradient, -1.0)):
        kept = UpdateRecord()
        kept.add_loss(1.0, 1.0)
        kept.add_update({"w": np.ones((1, 2))}, {"w": np.ones((1, 2)) - 0.1 * step}, {"w": gradient}, 1.0)
        assert kept.gradient_cosine == pytest.approx(cosine, abs=0.01)
        kept.add_loss(1.0, 1.0)
        kept.add_update({"w": np.ones((1, 2))}, {"w": np.array([[1.1, 0.7]])}, {"w": gradient}, 1.0)
        assert kept.gradient_cosine == pytest.approx(cosine, abs=0.01)
    kept.restart()
    assert math.isnan(kept.gradient_cosine)


def test_which_updates_are_measured():
    kept, due = UpdateRecord(), []
    for number in range(200):
        if kept.measures_next:
            due.append(number)
        kept.add_loss(1.0, 1.0)
    assert due[: MEASUREMENTS.initial_updates] == list(range(MEASUREMENTS.initial_updates))
    assert set(MEASUREMENTS.dead_unit_updates) < set(due)
    assert CLOSE // 2 < sum(number < CLOSE for number in due) < 0.75 * CLOSE
    assert [number for number in due if number >= CLOSE] == [40, 80, 120, 160]


def test_a_restart_keeps_the_reference_loss_and_a_reset_does_not():
    kept = UpdateRecord()
    for _ in range(20):
        kept.add_loss(2.0, 1.0)
        kept.add_update({"w": np.ones(3)}, {"w": 1.3 * np.ones(3)}, {}, 1.0)
    kept.restart()
    assert (kept.batches, kept.weight_growth, kept.reference_loss) == (0, 1.0, 2.0)
    kept.add_loss(0.5, 1.0)
    assert kept.reference_loss == 2.0
    reset_state(kept)
    kept.add_loss(0.5, 1.0)
    assert kept.reference_loss == 0.5


def test_measures_of_an_update_by_hand():
    kept = UpdateRecord()
    kept.add_loss(4.0, 1.0)
    weights, gradient = np.diag([3.0, 4.0]), np.array([[0.0, 2.0], [0.0, 0.0]])
    ratio = kept.add_update({"w": weights.copy()}, {"w": weights - 0.25 * gradient}, {"w": gradient}, 0.5)
    assert ratio == kept.update_ratios[0] == pytest.approx(0.5 / 5.0)
    assert kept.unscheduled_ratios == [pytest.approx(0.1 / 0.5)]
    assert kept.predicted_decreases == [pytest.approx(0.5 * 2.0 / 4.0 / 0.5)]
    assert kept.relative_gradients == [pytest.approx(2.0 * 5.0 / 4.0)]
    assert kept.weight_growth == pytest.approx(math.sqrt(25.25) / 5.0)


def test_dead_units_are_counted_when_they_are_due_and_once():
    kept, dead = UpdateRecord(), {"Whh": np.zeros((8, 8))}
    for number in range(50):
        kept.add_dead_units(dead)
        kept.add_dead_units(dead)
        kept.add_loss(1.0, 1.0)
        assert len(kept.dead_unit_shares) == sum(one <= number for one in MEASUREMENTS.dead_unit_updates)


def test_the_constant_baseline_is_that_of_the_first_batches():
    kept = UpdateRecord()
    for targets in ([0, 0, 0, 0], None, [0, 1, 0, 1], [0, 1, 2, 3]):
        if kept.wants_targets:
            kept.add_targets(None if targets is None else np.array(targets))
        kept.add_loss(0.1, 1.0)
    assert kept.reference_loss == kept.constant_loss == pytest.approx(math.log(2), abs=0.2)


def test_the_constant_baseline_of_single_labels_is_that_of_thirty_together():
    kept, seen = UpdateRecord(), 0
    while kept.wants_targets:
        kept.add_targets(np.array([seen % 4]))
        kept.add_loss(0.1, 1.0)
        seen += 1
    assert (seen, kept.constant_loss) == (30, pytest.approx(math.log(4), abs=0.1))


@pytest.mark.parametrize(
    ("data", "given", "positions"),
    [
        (SequenceBatch(np.zeros((5, 3), dtype=int), np.zeros((5, 3), dtype=int)), {}, 15.0),
        ((np.zeros((5, 3)), np.zeros((5, 3))), {}, 15.0),
        ({"targets": np.zeros(7)}, {}, 7.0),
        (None, {"tokens": 12}, 12.0),
        ((), {}, 1.0),
        (4, {}, 1.0),
    ],
)
def test_positions_of_a_batch(data, given, positions):
    assert positions_in(Batch(data=data, phase="train", index=1, **given)) == positions
