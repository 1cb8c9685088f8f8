"""The lines of a diagnosis as they are shown, and their HTML for notebooks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs

from rnncallbacks.alarms.catalogue import Severity

COLORS = {"error": "#d32f2f", "warning": "#c77700", "info": "#1e88e5"}
"""Color of the border of an alarm, which is visible on a light and on a dark page."""
OPEN = ("fired", "noticed", "repaired")
"""Headings whose lines are shown at first; those of the others are shown by a click."""


@attrs.frozen
class DiagnosisLine:
    """One line of a diagnosis as it is shown.

    ``indent`` is in characters. ``severity`` is that of the alarm whose headline the line is, None on any other line.
    """

    text: str
    indent: int = 0
    severity: Severity | None = None

    @property
    def is_heading(self) -> bool:
        """Whether the line is the heading of those that follow it."""
        return self.indent == 0

    def __str__(self) -> str:
        return " " * self.indent + self.text


def lines_html(lines: Sequence[DiagnosisLine]) -> str:
    """The lines as HTML, with those below a heading folded together.

    Example
    -------
    >>> lines_html([DiagnosisLine("fired"), DiagnosisLine("ACME1 <odd>", 2, "error")])
    '<details open><summary>fired</summary><div style="margin-left: 1em; ...">ACME1 &lt;odd&gt;</div></details>'
    """
    if not lines:
        return "<div>nothing was checked</div>"
    places = [place for place, line in enumerate(lines) if line.is_heading]
    return "".join(_folded(lines[begin:end]) for begin, end in itertools.pairwise([*places, len(lines)]))


def _folded(lines: Sequence[DiagnosisLine]) -> str:
    """A heading with the lines below it; where these are hidden at first, with the number of codes among them."""
    from html import escape  # only notebooks need it

    heading, *below = lines
    is_open, summary = heading.text in OPEN, heading.text
    if below and not is_open:
        innermost = max(line.indent for line in below)
        summary += f" ({sum(line.indent == innermost for line in below)})"
    content = "".join(f'<div style="{_style(line)}">{escape(line.text)}</div>' for line in below)
    return f"<details{' open' * is_open}><summary>{escape(summary)}</summary>{content}</details>"


def _style(line: DiagnosisLine) -> str:
    margin = f"margin-left: {line.indent / 2:g}em"
    if line.severity is None:
        return margin
    return f"{margin}; padding-left: 0.5em; font-weight: bold; border-left: 0.3em solid {COLORS[line.severity]}"
