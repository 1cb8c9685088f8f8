"""The likelihood under observed logits, against the formula, in any order of axes."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnncallbacks.detectors.loss.likelihood import nll_under_logits


@given(st.integers(3, 30), st.integers(0, 1000))
def test_the_likelihood_under_observed_logits(size, seed):
    generator = np.random.default_rng(seed)
    logits, targets = generator.normal(size=(7, 2, size)), generator.integers(size, size=(7, 2))
    assume(size not in (2, 7))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    expected = np.log(np.exp(shifted).sum(axis=-1)) - np.take_along_axis(shifted, targets[..., None], -1)[..., 0]
    assert nll_under_logits(logits, targets) == pytest.approx(expected.mean(), rel=1e-9)
    assert nll_under_logits(np.moveaxis(logits, -1, 1), targets) == pytest.approx(expected.mean(), rel=1e-9)


def test_probabilities_and_ignored_targets():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]])
    assert nll_under_logits(probabilities, np.array([0, 2, -1])) == pytest.approx(-np.log([0.5, 0.8]).mean())


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (np.zeros((4, 3)), np.zeros(4)),
        (np.zeros((4, 3), dtype=int), np.zeros(4, dtype=int)),
        (np.zeros((4, 3)), np.zeros(7, dtype=int)),
        (np.zeros((4, 3)), np.full(4, 3)),
        (np.zeros((4, 3)), np.full(4, -1)),
        (np.zeros((0, 3)), np.zeros(0, dtype=int)),
    ],
    ids=["numbers", "whole logits", "other length", "class beyond the logits", "all ignored", "empty"],
)
def test_no_likelihood_without_classes_and_scores_that_belong_together(logits, targets):
    assert nll_under_logits(logits, targets) is None
