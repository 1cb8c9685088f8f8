"""Text from scripts, files and plugins, made safe to show: in a terminal, on a page, and in a spreadsheet."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters with which a spreadsheet takes a text for a formula (OWASP, "CSV injection")."""


def printable(text: str) -> str:
    r"""The text with escapes for characters that are no text: control characters, lone surrogates, noncharacters.

    Newlines and tabs stay.

    Example
    -------
    >>> print(printable("loss\x1b[2J fell"))
    loss\x1b[2J fell
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode("ascii") for one in text
    )


def spreadsheet_cell(value: object) -> object:
    """A value for a CSV file: a text that a spreadsheet would take for a formula begins with an apostrophe.

    Example
    -------
    >>> spreadsheet_cell("=cmd"), spreadsheet_cell(-1.5), spreadsheet_cell("-Infinity")
    ("'=cmd", -1.5, '-Infinity')
    """
    harmless = not isinstance(value, str) or value == "-Infinity" or not value.startswith(FORMULA)
    return value if harmless else f"'{value}"
