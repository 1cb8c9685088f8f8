import numpy as np
import pytest

from rnncallbacks.errors import OptionError, ShapeError
from rnncallbacks.rnn.validation import as_array, as_tokens, check_count, check_values


def test_an_array_is_not_copied():
    tokens = np.arange(5, dtype=np.uint8)
    assert as_array("tokens", tokens) is tokens
    assert as_tokens("tokens", tokens) is tokens


def test_no_tokens_are_integers_too():
    assert as_tokens("tokens", []).dtype == np.intp


def test_rows_that_differ_in_length():
    with pytest.raises(ShapeError, match=r"inputs: .*differ in length(.|\n)*SequenceLoader"):
        as_array("inputs", [[1, 2], [3]])


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3)])
def test_any_integer_is_a_count(value):
    assert check_count("batch_size", value) == 3
    assert type(check_count("batch_size", value)) is int


@pytest.mark.parametrize("value", [0, -3, 3.0, True, np.True_, None, "3"])
def test_no_count(value):
    with pytest.raises(OptionError, match="batch_size: expected an integer of 1 or more, got "):
        check_count("batch_size", value)


def test_unsigned_tokens_are_not_read_through():
    class Unread(np.ndarray):
        def min(self, *args, **options):
            raise AssertionError("read")

    tokens = np.arange(5, dtype=np.uint16).view(Unread)
    check_values("tokens", tokens)
    with pytest.raises(AssertionError, match="read"):
        check_values("tokens", tokens.astype(np.int16))
