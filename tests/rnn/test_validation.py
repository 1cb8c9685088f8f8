import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import ContainerError, DataError, OptionError, RnnCallbacksError, ShapeError
from rnncallbacks.rnn.layers.inputs import as_indices
from rnncallbacks.rnn.model import RecurrentModel
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
    with pytest.raises(OptionError, match="batch_size: expected an integer >= 1, got "):
        check_count("batch_size", value)


def test_unsigned_tokens_are_not_read_through():
    class Unread(np.ndarray):
        def min(self, *args, **options):
            raise AssertionError("read")

    tokens = np.arange(5, dtype=np.uint16).view(Unread)
    check_values("tokens", tokens)
    with pytest.raises(AssertionError, match="read"):
        check_values("tokens", tokens.astype(np.int16))


@given(tokens=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5), vocab_size=st.integers(1, 2**40))
def test_exactly_the_tokens_of_the_vocabulary_pass(tokens: list[int], vocab_size: int) -> None:
    array = np.array(tokens)
    if all(0 <= token < vocab_size for token in tokens):
        assert as_indices("inputs", array, vocab_size).tolist() == tokens
    else:
        first = next(index for index, token in enumerate(tokens) if not 0 <= token < vocab_size)
        with pytest.raises(DataError) as caught:
            as_indices("inputs", array, vocab_size)
        assert f"token {tokens[first]} at ({first},) is out of range: vocab_size is {vocab_size}" in str(caught.value)


ONE = np.zeros((2, 3))


BAD: list[tuple[dict[str, Any], Any, type[RnnCallbacksError], str]] = [
    ({}, None, ContainerError, "state: expected a float array, got NoneType"),
    ({}, ONE.astype(int), ContainerError, "state: expected a float array, got an array of int"),
    ({}, (ONE, ONE), ContainerError, "state: expected a float array, got tuple"),
    ({}, np.zeros((3, 3)), ShapeError, r"state of shape \(3, 3\).*expected \(2, 3\)"),
    ({"cell": "lstm"}, ONE, ContainerError, r"state: expected a tuple of 2, got an array of float64.*an LSTM"),
    ({"cell": "lstm"}, (ONE,), ContainerError, "state: expected a tuple of 2, got tuple of 1"),
    ({"cell": "lstm"}, (ONE, ONE[:1]), ShapeError, r"state\[1\] of shape \(1, 3\)"),
    (
        {"cell": "lstm", "num_layers": 2},
        ((ONE, ONE), (ONE, None)),
        ContainerError,
        r"state\[1\]\[1\]: expected a float",
    ),
]


@pytest.mark.parametrize(("options", "state", "error", "message"), BAD)
def test_another_state_is_refused(
    options: dict[str, Any], state: Any, error: type[RnnCallbacksError], message: str
) -> None:
    model = RecurrentModel(3, vocab_size=4, **options)
    with pytest.raises(error) as caught:
        model.predict(np.zeros((1, 2), int), state)
    assert re.search(message, str(caught.value).replace("\n", " "))


def test_a_list_serves_as_a_tuple() -> None:
    model = RecurrentModel(3, vocab_size=4, cell="lstm")
    outputs, _ = model.predict(np.zeros((1, 2), int), [ONE, ONE])
    np.testing.assert_array_equal(outputs, model.predict(np.zeros((1, 2), int), (ONE, ONE))[0])
