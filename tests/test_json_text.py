"""Numbers that JSON has none of go through it as words."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.json_text import json_text, number


@given(st.floats() | st.integers(min_value=-(2**53), max_value=2**53))
def test_every_number_comes_back(value):
    (back,) = (number(one) for one in json.loads(json_text([value]), parse_constant=pytest.fail))
    assert back == value or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize("value", ["nan", "inf", "a word", "", "1", None, True, [1.0], {}])
def test_what_is_no_number_is_none(value):
    assert number(value) is None


def test_words_stand_at_every_depth():
    value = {"a": [math.nan, {"b": (math.inf, -math.inf)}], "c": "text", "d": None, "e": True}
    assert json.loads(json_text(value)) == {
        "a": ["NaN", {"b": ["Infinity", "-Infinity"]}],
        "c": "text",
        "d": None,
        "e": True,
    }


def test_the_text_can_be_indented():
    assert json_text({"a": 1}, indent=2) == '{\n  "a": 1\n}'
