"""Rollback: parameters and optimizer state come back together, in whatever containers the script has by then."""

import math

import numpy as np

from rnncallbacks.detectors.update.rollback import Rollback


def train(steps, *, loss=1.0, every=5):
    params, velocity = [np.zeros(2)], {"w": np.zeros(2)}
    rollback = Rollback(every)
    rollback.begin(0, params, velocity)
    for step in range(1, steps + 1):
        params[0][...] = step
        velocity["w"][...] = -step
        rollback.follow(step, loss, params, velocity)
    return rollback, params, velocity


def test_the_last_healthy_snapshot_comes_back_with_its_optimizer_state():
    rollback, params, velocity = train(13)
    assert rollback.restore(13, params, velocity) == 5
    assert (params[0].tolist(), velocity["w"].tolist()) == ([5.0, 5.0], [-5.0, -5.0])


def test_new_arrays_of_the_script_are_filled_in_place():
    rollback, _, velocity = train(13)
    others = [np.full(2, 7.0)]
    assert rollback.restore(13, others, velocity) == 5
    assert others[0].tolist() == [5.0, 5.0]


def test_parameters_that_never_changed_are_not_restored():
    params = {"w": np.ones(2)}
    rollback = Rollback(every=5)
    rollback.begin(0, params, None)
    rollback.follow(1, 1.0, params, None)
    assert rollback.restore(2, params, None) is None
    assert rollback.restore(1, params, None) == 0  # the first update has not been made yet


def test_a_second_start_from_one_snapshot_is_made_unless_the_run_has_learned():
    rollback, params, velocity = train(13)
    assert rollback.restore(13, params, velocity) == 5
    params[0][...] = 14.0
    rollback.follow(14, 0.8, params, velocity)
    assert rollback.restore(14, params, velocity) is None
    assert params[0].tolist() == [14.0, 14.0]
    for step, loss in ((15, 0.9), (16, 9.0)):  # dead units; a rise
        for _ in range(10):
            rollback.follow(step, loss, params, velocity)
        assert rollback.restore(step, params, velocity) == 5
    rollback.follow(17, 0.8, params, velocity)
    params[0][0] = math.nan
    assert rollback.restore(17, params, velocity) == 5


def test_a_start_that_is_not_finite_cannot_be_restored():
    params = {"w": np.array([math.nan])}
    rollback = Rollback(every=5)
    assert rollback.restore(1, params, None) is None
    rollback.begin(0, params, None)
    assert rollback.restore(1, params, None) is None


def test_divergence_is_that_of_the_losses():
    assert not train(13)[0].has_diverged
    rollback, params, velocity = train(13)
    for step in range(14, 26):
        rollback.follow(step, 9.0, params, velocity)
    assert rollback.has_diverged
