"""Updates are measured relative to the parameters and the gradient they were made from."""

import math

import numpy as np
import pytest

from rnncallbacks.detectors.gradient.update_tracker import UpdateTracker

RATES = {"learning_rate": 0.1, "max_norm": 5.0}


def step(tracker, gradient, *, size=0.1, rates=RATES):
    params = {"w": np.array([3.0, 4.0])}
    tracker.keep(params, {"w": gradient})
    params["w"] -= size * gradient
    return tracker.measure(params, **rates)


def test_sizes_are_relative():
    update = step(UpdateTracker(), np.array([6.0, 8.0]))
    assert update.gradient_norm == 10.0
    assert update.relative_size == pytest.approx(0.2)
    assert update.clipped_size == pytest.approx(0.1)
    assert update.cosine == pytest.approx(1.0)
    assert update.is_first
    assert not update.scaled_down


def test_an_update_that_is_shorter_for_its_gradient_than_the_first_was_scaled_down():
    tracker = UpdateTracker()
    step(tracker, np.array([0.6, 0.8]))
    assert not step(tracker, np.array([6.0, 8.0])).scaled_down
    assert step(tracker, np.array([6.0, 8.0]), size=0.05).scaled_down


@pytest.mark.parametrize(("learning_rate", "scaled_down"), [(0.1, True), (None, False)])
def test_with_a_known_learning_rate_the_first_update_may_be_scaled_down_itself(learning_rate, scaled_down):
    rates = RATES | {"learning_rate": learning_rate}
    assert step(UpdateTracker(), np.array([6.0, 8.0]), size=0.05, rates=rates).scaled_down == scaled_down


def test_the_first_cosine_stays():
    tracker = UpdateTracker()
    assert math.isnan(tracker.first_cosine)
    assert tracker.awaits_first(5)
    assert not tracker.awaits_first(6)
    step(tracker, np.array([6.0, 8.0]), size=-0.1)
    assert tracker.first_cosine == pytest.approx(-1.0)
    step(tracker, np.array([6.0, 8.0]))
    assert tracker.first_cosine == pytest.approx(-1.0)
    assert not tracker.awaits_first(2)


def test_parameters_that_rest_are_no_update():
    tracker = UpdateTracker()
    assert step(tracker, np.array([6.0, 8.0]), size=0.0) is None
    assert not tracker.params_moved
    assert tracker.awaits_first(1)
    step(tracker, np.array([6.0, 8.0]))
    assert tracker.params_moved
    assert tracker.measure({"w": np.zeros(2)}, **RATES) is None  # nothing was kept


def test_parameters_of_zero_have_no_scale():
    tracker, params = UpdateTracker(), {"w": np.zeros(2)}
    tracker.keep(params, {"w": np.ones(2)})
    update = tracker.measure({"w": -0.1 * np.ones(2)}, **RATES)
    assert (update.relative_size, update.clipped_size) == (math.inf, math.inf)
