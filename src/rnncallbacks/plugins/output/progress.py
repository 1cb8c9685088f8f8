"""Progress on the standard output: a bar, one line for each epoch, and the diagnosis at the end."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.reporting.epoch_line import epoch_line
from rnncallbacks.reporting.terminal import show_diagnosis, terminal_console, write_line

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run
    from rnncallbacks.reporting.progress_bar import ProgressBar


@attrs.define(eq=False, kw_only=True)
class Progress:
    """Shows the run on the standard output: one line for each epoch, and the diagnosis when the run is over.

    On a terminal, a progress bar with the remaining time is shown below the lines during the run. In a pipe, a file or
    a notebook, or if rich is not installed (``rnncallbacks[cli]`` brings it), there are only the lines, without control
    codes. If the reader of a pipe closes it, the output ends and the run continues. The run itself logs alarms to the
    logger "rnncallbacks"; on a terminal they appear above the bar.

    The diagnosis lists the alarms and the checks that could not be made, and counts those that passed;
    ``print(run.diagnosis)`` lists them too.

    Options
    -------
    refresh:
        Shortest time between two updates of the bar, in seconds, above 0.
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
    _bar: ProgressBar | None = state_field(None, saved=False)
    _updated_at: float = state_field(0.0, saved=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        console = terminal_console()
        if console is not None:
            from rnncallbacks.reporting.progress_bar import ProgressBar

            self._bar = ProgressBar(console, run.max_epochs, len(run.history))

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        now = perf_counter()
        if self._bar is None or batch.phase != "train" or now - self._updated_at < self.refresh:
            return
        self._updated_at = now
        self._bar.show_batch(run.epoch, batch.index, batch.count, batch.loss)

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        if self._bar is not None:
            self._bar.finish_epoch(run.epoch)
        console = None if self._bar is None else self._bar.console
        width = None if console is None else console.width
        write_line(console, epoch_line(summary.row, run.max_epochs, width))

    # Last, because guards may raise alarms when the run is over.
    @hookimpl(trylast=True)
    def on_fit_end(self, run: Run) -> None:
        console = None if self._bar is None else self._bar.console
        if self._bar is not None:
            self._bar.erase()
        summary = self.summary and bool(run.diagnosis.lines())
        if run.stop_reason is not None:
            # The diagnosis below has the message of an alarm that stopped the run.
            shown_below = {f"{one.code} {one.message}": f"{one.code} {one.cause}" for one in run.diagnosis.alarms}
            reason = shown_below.get(run.stop_reason, run.stop_reason) if summary else run.stop_reason
            write_line(console, f"stopped: {reason}")
        if summary:
            show_diagnosis(console, run.diagnosis, list_passed=False)
