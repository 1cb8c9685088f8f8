import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.data.splits import split


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
