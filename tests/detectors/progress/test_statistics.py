"""Trends against closed forms: straight lines, known ranks, ties, and noise of a known size."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.progress.statistics import (
    mann_kendall_z,
    noise_deviation,
    probability_of_superiority,
    rise_in_standard_errors,
    theil_sen_slope,
    von_neumann_ratio,
)

SERIES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40)


@given(st.floats(-100, 100), st.floats(-1e3, 1e3), st.integers(2, 60))
def test_the_slope_of_a_line_is_its_slope(slope, start, count):
    assert theil_sen_slope(start + slope * np.arange(count)) == pytest.approx(slope, abs=1e-9)


@given(SERIES)
def test_the_slope_is_the_median_of_all_slopes(values):
    slopes = [(values[j] - values[i]) / (j - i) for i, j in combinations(range(len(values)), 2)]
    assert theil_sen_slope(values) == pytest.approx(np.median(slopes), rel=1e-9, abs=1e-9)


def test_a_quarter_of_outliers_does_not_move_the_slope():
    line = 5.0 - 0.1 * np.arange(40)
    line[::5] = 1e6
    assert theil_sen_slope(line) == pytest.approx(-0.1, abs=0.02)


@pytest.mark.parametrize("values", [[], [3.0]])
def test_too_few_values_have_no_trend(values):
    assert (theil_sen_slope(values), mann_kendall_z(values), noise_deviation(values)) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "score", "variance"),
    [
        ([1.0, 2.0, 3.0, 4.0], 6, 26 / 3),
        ([1.0, 2.0, 2.0, 3.0], 5, (4 * 3 * 13 - 2 * 1 * 9) / 18),  # one pair of ties
        ([3.0, 1.0, 2.0], -1, 11 / 3),
    ],
)
def test_mann_kendall_is_kendalls_score_over_its_standard_deviation(values, score, variance):
    expected = (score - math.copysign(1, score)) / math.sqrt(variance)
    assert mann_kendall_z(values) == pytest.approx(expected)
    assert mann_kendall_z(values[::-1]) == pytest.approx(-expected)


def test_mann_kendall_of_noise_is_standard_normal():
    rng = np.random.default_rng(0)
    scores = [mann_kendall_z(rng.normal(size=30)) for _ in range(600)]
    assert np.mean(scores) == pytest.approx(0.0, abs=0.15)
    assert np.std(scores) == pytest.approx(1.0, abs=0.1)


@given(SERIES, st.floats(0.5, 3.0), st.floats(-10, 10))
def test_mann_kendall_sees_ranks_only(values, factor, shift):
    ranks = np.unique(values, return_inverse=True)[1]
    assert mann_kendall_z(ranks * factor + shift) == mann_kendall_z(ranks.astype(float))


def test_constant_values_have_no_trend():
    assert mann_kendall_z([2.0] * 9) == 0.0


@pytest.mark.parametrize("trend", [0.0, -0.5, 3.0])
def test_noise_is_the_standard_deviation_around_the_trend(trend):
    rng = np.random.default_rng(1)
    values = trend * np.arange(2000) + rng.normal(scale=0.2, size=2000)
    assert noise_deviation(values) == pytest.approx(0.2, rel=0.1)


def test_a_few_jumps_are_no_noise():
    values = np.where(np.arange(100) < 50, 1.0, 9.0) + np.tile([0.0, 0.1], 50)
    assert noise_deviation(values) < 0.2


@given(SERIES, SERIES)
def test_the_share_above_counts_pairs(later, earlier):
    pairs = [np.sign(a - b) / 2 + 0.5 for a in later for b in earlier]
    assert probability_of_superiority(later, earlier) == pytest.approx(np.mean(pairs))


def test_a_rise_in_standard_errors():
    rng = np.random.default_rng(2)
    flat = 1.0 + 0.05 * rng.normal(size=40)
    rise, errors = rise_in_standard_errors(flat, int(np.argmin(flat)), recent=5)
    assert abs(errors) < 4.0
    risen = np.concatenate([flat, 1.5 + 0.05 * rng.normal(size=5)])
    rise, errors = rise_in_standard_errors(risen, int(np.argmin(flat)), recent=5)
    assert rise == pytest.approx(0.5, abs=0.1)
    assert errors == pytest.approx(0.5 / (0.05 * math.sqrt(math.pi / 2 * (1 / 5 + 1 / 3))), rel=0.5)


def test_a_rise_of_exact_values_is_sure():
    assert rise_in_standard_errors([2.0, 1.0, 1.0, 1.0, 1.0, 1.0], best=2, recent=2) == (0.0, 0.0)
    assert rise_in_standard_errors([3.0, 2.0, 1.0, 2.0, 3.0, 4.0], best=2, recent=2) == (1.5, math.inf)


def test_successive_differences_of_noise_of_a_trend_and_of_a_constant():
    assert von_neumann_ratio(np.random.default_rng(0).normal(size=4000)) == pytest.approx(2.0, abs=0.1)
    assert von_neumann_ratio(np.arange(100.0)) == pytest.approx(12 / (100**2 - 1), rel=1e-9)
    assert von_neumann_ratio([1.0, 1.0 + 1e-9, 1.0, 1.0]) == von_neumann_ratio([3.0]) == 2.0
