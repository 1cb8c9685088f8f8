"""Marks of a chart, and the placement of their labels above it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from rnncallbacks.alarms.catalogue import SEVERITIES, Severity

FONT_SIZE = 11.0
"""Size of the text of a chart, in pixels."""
CHARACTER_WIDTH = 0.62 * FONT_SIZE
"""Approximate width of a digit or a capital letter, in pixels. Lower-case letters are narrower."""
LABEL_ROWS = 3
"""Rows of labels above a chart. A label that fits in none of them is left out; its line is still drawn."""


@attrs.frozen
class Mark:
    """An event in an epoch or a batch: a short label, and the text of its tooltip."""

    position: int
    label: str
    words: str
    severity: Severity


@attrs.frozen
class MarkLabel:
    """The label of the marks of one epoch or batch.

    ``center`` is its position as a share of the plot's width. ``row`` counts from the bottom row, 0; it is None if the
    label fits in no row.
    """

    position: float
    text: str
    words: str
    severity: Severity
    center: float
    row: int | None


def place_labels(marks: Sequence[Mark], limits: tuple[float, float], width: float) -> list[MarkLabel]:
    """One label for each position with marks: that of the most severe, and the number of the others.

    ``limits`` are the first and the last position of the axis; marks beyond them are drawn at the edge. ``width``
    is that of the plot, in pixels.
    """
    first, last = limits
    by_position: dict[float, list[Mark]] = {}
    for mark in marks:
        by_position.setdefault(min(max(mark.position, first), last), []).append(mark)
    row_ends = [-math.inf] * LABEL_ROWS
    labels = []
    for position, together in sorted(by_position.items()):
        worst = max(together, key=lambda mark: SEVERITIES.index(mark.severity))
        text = worst.label + (f" +{len(together) - 1}" if len(together) > 1 else "")
        length = CHARACTER_WIDTH * len(text)
        begin = width * (position - first) / (last - first) - length / 2
        begin = min(max(begin, 0.0), width - length)
        row = next((row for row in range(LABEL_ROWS) if row_ends[row] + CHARACTER_WIDTH < begin), None)
        if row is not None:
            row_ends[row] = begin + length
        words = "\n".join(mark.words for mark in together)
        labels.append(MarkLabel(position, text, words, worst.severity, (begin + length / 2) / width, row))
    return labels
