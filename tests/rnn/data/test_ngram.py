import math
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import DataError, OptionError, ShapeError
from rnncallbacks.rnn.data.ngram import ngram_loss
from rnncallbacks.rnn.data.splits import split
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text

TOKENS = st.lists(st.integers(0, 4), min_size=3, max_size=60)


def counted_loss(train, held_out, vocab_size, order, smoothing):
    """The formula of the docstring, with dictionaries."""
    joint = Counter(tuple(train[i : i + order]) for i in range(len(train) - order + 1))
    context = Counter(gram[:-1] for gram in joint.elements())
    losses = []
    for i in range(len(held_out) - order + 1):
        gram = tuple(held_out[i : i + order])
        losses.append(-math.log((joint[gram] + smoothing) / (context[gram[:-1]] + smoothing * vocab_size)))
    return math.fsum(losses) / len(losses)


@given(TOKENS, TOKENS, st.integers(1, 3), st.floats(0.001, 10))
def test_is_the_formula(train, held_out, order, smoothing):
    expected = counted_loss(train, held_out, 5, order, smoothing)
    assert ngram_loss(train, held_out, 5, order, smoothing) == pytest.approx(expected, rel=1e-12)


@given(st.integers(2, 6), st.integers(1, 3))
def test_the_probabilities_of_a_context_sum_to_one(vocab_size, order):
    train = np.random.default_rng(0).integers(0, vocab_size, 200)
    context = train[: order - 1].tolist()
    losses = [ngram_loss(train, [*context, token], vocab_size, order) for token in range(vocab_size)]
    assert sum(math.exp(-loss) for loss in losses) == pytest.approx(1.0)


@pytest.mark.parametrize("order", [2, 3])
def test_an_unseen_context_costs_the_log_of_the_vocabulary(order):
    assert ngram_loss([0, 0, 0, 0], [1, 1, 1], 7, order) == pytest.approx(math.log(7))


def test_a_vocabulary_of_ten_thousand_words_takes_no_table():
    tokens = np.random.default_rng(0).integers(0, 10_000, 5_000)
    assert ngram_loss(tokens, tokens, 10_000, order=3) == pytest.approx(math.log(1 + 0.01 * 10_000) - math.log(1.01))


def test_small_integers_do_not_overflow():
    tokens = np.random.default_rng(0).integers(0, 256, 2_000)
    assert ngram_loss(tokens.astype(np.uint8), tokens.astype(np.uint8), 256, 3) == ngram_loss(tokens, tokens, 256, 3)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the text differs between versions of Python")
def test_baselines_of_the_embedded_text():
    text = embedded_text()
    vocabulary = Vocabulary.from_tokens(text)
    train, held_out = split(vocabulary.encode(text))
    losses = [ngram_loss(train, held_out, len(vocabulary), order) for order in (1, 2, 3)]
    # The figures are those of 3.11.7; the texts of other patch releases differ a little.
    assert losses == pytest.approx([3.2376, 2.3196, 1.7396], abs=0.01)


@pytest.mark.parametrize(
    ("options", "error", "expected"),
    [
        ({"train": [0]}, DataError, "train: expected at least 2 tokens for order 2, got 1"),
        ({"held_out": []}, DataError, "held_out: expected at least 2 tokens for order 2, got 0"),
        ({"train": [0, 1, 5, 6]}, DataError, "train: expected token numbers below vocab_size 5, got 5 at 2"),
        ({"held_out": [0, -1]}, DataError, "held_out: .*got -1 at 1"),
        ({"held_out": [0.0, 1.0]}, DataError, "held_out: .*integers, got float64"),
        ({"train": [[0, 1]]}, ShapeError, r"train: .*\(1, 2\)"),
        ({"order": 0}, OptionError, "order: expected an integer >= 1, got 0"),
        ({"order": 4}, OptionError, "order: expected 1, 2 or 3, got 4"),
        ({"vocab_size": 0}, OptionError, "vocab_size: expected an integer >= 1, got 0"),
        ({"vocab_size": 10**7, "order": 3}, OptionError, "too large to number n-grams of order 3"),
        ({"smoothing": 0.0}, OptionError, r"smoothing: expected a number above 0, got 0\.0"),
        ({"smoothing": float("nan")}, OptionError, "smoothing: .*got nan"),
        ({"smoothing": float("inf")}, OptionError, "smoothing: .*got inf"),
    ],
)
def test_bad_input(options, error, expected):
    with pytest.raises(error, match=expected):
        ngram_loss(**{"train": [0, 1, 2], "held_out": [0, 1, 2], "vocab_size": 5, "order": 2} | options)
