"""Losses of the first batches: transients of healthy runs are no rise, and a rise that stays is found."""

import numpy as np
import pytest

from rnncallbacks.detectors.update.loss_rise import is_falling, losses_above_reference

T = np.arange(120)
HEALTHY = {
    "falling": 2.0 * np.exp(-T / 40),
    "flat": np.full(120, 2.0),
    "a transient of the first updates": 2.0 * np.exp(-T / 40) + 9.0 * np.exp(-T / 2),
    "one outlier": np.where(T == 30, 80.0, 2.0 - T / 100),
}
SICK = {
    "an explosion": 2.0 * 1.3**T,
    "five times the first": np.where(T < 1, 2.0, 10.0),
    "a third above it": np.where(T < 1, 2.0, 2.7),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_loss_that_comes_down_again_has_not_risen(name):
    losses = HEALTHY[name].tolist()
    assert [n for n in range(1, len(losses)) if losses_above_reference(losses[:n], losses[0])] == []


@pytest.mark.parametrize("name", SICK)
def test_a_loss_that_stays_above_the_first_has_risen_within_a_hundred_batches(name):
    losses = SICK[name].tolist()
    assert any(losses_above_reference(losses[:n], losses[0]) for n in range(1, 100))


def test_falling_is_told_by_medians():
    assert is_falling([5.0, 5.0, 5.0, 900.0, 3.0, 3.0, 3.0, 3.0])
    assert not is_falling([5.0, 5.0, 5.0, 5.0, 4.5, 4.5, 4.5, 4.5])
