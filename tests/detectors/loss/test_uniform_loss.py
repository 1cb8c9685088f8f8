"""Uniform losses, against losses that are computed, for any number of classes and any layout."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.summation_counts import summation_counts
from rnncallbacks.detectors.loss.uniform_loss import (
    match_first_loss,
    match_loss_at_zero,
    match_low_losses,
    match_whole_multiple,
)

sizes = st.integers(2, 300)
lengths = st.integers(2, 60)


def a_batch(size, seq_len, batch_size, seed, one_hot=False):
    targets = np.random.default_rng(seed).integers(size, size=(seq_len, batch_size))
    shown = np.eye(size)[targets] if one_hot else targets
    return targets, Batch((targets, shown), "train", 1, batch_size=batch_size)


def losses_at_zero(size, targets):
    """Likelihoods and squared errors of a softmax over zeros, position by position."""
    probabilities = np.full((*targets.shape, size), 1.0 / size)
    one_hot = np.eye(size)[targets]
    return -np.log((probabilities * one_hot).sum(axis=-1)), (probabilities - one_hot) ** 2


@given(sizes, lengths, lengths, st.integers(0, 100))
def test_means_and_sums_are_told_apart(size, seq_len, batch_size, seed):
    assume(seq_len != batch_size)
    targets, batch = a_batch(size, seq_len, batch_size, seed)
    nll, _ = losses_at_zero(size, targets)
    counts = summation_counts(batch)
    assert match_loss_at_zero(nll.mean(), (size,), counts).kind == "mean"
    # log2 of a power of 2 is a whole number, and so are sums of squared errors.
    whole = size & (size - 1) == 0
    in_bits = match_loss_at_zero(nll.mean() / math.log(2), (size,), counts).kind
    assert in_bits == "mean" or (whole and in_bits == "undecided")
    for loss in (nll.sum(axis=0).mean(), nll.sum(axis=1).mean(), nll.sum()):
        found = match_loss_at_zero(loss, (size,), counts)
        assert found.kind == "sum"
        assert found.factor == pytest.approx(loss / math.log(size), rel=1e-3) or found.formula != f"ln {size}"


@given(st.integers(3, 300), lengths, lengths, st.integers(0, 100))
def test_squared_errors_of_every_kind_are_found(size, seq_len, batch_size, seed):
    targets, batch = a_batch(size, seq_len, batch_size, seed)
    _, errors = losses_at_zero(size, targets)
    for loss in (errors.mean(), errors.sum(axis=-1).mean(), 0.5 * errors.sum(axis=-1).mean()):
        assert match_loss_at_zero(loss, (size,), summation_counts(batch)).kind == "other function"


def test_a_mean_that_counts_padding_too_is_no_other_function():
    # Three positions of ten are padding with a loss of zero, and nobody says so.
    _, batch = a_batch(36, 20, 16, 0)
    assert match_loss_at_zero(0.7 * math.log(36), (36,), summation_counts(batch)) is None


@pytest.mark.parametrize(
    ("ratio", "kind", "count"),
    [
        (1.0, "mean", ""),
        (0.94, "mean", ""),
        (18.8, "sum", "the number of time steps"),
        (20.5, "sum", "the number of time steps"),
        (4.9, "sum", "the batch size"),
    ],
)
def test_the_first_loss_of_an_untrained_network(ratio, kind, count):
    _, batch = a_batch(30, 20, 5, 0)
    found = match_first_loss(ratio * math.log(30), (30,), summation_counts(batch))
    assert (found.kind, found.count) == (kind, count)


@pytest.mark.parametrize("ratio", [0.3, 1.8, 45.0])
def test_a_first_loss_that_nothing_explains(ratio):
    _, batch = a_batch(30, 20, 5, 0)
    assert match_first_loss(ratio * math.log(30), (30,), summation_counts(batch)) is None


def test_a_first_loss_that_is_a_squared_error_stays_there_for_some_batches():
    value = 29 / 900
    assert match_low_losses([value, 1.001 * value, 0.999 * value], (30,)).kind == "other function"
    assert match_low_losses([value, 1.6 * value, 0.8 * value], (30,)) is None


def test_a_whole_multiple_of_the_uniform_loss_is_a_sum_over_an_unknown_count():
    found = match_whole_multiple(112 * math.log(4), (4,))
    assert (found.kind, found.factor, found.count) == ("sum", 112.0, "")
    for factor in (1.0, 112.001, 0.5):
        assert match_whole_multiple(factor * math.log(4), (4,)) is None
