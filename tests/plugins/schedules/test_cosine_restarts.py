"""Cosine decay with restarts against PyTorch, and against cycles of cosine decay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.plugins import CosineDecay, CosineRestarts


@pytest.mark.parametrize(("steps", "multiplier", "min_scale"), [(1, 1, 0.0), (4, 1, 0.1), (3, 2, 0.0), (2, 3, 0.01)])
def test_it_is_cosine_annealing_warm_restarts(torch_scales, steps, multiplier, min_scale):
    schedule = CosineRestarts(steps=steps, multiplier=multiplier, min_scale=min_scale)
    expected = torch_scales("CosineAnnealingWarmRestarts", 40, T_0=steps, T_mult=multiplier, eta_min=min_scale)
    assert [schedule.scale(t) for t in range(40)] == pytest.approx(expected, abs=1e-12)


@given(steps=st.integers(1, 50), multiplier=st.integers(1, 4), min_scale=st.floats(0.0, 1.0))
def test_each_cycle_is_a_cosine_decay_of_its_length(steps, multiplier, min_scale):
    schedule, start, length = CosineRestarts(steps=steps, multiplier=multiplier, min_scale=min_scale), 0, steps
    for _ in range(3):
        cycle = CosineDecay(steps=length, min_scale=min_scale)
        assert [schedule.scale(start + t) for t in range(length)] == [cycle.scale(t) for t in range(length)]
        start, length = start + length, length * multiplier


def test_a_step_far_away_is_computed_at_once():
    assert CosineRestarts(steps=10).scale(10**15) == 1.0
    assert 0.0 <= CosineRestarts(steps=10, multiplier=2).scale(10**15) <= 1.0
