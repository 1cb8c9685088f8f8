import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.data.anbn import ANBN_VOCABULARY, anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.data.splits import train_validation_test


def test_the_vocabulary_has_four_tokens_with_unk():
    assert len(ANBN_VOCABULARY) == 4
    assert ANBN_VOCABULARY.decode(ANBN_VOCABULARY.encode(["a", "c", "EOS"])) == ["a", "UNK", "EOS"]


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 20), st.integers(0, 2**32))
def test_sentences_are_of_the_language(count, min_n, more, seed):
    sentences = anbn(count, min_n=min_n, max_n=min_n + more, seed=seed)
    assert len(sentences) == count
    for sentence in sentences:
        text = "".join(ANBN_VOCABULARY.decode(sentence))
        found = re.fullmatch(r"(a+)(b+)EOS", text)
        assert found
        assert len(found[1]) == len(found[2])
        assert min_n <= len(found[1]) <= min_n + more


def test_every_n_of_the_range_is_drawn():
    assert {len(sentence) // 2 for sentence in anbn(500, min_n=2, max_n=6)} == {2, 3, 4, 5, 6}


def test_same_seed_same_sentences():
    assert list(chain(*anbn(20, seed=3))) == list(chain(*anbn(20, seed=3)))
    assert list(chain(*anbn(20, seed=3))) != list(chain(*anbn(20, seed=4)))


def test_one_sentence_per_batch():
    sentences = anbn(10)
    batches = list(SequenceLoader(sentences, batch_size=1, shuffle=False, bucket=False))
    for sentence, batch in zip(sentences, batches, strict=True):
        np.testing.assert_array_equal(batch.inputs[:, 0], sentence[:-1])
        np.testing.assert_array_equal(batch.targets[:, 0], sentence[1:])
        assert batch.mask is None


@given(st.lists(st.integers(), min_size=10, max_size=300))
def test_the_parts_are_the_whole_in_order(sequences):
    train, validation, test = train_validation_test(sequences)
    assert train + validation + test == sequences
    assert len(validation) == len(test) == round(len(sequences) / 10)


def test_other_shares():
    assert train_validation_test("abcdefgh", validation=0.25, test=0.5) == (["a", "b"], ["c", "d"], list("efgh"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"count": 0}, "count: expected an integer of 1 or more, got 0"),
        ({"min_n": 0}, "min_n: expected an integer of 1 or more, got 0"),
        ({"max_n": 1.5}, r"max_n: expected an integer of 1 or more, got 1\.5"),
        ({"min_n": 5, "max_n": 4}, "min_n: expected at most max_n 4, got 5"),
        ({"seed": -1}, "seed: expected an integer of 0 or more, got -1"),
    ],
)
def test_bad_options(options, expected):
    with pytest.raises(OptionError, match=expected):
        anbn(**options)


@pytest.mark.parametrize(
    ("shares", "error", "expected"),
    [
        ((0.0, 0.1), OptionError, r"validation: expected a fraction between 0 and 1, got 0\.0"),
        ((0.1, 1.0), OptionError, r"test: expected a fraction between 0 and 1, got 1\.0"),
        ((0.5, 0.5), OptionError, r"validation 0\.5 and test 0\.5 leave nothing for training"),
        ((0.1, 0.2), DataError, "4 sequences are too few .* the parts would have 3, 0, 1"),
    ],
)
def test_bad_shares(shares, error, expected):
    with pytest.raises(error, match=expected):
        train_validation_test([1, 2, 3, 4], *shares)
