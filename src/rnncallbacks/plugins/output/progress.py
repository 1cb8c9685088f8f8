"""Terminal: a progress bar with the time left, a line an epoch, and the diagnosis at the end."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import PluginError

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

WORDS = {
    "learning_rate": ("lr", "{:.2e}"),
    "gradient_norm": ("grad norm", "{:.3g}"),
    "clipped_fraction": ("clipped", "{:.0%}"),
}
"""How columns other than losses are shown."""
STYLES = {"error": "bold red", "warning": "bold yellow", "info": "bold"}


def epoch_line(row: dict[str, Any], max_epochs: int | None, seconds: float) -> str:
    """One line for an epoch: losses by phase, learning rate, gradient norm before clipping, share of batches clipped,
    time.

    >>> epoch_line({"epoch": 3, "learning_rate": 2e-3, "train_loss": 1.5, "val_loss": 1.75}, 20, 2.0)
    'epoch  3/20  train 1.5000  val 1.7500  lr 2.00e-03  2.0s'
    """
    total = "" if max_epochs is None else f"/{max_epochs}"
    width = 0 if max_epochs is None else len(str(max_epochs))
    parts = [f"epoch {row['epoch']:>{width}}{total}"]
    parts += [
        f"{name.removesuffix('_loss')} {value:.4f}"
        for name, value in row.items()
        if name.endswith("_loss") and not isinstance(value, str)
    ]
    parts += [f"{word} {form.format(row[name])}" for name, (word, form) in WORDS.items() if name in row]
    return "  ".join([*parts, f"{seconds:.1f}s"])


@attrs.define(eq=False, kw_only=True)
class Progress:
    """Shows the run in the terminal; where the output is no terminal, there is no bar.

    Alarms are logged to the logger "rnncallbacks" by the run itself and appear above the bar. When the run is over, its
    diagnosis follows: what fired, what passed, and what was not checked and why. Needs ``rnncallbacks[cli]``.

    Options
    -------
    refresh:
        Least seconds between two redraws of the bar, above 0.
    summary:
        Whether to show the diagnosis when the run is over.

    Raises
    ------
    PluginError
        rich is not installed.

    Example
    -------
    >>> Progress(refresh=0.5)
    Progress(refresh=0.5, summary=True)
    """

    refresh: float = attrs.field(default=0.1, validator=options.number(above=0))
    summary: bool = attrs.field(default=True, validator=options.flag)
    _bar: Any = state_field(None, saved=False)
    _drawn: float = state_field(0.0, saved=False)

    def __attrs_post_init__(self) -> None:
        try:
            import rich.progress  # noqa: F401
        except ImportError:
            raise PluginError("progress needs rich", hint="pip install 'rnncallbacks[cli]'") from None

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        console = Console(highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar.add_task("starting", total=run.max_epochs, completed=run.epoch)
        self._bar.start()

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        now = perf_counter()
        if batch.phase != "train" or now - self._drawn < self.refresh:
            return
        self._drawn = now
        loss = "" if batch.loss is None else f"  loss {batch.loss:.4f}"
        of = "" if batch.count is None else f"/{batch.count}"
        self._bar.update(
            self._bar.task_ids[0],
            description=f"epoch {run.epoch}  batch {batch.index}{of}{loss}",
            completed=run.epoch - 1 + (batch.index / batch.count if batch.count else 0),
        )

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        self._bar.update(self._bar.task_ids[0], completed=run.epoch)
        self._bar.console.print(epoch_line(summary.row, run.max_epochs, summary.seconds), soft_wrap=True, markup=False)

    # When all others are done: guards may find something even at the end.
    @hookimpl(trylast=True)
    def on_fit_end(self, run: Run) -> None:
        if self._bar is None:
            return
        self._bar.stop()
        console, found = self._bar.console, run.diagnosis
        summary = self.summary and (found.alarms or found.passed or found.not_checked)
        if run.stop_reason is not None:
            # An alarm that stopped the run is told in full below.
            told = {f"{alarm.code} {alarm.message}": alarm.code for alarm in found.alarms} if summary else {}
            reason = told.get(run.stop_reason, run.stop_reason)
            console.print(f"stopped: {reason}", soft_wrap=True, markup=False)
        if summary:
            styles = {cause.headline: STYLES[cause.severity] for cause in found.causes}
            for line in str(found).splitlines():
                console.print(line, style=styles.get(line, ""), soft_wrap=True, markup=False)
