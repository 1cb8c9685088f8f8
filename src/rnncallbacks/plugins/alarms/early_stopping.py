"""Early stopping: a plateau alarm that stops the run and restores the best parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.plugins.alarms.plateau_alarm import PlateauAlarm

if TYPE_CHECKING:
    from rnncallbacks.core.batch import EpochSummary
    from rnncallbacks.core.run import Run

_OPTIONAL_NUMBER = attrs.validators.optional(options.number())


@attrs.define(eq=False)
class EarlyStopping(PlateauAlarm):
    """Stops the run after ``patience`` consecutive epochs without improvement, and restores the best parameters.

    It is a :class:`~rnncallbacks.plugins.alarms.plateau_alarm.PlateauAlarm` with other defaults: ``monitor`` is
    "val_loss", ``action`` is "stop", and ``restore_best`` is True.

    Options
    -------
    start_from_epoch:
        The first epoch that counts, 1 or more. Values of earlier epochs are neither improvements nor failures.
    baseline:
        A value that has to be beaten, in the unit of the column: until then, each epoch counts as one without
        improvement. None for no baseline.
    stopping_threshold:
        A value that is good enough: the run stops at the end of the epoch that reaches it. None for no threshold.

    Source: Prechelt, "Early stopping - but when?" (1998).

    Example
    -------
    >>> EarlyStopping(patience=3, stopping_threshold=0.1).action
    'stop'
    """

    monitor: str = attrs.field(default="val_loss", validator=options.column)
    action: Literal["warn", "stop", "raise"] = attrs.field(
        kw_only=True, default="stop", validator=options.one_of("warn", "stop", "raise")
    )
    restore_best: bool = attrs.field(kw_only=True, default=True, validator=options.flag)
    start_from_epoch: int = attrs.field(kw_only=True, default=1, validator=options.count())
    baseline: float | None = attrs.field(kw_only=True, default=None, validator=_OPTIONAL_NUMBER)
    stopping_threshold: float | None = attrs.field(kw_only=True, default=None, validator=_OPTIONAL_NUMBER)

    @hookimpl
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        if summary.epoch < self.start_from_epoch:
            return
        super().on_epoch_end(run, summary)
        value = summary.row.get(self.monitor)
        threshold = self.stopping_threshold
        if threshold is not None and isinstance(value, int | float) and self._reaches(value, threshold):
            run.stop(f"{run.plugins.name_of(self)}: {self.monitor} {value:.6g} reached the threshold {threshold:g}")

    def update(self, value: float, epoch: int) -> bool:
        stale = self.stale_epochs
        improved = super().update(value, epoch)
        if (
            improved
            and self.baseline is not None
            and (value == self.baseline or not self._reaches(value, self.baseline))
        ):
            self.stale_epochs = stale + 1
        return improved

    def _reaches(self, value: float, goal: float) -> bool:
        return value <= goal if self.mode == "min" else value >= goal
