import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import OptionError
from rnncallbacks.rnn.data.anbn import ANBN_VOCABULARY, anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader


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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"count": 0}, "count: expected an integer >= 1, got 0"),
        ({"min_n": 0}, "min_n: expected an integer >= 1, got 0"),
        ({"max_n": 1.5}, r"max_n: expected an integer >= 1, got 1\.5"),
        ({"min_n": 5, "max_n": 4}, "min_n: expected at most max_n 4, got 5"),
        ({"seed": -1}, "seed: expected an integer >= 0, got -1"),
    ],
)
def test_bad_options(options, expected):
    with pytest.raises(OptionError, match=expected):
        anbn(**options)
