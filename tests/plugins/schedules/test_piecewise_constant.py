"""Constant learning rates between steps, against PyTorch's milestones, and the options that are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import PiecewiseConstant


def test_it_is_multi_step_lr(torch_scales):
    schedule = PiecewiseConstant(boundaries=[3, 7, 8], scales=[1.0, 0.5, 0.25, 0.125])
    expected = torch_scales("MultiStepLR", 12, milestones=[3, 7, 8], gamma=0.5)
    assert [schedule.scale(t) for t in range(12)] == pytest.approx(expected)


@given(st.sets(st.integers(1, 50), max_size=6).map(sorted), st.integers(0, 60))
def test_the_part_is_that_of_the_boundaries_passed(boundaries, t):
    schedule = PiecewiseConstant(boundaries=boundaries, scales=list(range(len(boundaries) + 1)))
    assert schedule.scale(t) == sum(boundary <= t for boundary in boundaries)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"boundaries": 3, "scales": [1.0]}, "boundaries: expected a list, got 3"),
        ({"boundaries": ["3"], "scales": [1.0, 0.1]}, "boundaries: expected an integer >= 1, got '3'"),
        ({"boundaries": [0], "scales": [1.0, 0.1]}, "boundaries: expected an integer >= 1, got 0"),
        ({"boundaries": [4, 2], "scales": [1.0, 0.1, 0.01]}, r"boundaries: expected increasing numbers, got \[4, 2\]"),
        ({"boundaries": [2, 2], "scales": [1.0, 0.1, 0.01]}, "boundaries: expected increasing numbers"),
        ({"boundaries": [2], "scales": [1.0]}, "scales: expected 2, got 1"),
        ({"boundaries": [2], "scales": [1.0, -0.1]}, "scales: expected a number >= 0, got -0.1"),
    ],
)
def test_options_out_of_range(wrong, message):
    with pytest.raises(OptionError, match=message):
        PiecewiseConstant(**wrong)
