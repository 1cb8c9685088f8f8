"""Cosine decay against PyTorch, a closed form written another way, and what holds for all options."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.plugins import CosineDecay


@pytest.mark.parametrize(("length", "min_scale"), [(1, 0.0), (10, 0.1), (39, 0.0)])
def test_it_is_cosine_annealing_lr(torch_scales, length, min_scale):
    schedule = CosineDecay(steps=length, min_scale=min_scale)
    expected = torch_scales("CosineAnnealingLR", length + 1, T_max=length, eta_min=min_scale)
    assert [schedule.scale(t) for t in range(length + 1)] == pytest.approx(expected, abs=1e-12)


def test_it_is_a_squared_cosine():
    schedule = CosineDecay(steps=30, min_scale=0.1)
    expected = 0.1 + 0.9 * np.cos(np.linspace(0.0, np.pi / 2, 31)) ** 2
    np.testing.assert_allclose([schedule.scale(t) for t in range(31)], expected, rtol=1e-12)


@given(t=st.integers(0, 30_000), length=st.integers(1, 10_000), min_scale=st.floats(0.0, 1.0))
def test_it_falls_without_a_jump_and_holds(t, length, min_scale):
    schedule = CosineDecay(steps=length, min_scale=min_scale)
    scale, following = schedule.scale(t), schedule.scale(t + 1)
    assert min_scale <= scale <= 1.0
    assert following <= scale <= following + math.pi / 2 / length
    assert schedule.scale(0) == pytest.approx(1.0)
    assert schedule.scale(length + t) == pytest.approx(min_scale)
