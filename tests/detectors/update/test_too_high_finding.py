"""The estimate of how many times too high a rate is: larger updates give larger ones, up to a bound."""

import numpy as np
import pytest

from rnncallbacks.detectors.update.too_high_finding import times_too_high
from rnncallbacks.detectors.update.update_record import UpdateRecord


def record(step, updates=12):
    """A record of updates of a 4 x 4 matrix, each of which turns it by ``step``."""
    kept, weights = UpdateRecord(), np.eye(4)
    turn = np.kron(np.eye(2), np.array([[0.0, step], [-step, 0.0]]))
    for _ in range(updates):
        kept.add_loss(1.0, 1.0)
        before, weights = {"w": weights}, weights + turn @ weights
        kept.add_update(before, {"w": weights}, {"w": np.ones((4, 4))}, 1.0)
    return kept


def test_the_first_dozen_updates_tell_how_far_a_rate_goes():
    estimates = [times_too_high(record(step)) for step in (0.1, 0.5, 9.0)]
    assert estimates == sorted(estimates)
    assert 10 < estimates[0] < 30 < estimates[2] == 100.0
    assert times_too_high(record(0.5, updates=32)) == estimates[1]
    assert times_too_high(UpdateRecord()) == 1.0


def test_the_estimate_is_the_documented_power_law():
    kept = UpdateRecord()
    kept.initial_ratios = [0.25, 0.75]
    assert times_too_high(kept) == pytest.approx(29.0 * 0.5**0.24)


@pytest.mark.parametrize(("cosine", "times"), [(1.0, 29.0 * 3.5**0.24), (0.4, 50.0), (float("nan"), 29.0 * 3.5**0.24)])
def test_updates_that_hold_signs_are_proportional_to_the_rate(cosine, times):
    kept = UpdateRecord()
    kept.initial_ratios, kept.gradient_cosine = [3.0, 4.0], cosine
    assert times_too_high(kept) == pytest.approx(times)
