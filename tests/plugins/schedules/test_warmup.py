"""Warm-up against PyTorch, an interpolation, and what holds for all options."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.plugins import Warmup


@pytest.mark.parametrize(("length", "start"), [(1, 0.5), (4, 0.1), (30, 0.25)])
def test_it_is_linear_lr_one_step_ahead(torch_scales, length, start):
    schedule = Warmup(steps=length, start=start)
    expected = torch_scales("LinearLR", 41, start_factor=start, total_iters=length)[1:]
    assert [schedule.scale(t) for t in range(40)] == pytest.approx(expected)


def test_it_is_an_interpolation():
    schedule = Warmup(steps=20, start=0.2)
    expected = np.interp(np.arange(1, 51), [0, 20], [0.2, 1.0])
    np.testing.assert_allclose([schedule.scale(t) for t in range(50)], expected, rtol=1e-12)


@given(t=st.integers(0, 30_000), length=st.integers(1, 10_000), start=st.floats(0.0, 1.0))
def test_it_rises_from_its_first_step_to_one(t, length, start):
    schedule = Warmup(steps=length, start=start)
    scale, following = schedule.scale(t), schedule.scale(t + 1)
    assert 0.0 < scale <= 1.0
    assert start <= scale <= following
    assert schedule.scale(length - 1 + t) == pytest.approx(1.0)
    assert following - scale <= (1.0 - start) / length + 1e-12
