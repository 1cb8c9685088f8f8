"""The ratio of the actual to the predicted decrease is estimated array by array, and not blamed on weight decay."""

import math

import numpy as np
import pytest

from rnncallbacks.detectors.gradient.decrease_regression import compare_decreases, exceeds_chance


@pytest.mark.parametrize(("ratios", "same_ratio", "array"), [((0.05, 0.05), True, None), ((1.0, -0.5), False, "late")])
def test_arrays_whose_sums_rise_at_different_times_are_told_apart(ratios, same_ratio, array):
    generator = np.random.default_rng(0)
    predicted = 0.02 * np.stack([np.linspace(2.0, 0.0, 120), np.linspace(0.0, 2.0, 120)], axis=1)
    losses = 10.0 - np.cumsum(predicted, axis=0) @ ratios + 0.05 * generator.standard_normal(120)
    found = compare_decreases(["early", "late"], 10.0, losses, predicted, 0.0 * predicted)
    assert found.outcome == "below"
    assert found.ratio == pytest.approx(sum(ratios) / 2, abs=0.05)
    assert found.same_ratio == same_ratio
    if array is not None:
        assert found.array == array
        assert found.array_ratio == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize("factor", [1e-4, 1e-3, 1e-2])
def test_weight_decay_that_the_loss_leaves_out_is_not_taken_for_a_fault(factor):
    generator = np.random.default_rng(0)
    predicted, decay = np.full((120, 1), 0.03), np.linspace(0.04, 0.0, 120)[:, None] / factor
    losses = 4.0 - np.cumsum(predicted - factor * decay) + 0.02 * generator.standard_normal(120)
    assert compare_decreases(["w"], 4.0, losses, predicted, 0.0 * decay).outcome == "below"
    assert compare_decreases(["w"], 4.0, losses, predicted, decay).outcome != "below"


@pytest.mark.parametrize("ratio", [0.9, 1.0, 1.5])
def test_a_decrease_as_large_as_predicted_is_reached(ratio):
    generator = np.random.default_rng(0)
    predicted = np.full((120, 2), 0.01)
    losses = 5.0 - ratio * np.cumsum(predicted.sum(axis=1)) + 0.01 * generator.standard_normal(120)
    found = compare_decreases(["w", "b"], 5.0, losses, predicted, 0.0 * predicted)
    assert found.outcome == "reached"
    assert found.ratio == pytest.approx(ratio, abs=0.05)
    assert found.predicted == pytest.approx(2.4 / 5.0)


def test_too_small_a_predicted_decrease_is_not_compared():
    predicted = np.full((40, 1), 1e-3)
    found = compare_decreases(["w"], 1.0, np.ones(40), predicted, 0.0 * predicted)
    assert found.outcome == "inconclusive"
    assert math.isnan(found.ratio)
    assert found.array == ""


def test_sums_of_both_signs_are_due_to_chance():
    assert list(exceeds_chance(np.array([[1.0, 1.0, 0.0]] * 8 + [[1.0, -1.0, 0.0]] * 8), 4.0)) == [True, False, False]
