"""Base class of loggers: plugins that send a run to an experiment tracker."""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import RnnCallbacksError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from rnncallbacks.alarms.alarm import Alarm
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

logger = logging.getLogger("rnncallbacks")


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class RunLogger(ABC):
    """Base class of plugins that send a run to an experiment tracker.

    A plugin derives from this class and implements ``open``, ``write``, ``write_alarm`` and ``close``.

    For training batches, the values are ``batch/loss``, ``batch/gradient_norm`` (before clipping),
    ``batch/learning_rate`` and ``batch/`` with each name of ``run.log_batch``. For epochs, they are ``epoch/`` with
    each numeric column of the history, such as ``epoch/val_loss``. The step of both is the number of training batches.

    If a method raises an exception, the logging ends and the run continues: the exception is logged once, as a warning.
    In ``open``, errors of this library, such as a missing package or directory, are raised.

    Options
    -------
    every_steps:
        Log every n-th training batch, n = 1 or more.

    Example
    -------
    >>> from rnncallbacks import Run
    >>> class Printing(RunLogger):
    ...     def open(self, run):
    ...         print("open", dict(run.facts))
    ...     def write(self, run, values):
    ...         print(run.step, dict(values))
    ...     def write_alarm(self, run, alarm):
    ...         print(alarm)
    ...     def close(self, run):
    ...         print(run.outcome)
    >>> with Run(plugins=[Printing(every_steps=2)], facts={"size": 3}) as run:
    ...     for epoch in run.epochs(1):
    ...         for loss in run.batches([3.0, 2.0, 1.0]):
    ...             run.record(loss)
    ...         run.log(accuracy=0.5)
    open {'plugins': 'printing', 'printing.every_steps': 2, 'size': 3}
    1 {'batch/loss': 3.0}
    3 {'batch/loss': 1.0}
    3 {..., 'epoch/accuracy': 0.5}
    finished
    """

    first_rank_only: ClassVar[bool] = True

    every_steps: int = attrs.field(kw_only=True, default=1, validator=options.count())
    _is_open: bool = state_field(False, saved=False)
    _norm: float | None = state_field(None, saved=False)

    @abstractmethod
    def open(self, run: Run) -> None:
        """Begin to log: connect, and write ``run.facts``. ``run.resumed`` is whether the run resumes an earlier one."""

    @abstractmethod
    def write(self, run: Run, values: Mapping[str, float]) -> None:
        """Write the values of a batch, or of an epoch, at ``run.step``. They may be NaN or infinite."""

    @abstractmethod
    def write_alarm(self, run: Run, alarm: Alarm) -> None:
        """Write an alarm; ``str(alarm)`` is a text of several lines. It is called once for each code."""

    @abstractmethod
    def close(self, run: Run) -> None:
        """End the logging. ``run.outcome`` and ``run.diagnosis`` are complete."""

    def release(self) -> None:  # noqa: B027  (not every logger has something to release)
        """Release what :meth:`open` acquired. It is called last, also after an error in another method."""

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._is_open = True
        try:
            self.open(run)
        except RnnCallbacksError:
            self._is_open = False
            raise
        except Exception as error:
            self._give_up(run, error)
        for alarm in () if run.resumed else run.alarms:
            self._attempt(run, self.write_alarm, alarm)

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, grads: Gradients) -> None:
        self._norm = grads.norm if self._is_open and self._is_due(run) else None

    @hookimpl(trylast=True)
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if not self._is_open or batch.phase != "train" or not self._is_due(run):
            return
        values: dict[str, float] = {}
        if batch.loss is not None:
            values["batch/loss"] = batch.loss
        if self._norm is not None:
            values["batch/gradient_norm"] = self._norm
        if run.base_learning_rate is not None:
            values["batch/learning_rate"] = run.learning_rate
        for name, value in batch.logged.items():
            values[f"batch/{name}"] = value
        self._attempt(run, self.write, values)

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        numbers = {f"epoch/{name}": float(value) for name, value in summary.row.items() if not isinstance(value, str)}
        self._attempt(run, self.write, numbers)

    @hookimpl
    def on_alarm(self, run: Run, alarm: Alarm) -> None:
        if alarm.count == 1:
            self._attempt(run, self.write_alarm, alarm)

    @hookimpl(trylast=True)
    def on_fit_end(self, run: Run) -> None:
        self._attempt(run, self.close)
        self._is_open = False
        with contextlib.suppress(Exception):
            self.release()

    def _is_due(self, run: Run) -> bool:
        return (run.step - 1) % self.every_steps == 0

    def _attempt(self, run: Run, call: Callable[..., None], *arguments: Any) -> None:
        if not self._is_open:
            return
        try:
            call(run, *arguments)
        except Exception as error:
            self._give_up(run, error)

    def _give_up(self, run: Run, error: Exception) -> None:
        self._is_open = False
        name = run.plugins.name_of(self)
        logger.warning("%s: nothing more is logged, the run continues: %s", name, one_line(error))
