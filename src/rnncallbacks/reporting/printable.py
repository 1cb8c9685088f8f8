"""Text from scripts, files and plugins, made safe to print in a terminal, on a page, and in a spreadsheet."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a text that a spreadsheet interprets as a formula (OWASP, "CSV injection")."""


def printable(text: str) -> str:
    r"""The text with escapes for characters that are not printable: control characters, lone surrogates, noncharacters.

    Newlines and tabs are kept.

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
    """A value for a CSV file: a text that a spreadsheet would interpret as a formula gets an apostrophe in front.

    Example
    -------
    >>> spreadsheet_cell("=cmd"), spreadsheet_cell(-1.5), spreadsheet_cell("-Infinity")
    ("'=cmd", -1.5, '-Infinity')
    """
    harmless = not isinstance(value, str) or value == "-Infinity" or not value.startswith(FORMULA)
    return value if harmless else f"'{value}"
