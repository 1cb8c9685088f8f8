"""Polynomial decay against PyTorch, and what holds for all options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.plugins import PolynomialDecay


@pytest.mark.parametrize(("steps", "power"), [(1, 1.0), (10, 0.9), (39, 2.0)])
def test_it_is_polynomial_lr(torch_scales, steps, power):
    schedule = PolynomialDecay(steps=steps, power=power)
    expected = torch_scales("PolynomialLR", steps + 5, total_iters=steps, power=power)
    assert [schedule.scale(t) for t in range(steps + 5)] == pytest.approx(expected, abs=1e-12)


@given(t=st.integers(0, 30_000), steps=st.integers(1, 10_000), power=st.floats(0.1, 5.0), end=st.floats(0.0, 1.0))
def test_it_falls_and_holds(t, steps, power, end):
    schedule = PolynomialDecay(steps=steps, power=power, min_scale=end)
    assert schedule.scale(0) == pytest.approx(1.0)
    assert end <= schedule.scale(t + 1) <= schedule.scale(t) <= 1.0 + 1e-12
    assert schedule.scale(steps + t) == end
