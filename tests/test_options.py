"""Validators of options: what they let through, and what they say of the rest."""

import math
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks import options
from rnncallbacks.errors import OptionError


def accepts(validator, value) -> bool:
    holder = attrs.make_class("Holder", {"field": attrs.field(validator=validator)})
    said = None
    try:
        holder(value)
    except OptionError as error:
        said = str(error)
    assert said is None or said.startswith("Holder: field: expected ")
    assert said is None or repr(value) in said
    return said is None


@given(st.floats() | st.integers(-100, 100), st.floats(-10, 10), st.floats(-10, 10))
def test_numbers_within_bounds(value, low, high):
    finite = math.isfinite(value)
    assert accepts(options.number(), value) is finite
    assert accepts(options.number(above=low), value) is (finite and value > low)
    assert accepts(options.number(at_least=low), value) is (finite and value >= low)
    assert accepts(options.number(below=high), value) is (finite and value < high)
    assert accepts(options.number(at_most=high), value) is (finite and value <= high)
    assert accepts(options.number(at_least=low, below=high), value) is (finite and low <= value < high)


@pytest.mark.parametrize("value", ["1", None, True, [1.0], 1j])
def test_what_is_no_number(value):
    assert not accepts(options.number(), value)
    assert not accepts(options.count(), value)


def test_numbers_of_numpy_are_numbers():
    assert accepts(options.number(above=0), np.float32(0.5))
    assert accepts(options.count(), np.int64(2))


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_counts(value, least):
    assert accepts(options.count(at_least=least), value) is (value >= least)
    assert not accepts(options.count(at_least=least), float(value))


def test_words_flags_and_columns():
    assert accepts(options.one_of("a", "b"), "a")
    assert not accepts(options.one_of("a", "b"), "c")
    assert accepts(options.flag, False)
    assert not accepts(options.flag, 0)
    assert accepts(options.column, "val_loss")
    assert not accepts(options.column, "val loss")
    assert not accepts(options.column, 3)
    assert accepts(options.text, "sqlite:///runs.db")
    assert not accepts(options.text, "")
    assert not accepts(options.text, None)


def test_the_nearest_word_is_the_hint():
    holder = attrs.make_class("Holder", {"mode": attrs.field(validator=options.one_of("global", "value"))})
    with pytest.raises(OptionError, match="did you mean 'global'"):
        holder("globl")


def test_paths_are_taken_as_text_or_as_paths():
    field = attrs.field(converter=options.as_path, validator=options.path)
    holder = attrs.make_class("Holder", {"file": field})
    assert holder("runs/first").file == holder(Path("runs/first")).file == Path("runs/first")
    with pytest.raises(OptionError, match="Holder: file: expected a path, got ''"):  # not the working directory
        holder("")
    with pytest.raises(OptionError, match="Holder: file: expected a path, got 3"):
        holder(3)
