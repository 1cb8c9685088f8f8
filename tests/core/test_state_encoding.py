"""Values as JSON and arrays, and back."""

from collections import Counter, OrderedDict, defaultdict, deque, namedtuple

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
        st.frozensets(KEYS, max_size=3),
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


def test_arrays_whose_paths_are_alike_are_kept_apart():
    arrays = {}
    value = {"a.b": np.zeros(1), "a": {"b": np.ones(1)}}
    again = decode(encode(value, "at", arrays), arrays)
    assert (again["a.b"], again["a"]["b"]) == (0.0, 1.0)


def test_a_class_that_no_module_defines_is_refused_when_it_is_saved():
    local = attrs.make_class("Local", ["x"])
    with pytest.raises(CheckpointError, match=r"state\.0: a Local cannot be saved in a checkpoint"):
        encode([local(1)], "state", {})


@pytest.mark.parametrize("array", [np.ones(2, complex), np.array(["a"]), np.ma.zeros(2), np.zeros(1, [("a", "f8")])])
def test_arrays_that_a_file_cannot_hold_are_named(array):
    with pytest.raises(CheckpointError, match=r"guard\.seen: a \w+ of .+ cannot be saved in a checkpoint"):
        encode({"seen": array}, "guard", {})


@pytest.mark.parametrize(
    "value", [OrderedDict(a=1), defaultdict(list), namedtuple("Pair", "h c")(1, 2), deque([1])], ids=type
)
def test_classes_derived_from_containers_would_come_back_as_others_and_are_refused(value):
    with pytest.raises(CheckpointError, match=r"guard\.seen: a \w+ cannot be saved in a checkpoint"):
        encode({"seen": value}, "guard", {})
