"""What a loss is, from its size: against losses that are computed, for any vocabulary and any layout."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnncallbacks.loss_scale import Vocabulary, counts_of, kind_at_first, kind_at_zero, vocabulary_of

sizes = st.integers(2, 300)
lengths = st.integers(2, 60)


def losses_at_zero(size, seq_len, batch_size, generator):
    """Mean, sums and squared errors of a softmax over zeros, computed position by position."""
    targets = generator.integers(size, size=(seq_len, batch_size))
    probabilities = np.full((seq_len, batch_size, size), 1.0 / size)
    one_hot = np.eye(size)[targets]
    nll = -np.log((probabilities * one_hot).sum(axis=-1))
    errors = (probabilities - one_hot) ** 2
    return targets, nll, errors


@given(sizes, lengths, lengths, st.booleans(), st.integers(0, 100))
def test_means_and_sums_are_told_apart(size, seq_len, batch_size, exact, seed):
    targets, nll, _ = losses_at_zero(size, seq_len, batch_size, np.random.default_rng(seed))
    vocabulary = Vocabulary(size, True) if exact else vocabulary_of(targets, None)
    assume(vocabulary is not None and vocabulary.size == size)
    counts = counts_of((seq_len, batch_size), 0, targets, None)
    assert kind_at_zero(nll.mean(), vocabulary, counts).kind == "mean"
    assert kind_at_zero(nll.mean() / math.log(2), vocabulary, counts).kind == "mean"
    for sums in (nll.sum(axis=0).mean(), nll.sum(axis=1).mean(), nll.sum()):
        found = kind_at_zero(sums, vocabulary, counts)
        assert found.kind == "sum"
        if exact:
            assert found.vocab_size == size
            assert found.count == pytest.approx(sums / math.log(size), rel=1e-3)


@given(st.integers(3, 300), lengths, lengths, st.integers(0, 100))
def test_squared_errors_of_every_kind_are_found(size, seq_len, batch_size, seed):
    targets, _, errors = losses_at_zero(size, seq_len, batch_size, np.random.default_rng(seed))
    counts = counts_of((seq_len, batch_size), 0, targets, None)
    for loss in (errors.mean(), errors.sum(axis=-1).mean(), 0.5 * errors.mean(), 0.5 * errors.sum(axis=-1).mean()):
        assert kind_at_zero(loss, Vocabulary(size, True), counts).kind == "squared error"


@given(sizes, lengths, lengths, st.floats(0.05, 0.9))
def test_a_mean_that_counts_padding_is_no_other_function(size, seq_len, batch_size, share):
    # A share of the positions is padding with a loss of zero.
    loss = share * math.log(size)
    counts = counts_of((seq_len, batch_size), 0, np.zeros((seq_len, batch_size), dtype=int), None)
    squares = [(size - 1) / size, (size - 1) / size**2, 1.0, 1.0 / size]
    known = [value * half for value in squares for half in (1.0, 0.5)]
    known += [value * count for value in known for count in counts.values()]
    assume(all(abs(loss / value - 1) > 1e-3 for value in known))
    assume(all(abs(loss * factor - math.log(size)) > 1e-2 for factor in (1.0, math.log(2))))
    found = kind_at_zero(loss, Vocabulary(size, True), counts)
    assert found.kind == "unclear"


def test_a_large_vocabulary_of_which_a_batch_shows_a_part():
    vocabulary = Vocabulary(7_000, False)
    counts = counts_of((35, 20), 0, np.zeros((35, 20), dtype=int), None)
    assert kind_at_zero(math.log(10_000), vocabulary, counts).kind == "mean"
    assert kind_at_zero(35 * math.log(10_000), vocabulary, counts).over == "time steps"


@pytest.mark.parametrize(
    ("ratio", "kind", "over"),
    [
        (1.0, "mean", ""),
        (0.94, "mean", ""),
        (1.3, "mean", ""),
        (18.8, "sum", "time steps"),
        (20.5, "sum", "time steps"),
        (4.9, "sum", "sequences"),
        (103.0, "sum", "time steps and sequences"),
        (1.8, "unclear", ""),
        (45.0, "unclear", ""),
        (0.2, "unclear", ""),
    ],
)
def test_the_first_loss_of_an_untrained_network(ratio, kind, over):
    counts = counts_of((5, 20), 1, np.zeros((5, 20), dtype=int), None)
    found = kind_at_first([ratio * math.log(30)], Vocabulary(30, True), counts)
    assert (found.kind, found.over) == (kind, over)


def test_a_first_loss_that_is_a_squared_error_stays_there_for_some_batches():
    value = 29 / 900
    assert kind_at_first([value, 1.02 * value, 0.97 * value], Vocabulary(30, True), {}).kind == "squared error"
    assert kind_at_first([value, 1.6 * value, 0.8 * value], Vocabulary(30, True), {}).kind == "unclear"


def test_padding_is_no_token():
    targets = np.array([[0, 1], [1, -1]])
    assert counts_of((2, 2), 0, targets, None)["tokens"] == 3
    assert vocabulary_of(targets, None) == Vocabulary(2, False)


def test_a_vocabulary_grows_with_what_is_seen():
    first = vocabulary_of(np.array([1, 4]), None)
    assert vocabulary_of(np.array([2, 2]), None, first) == Vocabulary(5, False)
    assert vocabulary_of(np.array([9]), None, first) == Vocabulary(10, False)
    assert vocabulary_of(np.array([0, 0]), None) is None
    assert vocabulary_of(np.array([0, 1]), 7) == Vocabulary(7, True)
