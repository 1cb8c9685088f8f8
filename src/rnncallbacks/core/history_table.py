"""The rows of a history as an HTML table, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from rnncallbacks.files import printable

MOST_ROWS = 20
"""Largest number of rows of a table; rows in the middle of a longer history are left out. Chosen by eye."""
CELL = ' style="text-align: right; padding: 0.1em 0.7em"'

Rows = Sequence[Mapping[str, Any]]


def history_table(rows: Rows) -> str:
    """The first and the last rows, as many as fit, with all columns.

    Example
    -------
    >>> table = history_table([{"epoch": epoch, "note": "<b>"} for epoch in range(1, 100)])
    >>> table.count("<tr>"), "&lt;b&gt;" in table, "79 epochs are not shown" in table
    (22, True, True)
    """
    if not rows:
        return "<div>no epoch has ended</div>"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if len(rows) <= MOST_ROWS:
        return table(columns, rows)
    half = MOST_ROWS // 2
    left_out = f'<tr><td colspan="{len(columns)}">{len(rows) - 2 * half} epochs are not shown</td></tr>'
    return _framed(columns, [*_lines(columns, rows[:half]), left_out, *_lines(columns, rows[-half:])])


def last_rows_table(rows: Rows) -> str:
    """The last rows, as many as fit."""
    columns = dict.fromkeys(name for row in rows[-MOST_ROWS:] for name in row)
    return table(list(columns), rows[-MOST_ROWS:])


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """These columns of these rows."""
    return _framed(columns, _lines(columns, rows))


def _framed(columns: Sequence[str], lines: Sequence[str]) -> str:
    head = "".join(f"<th{CELL}>{_safe(name)}</th>" for name in columns)
    content = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div style="overflow-x: auto">{content}</div>'


def _lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [f"<tr>{''.join(f'<td{CELL}>{_cell(row.get(name))}</td>' for name in columns)}</tr>" for row in rows]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else _safe(str(value))


def _safe(text: str) -> str:
    return escape(printable(text))
