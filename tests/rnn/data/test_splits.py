import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.data.splits import split, train_validation_test


class TestSplit:
    @given(st.integers(2, 500), st.floats(0.01, 0.99))
    def test_the_parts_are_the_whole(self, size, held_out):
        tokens = np.arange(size)
        if not 0 < round(held_out * size) < size:
            with pytest.raises(DataError, match=f"{size} tokens cannot be split"):
                split(tokens, held_out)
            return
        train, validation = split(tokens, held_out)
        np.testing.assert_array_equal(np.concatenate([train, validation]), tokens)
        assert abs(len(validation) - held_out * size) <= 0.5
        assert np.shares_memory(train, tokens)

    @pytest.mark.parametrize("held_out", [0.0, 1.0, -0.1, float("nan")])
    def test_held_out_is_a_fraction(self, held_out):
        with pytest.raises(OptionError, match="held_out: expected a fraction between 0 and 1, got"):
            split("hello", held_out)


@given(st.lists(st.integers(), min_size=10, max_size=300))
def test_the_parts_are_the_whole_in_order(sequences):
    train, validation, test = train_validation_test(sequences)
    assert train + validation + test == sequences
    assert len(validation) == len(test) == round(len(sequences) / 10)


def test_other_shares():
    assert train_validation_test("abcdefgh", validation=0.25, test=0.5) == (["a", "b"], ["c", "d"], list("efgh"))


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
