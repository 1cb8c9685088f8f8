"""Alarm: a monitored column has stopped improving. It can stop the run and restore the best parameters."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs
import numpy as np

from rnncallbacks import options
from rnncallbacks.arrays.containers import Array, named_arrays, named_shapes
from rnncallbacks.bases.monitor import ColumnMonitor
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import RunStateError

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

logger = logging.getLogger("rnncallbacks")
ASSIGN_PARAMS = "if the update returns new arrays, assign run.params = params after each update"


@attrs.define(eq=False)
class PlateauAlarm(ColumnMonitor):
    """Raises RNN601 after ``patience`` consecutive epochs without improvement, and again only after a new best value.

    :class:`~rnncallbacks.bases.ColumnMonitor` defines an improvement. The first value that is not finite raises
    RNN403. With ``action`` "stop", a run that resumes with its patience exhausted stops at once. A repair that takes
    the parameters back starts the patience again.

    Options
    -------
    action:
        "warn" continues, "stop" ends the run after this epoch, "raise" ends it with an error.
    restore_best:
        Whether to restore the parameters of the best epoch at the end of the run. Needs ``Run(params)``; a script whose
        update returns new arrays must also assign ``run.params`` after each update.

    Example
    -------
    >>> PlateauAlarm(monitor="val_loss", patience=5, min_delta=0.01).action
    'warn'
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN403", "RNN601")

    monitor: str = attrs.field(default="train_loss", validator=options.column)
    action: Literal["warn", "stop", "raise"] = attrs.field(
        kw_only=True, default="warn", validator=options.one_of("warn", "stop", "raise")
    )
    restore_best: bool = attrs.field(kw_only=True, default=False, validator=options.flag)
    _repairs: int = state_field(0)
    _best_params: dict[str, Array] = state_field(factory=dict)
    _evaluated_params: dict[str, Array] = state_field(factory=dict)
    _first_params: dict[str, Array] = state_field(factory=dict)

    def check_state(self, state: Mapping[str, Any], params: Any) -> None:
        """Refuse the best parameters of a checkpoint if they are those of another model.

        Raises
        ------
        ValueError
            The names or the shapes differ.
        """
        here, best = named_shapes(params, "params"), named_shapes(state["_best_params"])
        if best and best != here:
            raise ValueError(f"the best parameters are {best}, those of the run {here}")

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if self.restore_best and run.params is None:
            raise RunStateError(
                "restore_best: expected a run with parameters, got Run() without params",
                hint="pass the parameters to Run(params), or set restore_best=False",
            )
        if run.epoch == 0 and self.restore_best:
            self._first_params = _copies(run.params)
        if self.exhausted and self.action == "stop":
            reason = f"RNN601 {self.monitor} had not improved for {self.stale_epochs} epochs when the run resumed"
            run.stop(reason, code="RNN601")

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        # If validation comes before training, the parameters at the end of the epoch are not those of the value.
        if (
            self.restore_best
            and batch.index == 1
            and batch.phase != "train"
            and self.monitor.startswith(f"{batch.phase}_")
        ):
            self._evaluated_params = _copies(run.params)

    @hookimpl
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        value = self.value_of(run, summary)
        if value is None:
            return
        self._restart_after_repair(run)
        if self.update(value, summary.epoch) and self.restore_best:
            self._keep_params(run)
        if self.stale_epochs == self.patience:  # equality, so that each plateau raises one alarm
            self._alarm(run, value)
        self._evaluated_params = {}

    @hookimpl
    def on_fit_end(self, run: Run) -> None:
        if not self._best_params:
            return
        unchanged = self.stale_epochs and run.step and self._are_initial(named_arrays(run.params, "params"))
        if unchanged and not run.diagnosis.repairs:
            logger.warning("restore_best: run.params never changed in this run; %s", ASSIGN_PARAMS)
        for name, array in named_arrays(run.params, "params").items():
            array[...] = self._best_params[name]

    def _restart_after_repair(self, run: Run) -> None:
        """Start the patience again if a repair restored earlier parameters: they need the same epochs again."""
        repairs = run.diagnosis.repairs[self._repairs :]
        self._repairs += len(repairs)
        if any(repair.code != "RNN403" for repair in repairs):  # RNN403 may only have taken a batch out
            self.stale_epochs = 0

    def _alarm(self, run: Run, value: float) -> None:
        best, epoch = self.best, self.best_epoch
        evidence: dict[str, float | int | str] = {self.monitor: value, "epochs_without_improvement": self.stale_epochs}
        since = f"for {self.stale_epochs} epochs, and has had no finite value"
        if best is not None and epoch is not None:
            evidence |= {"best": best, "best_epoch": epoch}
            since = f"for {self.stale_epochs} epochs: {value:.6g}, best {best:.6g} in epoch {epoch}"
        run.raise_alarm("RNN601", f"{self.monitor} has not improved {since}", evidence=evidence, action=self.action)

    def _keep_params(self, run: Run) -> None:
        params = self._evaluated_params or _copies(run.params)
        # After a repair, the parameters may be the initial ones again.
        if self._best_params and not run.diagnosis.repairs and self._are_initial(params):
            raise RunStateError(
                f"restore_best: {self.monitor} improved, but run.params still equals the initial parameters",
                hint=ASSIGN_PARAMS,
            )
        self._best_params = params

    def _are_initial(self, params: dict[str, Array]) -> bool:
        return all(np.array_equal(array, self._first_params[name]) for name, array in params.items())


def _copies(params: Any) -> dict[str, Array]:
    return {name: array.copy() for name, array in named_arrays(params, "params").items()}
