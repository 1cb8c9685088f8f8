"""The progress of a run in a notebook: one display that changes while the cell is executed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.files import printable
from rnncallbacks.reporting.epoch_line import epoch_line, loss_text
from rnncallbacks.reporting.shown_columns import LOSS, shown_columns

COLUMNS = ("learning_rate", "gradient_norm", "clipped_fraction", "stopped_after", "seconds")
"""Columns of the history that are shown after losses and logged numbers."""


def in_notebook() -> bool:
    """Whether the code runs in a notebook: in a Jupyter kernel, or in one that is based on it."""
    ipython = sys.modules.get("IPython")
    get_shell = getattr(ipython, "get_ipython", None)
    return get_shell is not None and hasattr(get_shell(), "kernel")


class NotebookProgress:
    """A bar above a table of the last epochs. When the run is over, the table stays.

    ``max_epochs`` is None for a run without an end: the bar then shows no share. ``table`` renders rows as HTML, as
    :func:`~rnncallbacks.core.history_table.last_rows_table` does. IPython, which Jupyter brings, must be installed.
    """

    console = None

    def __init__(
        self,
        max_epochs: int | None,
        epochs_done: int,
        table: Callable[[Sequence[Mapping[str, Any]]], str],
    ) -> None:
        from IPython.display import display  # type: ignore[import-not-found, unused-ignore]

        self._max_epochs = max_epochs
        self._table = table
        self._done: float = epochs_done
        self._position = "starting"
        self._rows: list[dict[str, Any]] = []
        self._is_over = False
        self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call, unused-ignore]

    def show_batch(self, epoch: int, batch: int, batches: int | None, loss: float | None) -> None:
        """Show a batch that is done: its epoch and its number, both counted from 1, and its loss.

        ``batches`` is the number of batches of an epoch, None if it is not known.
        """
        of_epochs = "" if self._max_epochs is None else f"/{self._max_epochs}"
        of_batches = "" if batches is None else f"/{batches}"
        self._position = f"epoch {epoch}{of_epochs}, batch {batch}{of_batches}"
        self._position += "" if loss is None else f", loss {loss_text(loss)}"
        self._done = epoch - 1 + (batch / batches if batches else 0)
        self._update()

    def show_epoch(self, row: Mapping[str, Any]) -> None:
        """Show the row of an epoch that is done."""
        losses = [name for name, value in row.items() if name.endswith(LOSS) and not isinstance(value, str)]
        shown = ["epoch", *losses, *shown_columns(row), *(name for name in COLUMNS if name in row)]
        self._rows.append({name: row[name] for name in shown})
        self._done = row["epoch"]
        self._update()

    def show_diagnosis(self, diagnosis: Diagnosis) -> None:
        """Show a diagnosis below the table."""
        from IPython.display import display

        display(diagnosis)  # type: ignore[no-untyped-call, unused-ignore]

    def erase(self) -> None:
        """Remove the bar; the table stays."""
        self._is_over = True
        self._update()

    def _update(self) -> None:
        if self._handle is not None:  # as in a session that displays nothing
            self._handle.update(self)

    def __repr__(self) -> str:
        return epoch_line(self._rows[-1], self._max_epochs) if self._rows else self._position

    def _repr_html_(self) -> str:
        table = self._table(self._rows) if self._rows else ""
        if self._is_over:
            return table
        share = "" if self._max_epochs is None else f' value="{self._done:.4f}" max="{self._max_epochs}"'
        position = escape(printable(self._position))
        return f'<div><progress{share} style="width: 20em"></progress> {position}</div>{table}'
