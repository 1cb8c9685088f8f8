"""Exponential decay against PyTorch, a running product, and what holds for all options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.plugins import ExponentialDecay


def test_it_is_exponential_lr(torch_scales):
    schedule = ExponentialDecay(factor=0.93)
    expected = torch_scales("ExponentialLR", 40, gamma=0.93)
    assert [schedule.scale(t) for t in range(40)] == pytest.approx(expected)


def test_it_is_a_running_product():
    schedule, product = ExponentialDecay(factor=0.8), 1.0
    for t in range(60):
        assert schedule.scale(t) == pytest.approx(product)
        product *= 0.8


def test_a_decay_of_any_length_ends_at_zero_without_an_error():
    assert ExponentialDecay(factor=0.5).scale(10**9) == 0.0


@given(t=st.integers(0, 30_000), factor=st.floats(1e-6, 1.0))
def test_it_falls_by_the_factor(t, factor):
    schedule = ExponentialDecay(factor=factor)
    assert 0.0 <= schedule.scale(t) <= 1.0
    assert schedule.scale(t + 1) == pytest.approx(schedule.scale(t) * factor)
