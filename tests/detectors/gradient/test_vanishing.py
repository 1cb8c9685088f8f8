"""How much of a gradient reaches the first time step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.gradient.vanishing import (
    VANISHING,
    VanishingGradientDetector,
    first_to_largest_norm,
)


def decaying(steps, factor, shape=(3, 4)):
    return [np.full(shape, factor ** (steps - 1 - step)) for step in range(steps)]


@given(st.integers(10, 60), st.floats(0.1, 0.99))
def test_the_share_is_that_of_the_norms_in_a_list_or_an_array(steps, factor):
    gradients = decaying(steps, factor)
    assert first_to_largest_norm(gradients) == pytest.approx(factor ** (steps - 1))
    assert first_to_largest_norm(np.stack(gradients)) == pytest.approx(factor ** (steps - 1))


def test_a_last_step_that_is_padding_does_not_hide_the_largest():
    gradients = [*decaying(12, 0.3), np.zeros((3, 4))]
    assert first_to_largest_norm(gradients) < VANISHING.norm_ratio


def test_a_gradient_that_was_cut_off_has_not_vanished():
    cut = decaying(20, 0.9)
    for step in range(15):
        cut[step][...] = 0.0
    assert first_to_largest_norm(cut) is None


def test_one_that_vanished_down_to_zero_has():
    gradients = [step.astype(np.float32) for step in decaying(30, 1e-3)]
    assert not gradients[0].any()
    assert first_to_largest_norm(gradients) == 0.0


@pytest.mark.parametrize(
    "shown",
    [
        None,
        3.0,
        decaying(9, 0.1),
        [np.zeros((3, 4))] * 12,
        [np.full((3, 4), np.nan)] * 12,
        [np.zeros((3, 4), dtype=int)] * 12,
    ],
)
def test_nothing_is_said_without_ten_steps_of_finite_numbers(shown):
    assert first_to_largest_norm(shown) is None


@pytest.mark.parametrize(("own_losses", "passed"), [(False, True), (True, False), (None, False)])
def test_a_loss_at_each_step_hides_what_vanishes_on_the_way(own_losses, passed):
    detector = VanishingGradientDetector()
    for batch in (5, 10, 15):
        result = detector.check(batch, decaying(20, 0.9), own_losses)
    assert (list(result.checked), list(result.cannot_tell)) == ((["RNN402"], []) if passed else ([], ["RNN402"]))
