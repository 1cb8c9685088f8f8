"""Progress of a run on a terminal, in a notebook or in lines, and the diagnosis at the end."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.core.history_table import last_rows_table
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.reporting.epoch_line import batch_line, epoch_line
from rnncallbacks.reporting.notebook_progress import NotebookProgress, in_notebook
from rnncallbacks.reporting.terminal import show_diagnosis, terminal_console, write_line

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run
    from rnncallbacks.reporting.progress_bar import ProgressBar


LONGEST_SILENCE = 60.0
"""Seconds without a line after which a batch gets one, where there is no live display. Chosen by eye."""


@attrs.define(eq=False, kw_only=True)
class Progress:
    """Shows the run on the standard output: one line for each epoch, and the diagnosis when the run is over.

    Each line has the losses, the numbers of ``run.log``, the metrics of a trainer, and the time.

    On a terminal, a progress bar with the remaining time is shown below the lines during the run. In a notebook, one
    display has the bar and a table of the last epochs. In a pipe or a file, or if rich is not installed
    (``rnncallbacks[cli]`` installs it), there are only lines, without control codes. After a minute without a line, the
    next batch that ends gets one. If the reader of a pipe closes it, the output ends and the run continues.
    The run itself logs alarms to the logger "rnncallbacks"; on a terminal they appear above the bar.

    The diagnosis lists the alarms and the checks that could not be made, and counts those that passed;
    ``print(run.diagnosis)`` lists them too. It is not shown for a run that fails before anything was checked.

    Options
    -------
    refresh:
        Shortest time between two updates of the bar or display, in seconds, above 0.
    summary:
        Whether to show the diagnosis when the run is over.

    Example
    -------
    >>> Progress(refresh=0.5)
    Progress(refresh=0.5, summary=True)
    """

    first_rank_only: ClassVar[bool] = True

    refresh: float = attrs.field(default=0.1, validator=options.number(above=0))
    summary: bool = attrs.field(default=True, validator=options.flag)
    _live: ProgressBar | NotebookProgress | None = state_field(None, saved=False)
    _shown_at: float = state_field(0.0, saved=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._live = None
        self._shown_at = perf_counter()
        if in_notebook():
            self._live = NotebookProgress(run.max_epochs, len(run.history), last_rows_table)
        elif (console := terminal_console()) is not None:
            from rnncallbacks.reporting.progress_bar import ProgressBar

            self._live = ProgressBar(console, run.max_epochs, len(run.history))

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        now = perf_counter()
        if self._live is None:
            if now - self._shown_at >= LONGEST_SILENCE:
                self._shown_at = now
                self._write_batch(run, batch)
        elif batch.phase == "train" and now - self._shown_at >= self.refresh:
            self._shown_at = now
            self._live.show_batch(run.epoch, batch.index, batch.count, batch.loss)

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        if self._live is not None:
            self._live.show_epoch(summary.row)
        else:
            self._shown_at = perf_counter()
            write_line(None, epoch_line(summary.row, run.max_epochs))

    # Last, because guards may raise alarms when the run is over.
    @hookimpl(trylast=True)
    def on_fit_end(self, run: Run) -> None:
        console = None if self._live is None else self._live.console
        if self._live is not None:
            self._live.erase()
        summary = self.summary and _has_content(run)
        if run.stop_reason is not None:
            # The diagnosis below has the message of an alarm that stopped the run.
            shown_below = {f"{one.code} {one.message}": f"{one.code} {one.cause}" for one in run.diagnosis.alarms}
            reason = shown_below.get(run.stop_reason, run.stop_reason) if summary else run.stop_reason
            write_line(console, f"stopped: {reason}")
        if summary and isinstance(self._live, NotebookProgress):
            self._live.show_diagnosis(run.diagnosis)
        elif summary:
            show_diagnosis(console, run.diagnosis, list_passed=False)

    def _write_batch(self, run: Run, batch: Batch) -> None:
        summary = run.epoch_summary
        if summary is not None:  # always: a batch belongs to an epoch
            loss = summary.losses.get(batch.phase, batch.loss)
            position = run.epoch, run.max_epochs, batch.phase, batch.index, batch.count
            write_line(None, batch_line(*position, loss, summary.elapsed))


def _has_content(run: Run) -> bool:
    """Whether the diagnosis says something. If the run failed before any check, it would only hide the error."""
    diagnosis = run.diagnosis
    if run.outcome is not None and run.outcome.ending == "failed":
        return bool(diagnosis.alarms or diagnosis.passed or diagnosis.cannot_tell)
    return bool(diagnosis.lines())
