"""Step decay against PyTorch, a running product, and what holds for all options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.plugins import StepDecay


@pytest.mark.parametrize(("every", "factor"), [(1, 0.9), (3, 0.5), (7, 0.1)])
def test_it_is_step_lr(torch_scales, every, factor):
    schedule = StepDecay(every=every, factor=factor)
    expected = torch_scales("StepLR", 40, step_size=every, gamma=factor)
    assert [schedule.scale(t) for t in range(40)] == pytest.approx(expected)


def test_it_is_a_running_product():
    schedule, product = StepDecay(every=7, factor=0.8), 1.0
    for n in range(60):
        assert schedule.scale(7 * n + 6) == pytest.approx(product)
        product *= 0.8


def test_a_decay_of_any_length_ends_at_zero_without_an_error():
    assert StepDecay(every=1, factor=0.5).scale(10**9) == 0.0


@given(t=st.integers(0, 30_000), every=st.integers(1, 10_000), factor=st.floats(1e-6, 1.0))
def test_it_is_level_between_decays_and_falls_by_the_factor(t, every, factor):
    schedule = StepDecay(every=every, factor=factor)
    scale = schedule.scale(t)
    assert 0.0 <= scale <= 1.0
    assert scale == schedule.scale(t - t % every)
    assert schedule.scale(t + every) == pytest.approx(scale * factor)
