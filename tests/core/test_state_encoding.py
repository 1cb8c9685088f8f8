"""Values as JSON and arrays, and back."""

from collections import Counter

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.core.state_encoding import decode, encode
from rnncallbacks.errors import CheckpointError

KEYS = st.one_of(st.text(max_size=3), st.integers(), st.tuples(st.integers(), st.booleans()), st.binary(max_size=3))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.sets(KEYS, max_size=3),
        st.dictionaries(KEYS, st.integers(), max_size=3).map(Counter),
    ),
    max_leaves=8,
)


@given(VALUES)
def test_values_come_back_with_their_types(value):
    arrays = {}
    again = decode(encode(value, "at", arrays), arrays)
    assert again == value
    assert type(again) is type(value)
    assert not arrays


def test_one_array_in_two_places_is_saved_once_and_shared_again():
    array, arrays = np.arange(3), {}
    first, second = decode(encode([array, (array,)], "at", arrays), arrays)
    assert list(arrays) == ["at.0"]
    assert first is second[0]


def test_a_class_that_no_module_defines_is_refused_when_it_is_saved():
    local = attrs.make_class("Local", ["x"])
    with pytest.raises(CheckpointError, match=r"state\.0: a Local cannot be saved in a checkpoint"):
        encode([local(1)], "state", {})
