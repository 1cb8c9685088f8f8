"""Output: the values of a history column for a trial of Optuna, which may prune the run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import attrs

from rnncallbacks import options
from rnncallbacks.bases.monitor import Mode, column_value
from rnncallbacks.bases.optional_packages import import_extra
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import OptionError, short_repr

if TYPE_CHECKING:
    from rnncallbacks.core.batch import EpochSummary
    from rnncallbacks.core.run import Run


@runtime_checkable
class ReportingTrial(Protocol):
    """The part of an Optuna trial that the plugin uses."""

    number: int

    def report(self, value: float, step: int) -> None: ...

    def should_prune(self) -> bool: ...

    def set_user_attr(self, key: str, value: Any) -> None: ...


def _trial(owner: Optuna, field: attrs.Attribute[ReportingTrial], value: Any) -> None:
    if not all(hasattr(value, name) for name in ("number", "report", "should_prune", "set_user_attr")):
        raise OptionError(
            f"Optuna: trial: expected the trial of an objective, got {short_repr(value)}",
            hint="make the plugin in the objective: def objective(trial): ... Optuna(trial) ...",
        )


@attrs.define(eq=False)
class Optuna:
    """Reports a history column to an Optuna trial after each epoch, and stops the run if the study prunes the trial.

    The objective returns :meth:`result`. A trial does not fail if an alarm or early stopping ended its run: a run with
    a value has a result, and a run without one is pruned. The trial gets the user attributes ``outcome`` and
    ``alarms``. The run gets the fact ``trial``, the number of the trial.

    Several processes can run trials at the same time if they share an Optuna storage, such as a journal file. The
    plugin needs the extra ``optuna``. It costs nothing per batch.

    Options
    -------
    trial:
        The trial, an argument of the objective.
    monitor:
        Name of the history column.
    mode:
        "min" if lower is better, as for a loss; "max" if higher is better. It must match the direction of the study.
    value:
        The result of a run: "best", its best value, or "last", the value of its last epoch.

    Raises
    ------
    OptionError
        ``trial`` is no trial, or ``mode`` is not the direction of its study.

    Example
    -------
    >>> class Trial:  # in a script, Optuna's own
    ...     number = 7
    ...     def report(self, value, step):
    ...         print(f"epoch {step}: {value}")
    ...     def should_prune(self):
    ...         return False
    ...     def set_user_attr(self, name, value):
    ...         print(name, value)
    >>> from rnncallbacks import Run
    >>> pruning = Optuna(Trial(), monitor="val_error")
    >>> with Run(plugins=[pruning]) as run:
    ...     for epoch in run.epochs(2):
    ...         run.log(val_error=epoch / 4)
    epoch 1: 0.25
    epoch 2: 0.5
    outcome finished
    alarms []
    >>> pruning.result(run)
    0.25
    """

    first_rank_only: ClassVar[bool] = True

    trial: ReportingTrial = attrs.field(validator=_trial)
    monitor: str = attrs.field(kw_only=True, default="val_loss", validator=options.column)
    mode: Mode = attrs.field(kw_only=True, default="min", validator=options.one_of("min", "max"))
    value: Literal["best", "last"] = attrs.field(kw_only=True, default="best", validator=options.one_of("best", "last"))
    _pruned: bool = state_field(False)
    _values: list[float] = state_field(factory=list)

    def __attrs_post_init__(self) -> None:
        study = getattr(self.trial, "study", None)  # a FixedTrial has none
        direction = "" if study is None else study.direction.name.lower()
        needed = {"minimize": "min", "maximize": "max"}.get(direction, self.mode)
        if needed != self.mode:
            raise OptionError(
                f"Optuna: mode: expected {needed!r}, as the study is to {direction}, got {self.mode!r}",
                hint='optuna.create_study(direction="maximize") is for mode="max", and "minimize" for mode="min"',
            )

    @hookimpl(tryfirst=True)
    def on_fit_start(self, run: Run) -> None:
        run.facts["trial"] = self.trial.number

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        value = column_value(run, summary, self.monitor)
        if value is None:
            return
        if math.isfinite(value):
            self._values.append(value)
        self.trial.report(value, summary.epoch)
        if self.trial.should_prune() and run.stop_reason is None:
            self._pruned = True
            run.stop(f"pruned after epoch {summary.epoch}: {self.monitor} {value:.6g} is worse than in other trials")

    @hookimpl(trylast=True)
    def on_fit_end(self, run: Run) -> None:
        self.trial.set_user_attr("outcome", str(run.outcome))
        self.trial.set_user_attr("alarms", [alarm.code for alarm in run.alarms])

    def result(self, run: Run) -> float:
        """The value of a run that has ended, for the objective to return.

        Raises
        ------
        optuna.TrialPruned
            The study pruned the run, or it ended before the column had a finite value.
        """
        if self._pruned or not self._values:
            pruned: type[Exception] = import_extra("optuna", "the plugin optuna", "optuna").TrialPruned
            raise pruned(str(run.outcome))
        if self.value == "last":
            return self._values[-1]
        return min(self._values) if self.mode == "min" else max(self._values)
