"""One cycle against PyTorch, and what holds for all options."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.plugins import OneCycle


def test_it_is_one_cycle_lr(torch_scales):
    # Not where the rise is exactly one step long: PyTorch divides by zero there.
    grid = itertools.product([1, 3, 5, 11, 100], [0.0, 0.13, 0.3, 0.5, 0.95], [4.0, 25.0], [1.0, 1e4])
    for length, pct_start, div, final_div in grid:
        options = {"pct_start": pct_start, "div_factor": div, "final_div_factor": final_div}
        schedule = OneCycle(steps=length, **options)
        expected = torch_scales("OneCycleLR", length, max_lr=1.0, cycle_momentum=False, total_steps=length, **options)
        scales = [schedule.scale(t) for t in range(length)]
        assert scales == pytest.approx(expected, rel=1e-9, abs=1e-15), (length, options)


# lr / max_lr of torch.optim.lr_scheduler.OneCycleLR in PyTorch 2.13, so that the comparison needs no PyTorch.
DEFAULTS = {
    0: 0.040000000000000036,
    1: 0.042813780565907456,
    10: 0.29516394846410077,
    29: 1.0,
    30: 0.9994965352845243,
    64: 0.500002,
    98: 0.0005074647154757879,
    99: 4e-06,
}
SHORT = [
    0.09999999999999998,
    0.41094235253127365,
    0.9140576474687263,
    0.9505339495172583,
    0.611649206511179,
    0.18906684397156262,
    0.001,
]


def test_it_gives_the_stored_numbers_of_pytorch():
    schedule = OneCycle(steps=100)
    assert {t: schedule.scale(t) for t in DEFAULTS} == pytest.approx(DEFAULTS, rel=1e-12)
    short = OneCycle(steps=7, pct_start=0.5, div_factor=10.0, final_div_factor=100.0)
    assert [short.scale(t) for t in range(7)] == pytest.approx(SHORT, rel=1e-12)


@given(
    t=st.integers(0, 30_000),
    length=st.integers(1, 10_000),
    pct_start=st.floats(0.0, 0.99),
    div=st.floats(1.0, 1e6),
    final_div=st.floats(1.0, 1e6),
)
def test_it_rises_falls_and_holds(t, length, pct_start, div, final_div):
    scale = OneCycle(steps=length, pct_start=pct_start, div_factor=div, final_div_factor=final_div).scale
    lowest, peak = 1.0 / div / final_div, pct_start * length - 1.0
    assert lowest * (1 - 1e-9) <= scale(t) <= 1.0 + 1e-12
    if t + 1 <= peak:
        assert scale(t) <= scale(t + 1) + 1e-12
        assert scale(t + 1) - scale(t) <= math.pi / 2 / peak + 1e-12
    if t >= peak:
        assert scale(t + 1) <= scale(t) + 1e-12
    assert scale(length - 1 + t) == pytest.approx(lowest)


def test_with_a_rise_shorter_than_a_step_it_starts_at_the_top():
    schedule = OneCycle(steps=10, pct_start=0.1)
    assert schedule.scale(0) == 1.0
    assert schedule.scale(9) == pytest.approx(1 / 25e4)
