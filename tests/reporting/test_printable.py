"""What is shown holds no character that a terminal obeys, XML refuses or a spreadsheet runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.reporting.printable import FORMULA, printable, spreadsheet_cell


@given(st.text(st.characters(codec=None)))
def test_what_is_printable_is_unchanged_and_the_rest_is_escaped(text):
    shown = printable(text)
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    shown.encode("utf-8")
    if all(one.isprintable() or one in "\n\t" for one in text):
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\uffff", r"\uffff"),
        ("\ud800", r"\ud800"),
        ("Grüße 你好\n", "Grüße 你好\n"),
    ],
)
def test_escapes_are_those_of_python(text, shown):
    assert printable(text) == shown


@given(st.text() | st.floats() | st.integers())
def test_no_cell_is_a_formula(value):
    cell = spreadsheet_cell(value)
    assert not isinstance(cell, str) or cell == "-Infinity" or not cell.startswith(FORMULA)
    assert cell == value or cell == f"'{value}" or value != value
