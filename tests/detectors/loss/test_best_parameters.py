"""Copies of the parameters of the best batches."""

import numpy as np
import pytest

from rnncallbacks.core.closure import ClosureError
from rnncallbacks.detectors.loss.best_parameters import PARAMETER_HISTORY, BestParameters


def moved(steps, chosen):
    weights = {"w": np.array([3.0, 4.0])}
    best = BestParameters()
    for step in steps:
        weights["w"][0] = 3.0 + step
        best.add(step, weights)
        if step == chosen:
            best.choose(step)
    return best, weights


def test_the_copy_of_the_best_batch_is_kept_while_others_are_dropped():
    best, weights = moved(range(0, 300, 10), chosen=40)
    assert best.best.step == 40
    assert len(best.recent) == PARAMETER_HISTORY.copies
    assert best.distance(weights) == pytest.approx((290 - 40) / np.hypot(43.0, 4.0))
    best.return_to_first()
    assert best.best.step == 0


def test_a_loss_at_the_best_parameters_changes_nothing():
    best, weights = moved([0, 10, 20], chosen=10)
    before = weights["w"].copy()
    assert best.loss_at(weights, lambda: float(weights["w"][0])) == 13.0
    with pytest.raises(ClosureError):
        best.loss_at(weights, lambda: 1 / 0)
    np.testing.assert_array_equal(weights["w"], before)


def test_without_a_comparable_copy_nothing_is_known():
    weights = {"w": np.ones(2)}
    best = BestParameters()
    assert best.distance(weights) is None
    assert best.loss_at(weights, lambda: 1.0) is None
    best.add(0, weights)
    best.choose(0)
    assert best.distance(weights) is None  # nothing has moved
    assert best.distance({"w": np.ones(3)}) is None
    assert best.distance(None) is None


def test_no_copies_of_a_large_network_are_kept():
    best = BestParameters()
    best.add(0, {"w": np.zeros(PARAMETER_HISTORY.copied_bytes // 80 + 1)})
    assert best.recent == []
