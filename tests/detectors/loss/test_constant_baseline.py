"""The loss of constant predictions: entropies in closed form, and the mean square of numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.loss.constant_baseline import constant_baseline_loss, entropy


@given(st.integers(1, 50), st.integers(1000, 10_000))
def test_evenly_spread_counts_have_the_entropy_of_their_number(outcomes, each):
    assert entropy([each] * outcomes) == pytest.approx(math.log(outcomes), abs=1e-3)


def test_few_counts_are_corrected_for():
    """The mean over samples is nearer to the truth than that of the plain formula, which is too low by (m - 1) / 2n."""
    rng = np.random.default_rng(0)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    truth = -float((shares * np.log(shares)).sum())
    samples = rng.multinomial(50, shares, size=2000)
    corrected = np.mean([entropy(counts) for counts in samples])
    plain = np.mean([-np.sum(p * np.log(p)) for p in (c[c > 0] / 50 for c in samples)])
    assert abs(corrected - truth) < 0.3 * abs(plain - truth)


@pytest.mark.parametrize("counts", [[], [0, 0], [7], [0, 7, 0]])
def test_nothing_to_choose_from_has_no_entropy(counts):
    assert entropy(counts) == 0.0


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.bool_])
def test_the_baseline_of_classes_of_any_type_is_their_entropy(dtype):
    targets = np.array([[0, 1], [1, 0]] * 500, dtype=dtype)
    assert constant_baseline_loss(targets) == pytest.approx(math.log(2), abs=1e-3)


def test_the_baseline_of_other_numbers_is_their_mean_square():
    assert constant_baseline_loss(np.array([[0.5, -0.5], [1.5, 2.0]])) == pytest.approx(6.75 / 4)
    assert constant_baseline_loss(np.zeros((0, 3))) == 0.0
