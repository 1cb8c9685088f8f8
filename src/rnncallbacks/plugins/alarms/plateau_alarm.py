"""Alarm: a metric no longer improves. It can stop the run and restore the best parameters."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from rnncallbacks import options
from rnncallbacks.alarms.alarm import Action
from rnncallbacks.arrays import Array, named_arrays
from rnncallbacks.bases.monitor import Mode, Monitor, watched_value
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import RunStateError

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

logger = logging.getLogger("rnncallbacks")
REBINDING = "a script whose update returns new arrays must assign run.params = params after it"


def _monitor_of(plugin: PlateauAlarm) -> Monitor:
    return Monitor(patience=plugin.patience, mode=plugin.mode, min_delta=plugin.min_delta, rtol=plugin.rtol)


@attrs.define(eq=False, kw_only=True)
class PlateauAlarm:
    """Raises RNN601 after ``patience`` epochs in a row without improvement, and again only after a new best.

    What counts as an improvement: :func:`rnncallbacks.bases.monitor.improved`. A value that is not finite is none, and
    raises RNN403 the first time. A run that resumes with its patience used up, and ``action`` "stop", stops at once.

    Options
    -------
    monitor:
        The history column to watch.
    patience:
        Epochs in a row without improvement until the alarm, 1 or more.
    min_delta:
        An improvement must be larger than this, in the metric's unit.
    rtol:
        And larger than this share of the best value's size.
    mode:
        "min" if lower is better, "max" if higher is.
    action:
        "warn" goes on, "stop" ends the run after this epoch, "raise" ends it with an error.
    restore_best:
        At the end of the run, put back the parameters of the best epoch. Needs ``Run(params)``, and ``run.params =``
        after each update in a script whose update returns new arrays.

    Example
    -------
    >>> PlateauAlarm(monitor="val_loss", patience=5, min_delta=0.01).action
    'warn'
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN403", "RNN601")

    monitor: str = attrs.field(default="train_loss", validator=options.column)
    patience: int = attrs.field(default=10, validator=options.count())
    min_delta: float = attrs.field(default=0.0, validator=options.number(at_least=0))
    rtol: float = attrs.field(default=0.0, validator=options.number(at_least=0))
    mode: Mode = attrs.field(default="min", validator=options.one_of("min", "max"))
    action: Action = attrs.field(default="warn", validator=options.one_of("warn", "stop", "raise"))
    restore_best: bool = attrs.field(default=False, validator=options.flag)
    _judge: Monitor = state_field(attrs.Factory(_monitor_of, takes_self=True))
    _best_params: dict[str, Array] = state_field(factory=dict)
    _judged_params: dict[str, Array] = state_field(factory=dict)
    _first_params: dict[str, Array] = state_field(factory=dict)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if self.restore_best and run.params is None:
            raise RunStateError(
                "restore_best: the run does not know the parameters",
                hint="pass them to Run(params), or set restore_best=False",
            )
        if run.epoch == 0:
            self._first_params = _copies(run.params) if self.restore_best else {}
        elif self.action == "stop" and self._judge.exhausted:
            run.stop(f"RNN601 {self.monitor} had not improved for {self._judge.stale} epochs when the run resumed")

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        # A script that validates before it trains has changed the parameters by the end of the epoch.
        if (
            self.restore_best
            and batch.index == 1
            and batch.phase != "train"
            and self.monitor.startswith(f"{batch.phase}_")
        ):
            self._judged_params = _copies(run.params)

    @hookimpl
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        value = watched_value(run, summary, self.monitor)
        if value is None:
            return
        if self._judge.update(value, summary.epoch):
            if self.restore_best:
                self._keep_params(run)
        elif self._judge.stale == self.patience:  # not above it: one plateau is one alarm
            self._alarm(run, value)
        self._judged_params = {}

    @hookimpl
    def on_fit_end(self, run: Run) -> None:
        if not self._best_params:
            return
        if self._judge.stale and run.step and self._never_moved(named_arrays(run.params, "params")):
            logger.warning("restore_best: run.params never changed in this run; %s", REBINDING)
        for name, array in named_arrays(run.params, "params").items():
            array[...] = self._best_params[name]

    def _alarm(self, run: Run, value: float) -> None:
        best, epoch = self._judge.best, self._judge.best_epoch
        evidence: dict[str, float | int | str] = {self.monitor: value, "epochs_without_improvement": self._judge.stale}
        since = f"for {self._judge.stale} epochs, and never had a finite value"
        if best is not None and epoch is not None:
            evidence |= {"best": best, "best_epoch": epoch}
            since = f"for {self._judge.stale} epochs: {value:.6g}, best {best:.6g} in epoch {epoch}"
        run.raise_alarm("RNN601", f"{self.monitor} has not improved {since}", evidence=evidence, action=self.action)

    def _keep_params(self, run: Run) -> None:
        params = self._judged_params or _copies(run.params)
        if self._best_params and self._never_moved(params):
            raise RunStateError(
                f"restore_best: {self.monitor} improved, but run.params are still the numbers that the run began with",
                hint=REBINDING,
            )
        self._best_params = params

    def _never_moved(self, params: dict[str, Array]) -> bool:
        return all(np.array_equal(array, self._first_params[name]) for name, array in params.items())


def _copies(params: Any) -> dict[str, Array]:
    return {name: array.copy() for name, array in named_arrays(params, "params").items()}
