"""The inverse square root against the formula of the paper, and what holds for all options."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.plugins import InverseSqrt


def test_it_is_the_formula_of_the_paper_divided_by_its_peak():
    step, model_size, length = np.arange(1, 20_001), 512, 4000
    rate = model_size**-0.5 * np.minimum(step**-0.5, step * length**-1.5)
    schedule = InverseSqrt(warmup_steps=length)
    scales = [schedule.scale(t) for t in range(20_000)]
    np.testing.assert_allclose(scales, rate / rate.max(), rtol=1e-12)
    assert scales[length - 1] == 1.0


@given(t=st.integers(0, 30_000), length=st.integers(1, 10_000))
def test_it_rises_to_one_and_falls_with_the_root(t, length):
    schedule = InverseSqrt(warmup_steps=length)
    scale, following = schedule.scale(t), schedule.scale(t + 1)
    assert 0.0 < scale <= 1.0
    assert (following > scale) == (t + 1 < length)
    assert abs(following - scale) <= 1.0 / length + 1e-12
    if t + 1 >= length:
        assert schedule.scale(4 * t + 3) == pytest.approx(scale / 2)
