"""The types of options: as text, and as a check that converts nothing but an int to a float and a string to a path."""

import enum
import math
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.config.option_types import literals_of, structured, type_text


class Color(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (float, "float"),
        (int | None, "int | None"),
        (Optional[str], "str | None"),  # noqa: UP045  (the old spelling is the test)
        (Literal["a", "b"] | None, "Literal['a', 'b'] | None"),
        (tuple[float, float], "tuple[float, float]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (Path, "Path"),
        (Any, "Any"),
        ("Unknown", "Unknown"),
    ],
)
def test_types_as_one_writes_them(annotation, text):
    assert type_text(annotation) == text


@pytest.mark.parametrize(
    ("annotation", "literals"),
    [
        (Literal["a", 1], ["a", 1]),
        (Literal["a"] | None, ["a"]),
        (int | Literal["b"], ["b"]),
        (list[int], []),
        (str, []),
    ],
)
def test_the_literals_of_a_type(annotation, literals):
    assert literals_of(annotation) == literals


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (float, 3.5, 3.5),
        (bool, True, True),
        (str, "x", "x"),
        (Path, "a/b", Path("a/b")),
        (int | None, None, None),
        (float | str, "auto", "auto"),
        (float | int, 3, 3),
        (Literal["a", 1], 1, 1),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (list, [1, "a"], [1, "a"]),
        (tuple[float, float], [0.9, 0.999], (0.9, 0.999)),
        (tuple[int, ...], [], ()),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Color, "red", Color.RED),
        (Any, {"x": [1]}, {"x": [1]}),
    ],
)
def test_values_that_fit_their_type(annotation, value, expected):
    made = structured(value, annotation)
    assert made == expected
    assert type(made) is type(expected)


@given(st.floats())
def test_floats_are_kept_to_the_bit(value):
    assert math.isnan(value) or structured(value, float) == value
