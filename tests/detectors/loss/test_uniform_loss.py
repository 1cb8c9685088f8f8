"""What a loss is, from its size: against losses that are computed, for any number of classes and any layout."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.summation_counts import summation_counts
from rnncallbacks.detectors.loss.uniform_loss import (
    classes_of,
    explain,
    explain_first,
    explain_low,
    least_classes,
    true_nll,
    weight_scale,
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
    assert explain(nll.mean(), (size,), counts).kind == "right"
    assert explain(nll.mean() / math.log(2), (size,), counts).kind == "right"
    for loss in (nll.sum(axis=0).mean(), nll.sum(axis=1).mean(), nll.sum()):
        found = explain(loss, (size,), counts)
        assert found.kind == "summed"
        assert found.factor == pytest.approx(loss / math.log(size), rel=1e-3) or found.form != f"ln {size}"


@given(st.integers(3, 300), lengths, lengths, st.integers(0, 100))
def test_squared_errors_of_every_kind_are_found(size, seq_len, batch_size, seed):
    targets, batch = a_batch(size, seq_len, batch_size, seed)
    _, errors = losses_at_zero(size, targets)
    for loss in (errors.mean(), errors.sum(axis=-1).mean(), 0.5 * errors.sum(axis=-1).mean()):
        assert explain(loss, (size,), summation_counts(batch)).kind == "other"


def test_a_mean_that_counts_padding_too_is_no_other_function():
    # Three positions of ten are padding with a loss of zero, and nobody says so.
    _, batch = a_batch(36, 20, 16, 0)
    assert explain(0.7 * math.log(36), (36,), summation_counts(batch)) is None


@pytest.mark.parametrize(
    ("ratio", "kind", "count"),
    [
        (1.0, "right", ""),
        (0.94, "right", ""),
        (18.8, "summed", "the number of time steps"),
        (20.5, "summed", "the number of time steps"),
        (4.9, "summed", "the batch size"),
    ],
)
def test_the_first_loss_of_an_untrained_network(ratio, kind, count):
    _, batch = a_batch(30, 20, 5, 0)
    found = explain_first(ratio * math.log(30), (30,), summation_counts(batch))
    assert (found.kind, found.count) == (kind, count)


@pytest.mark.parametrize("ratio", [0.3, 1.8, 45.0])
def test_a_first_loss_that_nothing_explains(ratio):
    _, batch = a_batch(30, 20, 5, 0)
    assert explain_first(ratio * math.log(30), (30,), summation_counts(batch)) is None


def test_a_first_loss_that_is_a_squared_error_stays_there_for_some_batches():
    value = 29 / 900
    assert explain_low([value, 1.001 * value, 0.999 * value], (30,)).kind == "other"
    assert explain_low([value, 1.6 * value, 0.8 * value], (30,)) is None


def test_classes_come_from_one_hot_targets_else_from_the_output_layer():
    _, hot = a_batch(9, 12, 4, 0, one_hot=True)
    certain = classes_of(hot, {})
    assert (certain.sizes, certain.certain) == ((9,), True)
    targets, tokens = a_batch(9, 12, 4, 0)
    found = classes_of(tokens, {"head": np.zeros((9, 32)), "bias": np.zeros(9), "hidden": np.zeros(32)})
    assert 9 in found.sizes
    assert not found.certain
    assert least_classes(targets) == targets.max() + 1
    assert classes_of(Batch((np.zeros((3, 4, 1)), np.full((3, 4, 1), 0.3)), "train", 1), {}).regression


@pytest.mark.parametrize("gates", [1, 3, 4])
def test_an_output_layer_without_a_bias_tells_the_classes_all_the_same(gates):
    _, batch = a_batch(9, 12, 4, 0)
    params = {
        "embedding": np.zeros((9, 32)),
        "recurrent": np.zeros((32, gates * 32)),
        "bias": np.zeros(gates * 32),
        "head": np.zeros((32, 9)),
    }
    assert classes_of(batch, params).sizes == (9,)


@given(st.integers(3, 30), st.integers(0, 1000))
def test_the_likelihood_under_observed_logits(size, seed):
    generator = np.random.default_rng(seed)
    logits, targets = generator.normal(size=(7, 2, size)), generator.integers(size, size=(7, 2))
    assume(size not in (2, 7))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    expected = np.log(np.exp(shifted).sum(axis=-1)) - np.take_along_axis(shifted, targets[..., None], -1)[..., 0]
    assert true_nll(logits, targets) == pytest.approx(expected.mean(), rel=1e-9)
    assert true_nll(np.moveaxis(logits, -1, 1), targets) == pytest.approx(expected.mean(), rel=1e-9)


def test_the_size_of_output_weights():
    generator = np.random.default_rng(0)
    usual = {"head": generator.uniform(-1, 1, (30, 64)) / 8.0, "Whh": np.eye(64)}
    assert weight_scale(usual, 30) == pytest.approx(0.577, rel=0.05)
    assert weight_scale({**usual, "head": 30.0 * usual["head"]}, 30) > 3.0
