"""A progress bar that fits the width of its terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rnncallbacks.reporting.epoch_line import epoch_line, loss_text
from rnncallbacks.reporting.terminal import write_line

WIDTH_FOR_TIME_LEFT = 50
WIDTH_FOR_BATCH_NUMBER = 72
WIDTH_FOR_ELAPSED_TIME = 100
"""Widths of the terminal, in columns, from which the bar shows these. Chosen by eye."""
LONGEST_BAR = 40
"""Largest length of the bar itself, in columns. Chosen by eye."""


class ProgressBar:
    """The bar of one run, below the lines that are written while it runs. It is erased when the run is over.

    ``max_epochs`` is None for a run without an end: the bar then shows no share and no remaining time.
    """

    def __init__(self, console: Console, max_epochs: int | None, epochs_done: int = 0) -> None:
        self.console = console
        self._max_epochs = max_epochs
        is_wide = console.width >= WIDTH_FOR_ELAPSED_TIME
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=LONGEST_BAR if is_wide else None),
        ]
        if max_epochs is not None:
            columns.append(TextColumn("{task.percentage:>3.0f}%"))
        if is_wide or max_epochs is None:
            columns.append(TimeElapsedColumn())
        if console.width >= WIDTH_FOR_TIME_LEFT and max_epochs is not None:
            columns += [TimeRemainingColumn(), TextColumn("left")]
        self._progress = Progress(*columns, console=console, transient=True, expand=not is_wide)
        self._task: TaskID = self._progress.add_task("starting", total=max_epochs, completed=epochs_done)
        self._progress.start()

    def show_batch(self, epoch: int, batch: int, batches: int | None, loss: float | None) -> None:
        """Show a batch that is done: its epoch and its number, both counted from 1, and its loss.

        ``batches`` is the number of batches of an epoch, None if it is not known.
        """
        of_epochs = "" if self._max_epochs is None else f"/{self._max_epochs}"
        parts = [f"epoch {epoch}{of_epochs}"]
        if self.console.width >= WIDTH_FOR_BATCH_NUMBER:
            # Padded, so that the bar keeps its length.
            of_batches = f"{batch}" if batches is None else f"{batch:>{len(str(batches))}}/{batches}"
            parts.append(f"batch {of_batches}")
        if loss is not None:
            parts.append(f"loss {loss_text(loss)}")
        share_of_epoch = batch / batches if batches else 0
        self._progress.update(self._task, description="  ".join(parts), completed=epoch - 1 + share_of_epoch)

    def show_epoch(self, row: Mapping[str, Any]) -> None:
        """Show the row of an epoch that is done, as a line above the bar."""
        self._progress.update(self._task, completed=row["epoch"])
        write_line(self.console, epoch_line(row, self._max_epochs, self.console.width))

    def erase(self) -> None:
        """Remove the bar and show the cursor again."""
        self._progress.stop()
