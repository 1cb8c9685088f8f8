"""The columns of the history that hold numbers of the user: those of ``run.log`` and of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN_ELSEWHERE = (
    "epoch",
    "learning_rate",
    "seconds",
    "gradient_norm",
    "clipped_gradient_norm",
    "clipped_fraction",
    "stopped_after",
    "repairs",
)
"""Columns of the library that have a place of their own in a line or a page."""
LOSS = "_loss"
DENOMINATORS = ("_batches", "_sequences", "_tokens")
"""Ends of the columns of ``loss_averaging``: they follow the name of a phase."""


def shown_columns(row: Mapping[str, Any]) -> list[str]:
    """The names of the numbers in a row of the history that have no other place, in their order.

    Example
    -------
    >>> shown_columns({"epoch": 1, "train_loss": 2.5, "train_batches": 40, "accuracy": 0.5, "note": "warm"})
    ['accuracy']
    """
    phases = phases_of(row)
    return [
        name
        for name, value in row.items()
        if isinstance(value, int | float)
        and name not in SHOWN_ELSEWHERE
        and not name.endswith(LOSS)
        and not any(name == phase + end for phase in phases for end in DENOMINATORS)
    ]


def phases_of(columns: Mapping[str, Any]) -> list[str]:
    """The phases that have a loss among the columns.

    Example
    -------
    >>> phases_of({"epoch": 1, "train_loss": 2.5, "val_loss": 2.75})
    ['train', 'val']
    """
    return [name.removesuffix(LOSS) for name in columns if name.endswith(LOSS)]
