"""Base of the plugins that watch one history column and act when it stops improving."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.plugin_state import state_field

if TYPE_CHECKING:
    from rnncallbacks.core.batch import EpochSummary
    from rnncallbacks.core.run import Run


Mode = Literal["min", "max"]


@attrs.define(eq=False)
class ColumnMonitor:
    r"""Monitors one history column, and counts the epochs since it last improved.

    A value :math:`v` improves on the best value so far, :math:`b`, when it beats it by more than a margin:

    .. math::

        m &= \mathrm{min\_delta} + \mathrm{rtol} \cdot |b| \\
        v &< b - m \quad \text{in mode min}, \qquad v > b + m \quad \text{in mode max}

    The margin is never negative, so the rule also holds for metrics below zero. A value that is not finite never
    improves; the first finite value always does. Values within the margin do not move :math:`b`, so a slow trend adds
    up until it exceeds the margin.

    A plugin derives from this class. Its ``on_epoch_end`` passes the result of :meth:`value_of` to :meth:`update`.

    Options
    -------
    monitor:
        Name of the history column.
    patience:
        Number of consecutive epochs without improvement after which the plugin acts, 1 or more.
    mode:
        "min" if lower is better, as for a loss; "max" if higher is better, as for an accuracy.
    min_delta:
        Absolute part of the margin, in the unit of the column, 0 or more.
    rtol:
        Relative part of the margin, as a fraction of the absolute value of the best value, 0 or more.

    Attributes
    ----------
    best:
        The best finite value so far, or None.
    best_epoch:
        The epoch of ``best``, or None.
    stale_epochs:
        Number of epochs since the last improvement, including epochs whose value is not finite. Set it to 0 to start
        the patience again and keep ``best``.

    Example
    -------
    >>> monitor = ColumnMonitor(patience=3)
    >>> [monitor.update(loss, epoch) for epoch, loss in enumerate([1.0, 0.5, 0.5, 0.6], start=1)]
    [True, True, False, False]
    >>> monitor.best, monitor.best_epoch, monitor.stale_epochs, monitor.exhausted
    (0.5, 2, 2, False)
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN403",)

    monitor: str = attrs.field(default="val_loss", validator=options.column)
    patience: int = attrs.field(kw_only=True, default=10, validator=options.count())
    mode: Mode = attrs.field(kw_only=True, default="min", validator=options.one_of("min", "max"))
    min_delta: float = attrs.field(kw_only=True, default=0.0, validator=options.number(at_least=0))
    rtol: float = attrs.field(kw_only=True, default=0.0, validator=options.number(at_least=0))
    best: float | None = state_field(None)
    best_epoch: int | None = state_field(None)
    stale_epochs: int = state_field(0)

    def improves(self, value: float) -> bool:
        """Whether ``value`` beats the best value so far by more than the margin.

        Example
        -------
        >>> monitor = ColumnMonitor(rtol=0.01)
        >>> monitor.improves(float("nan")), monitor.improves(-1.0)
        (False, True)
        >>> monitor.update(-1.0, epoch=1)
        True
        >>> monitor.improves(-1.0), monitor.improves(-1.1)
        (False, True)
        """
        if not math.isfinite(value):
            return False
        if self.best is None:
            return True
        margin = self.min_delta + self.rtol * abs(self.best)
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def update(self, value: float, epoch: int) -> bool:
        """Record the value of an epoch; return whether it is the new best."""
        if self.improves(value):
            self.best, self.best_epoch, self.stale_epochs = float(value), epoch, 0
            return True
        self.stale_epochs += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether at least ``patience`` consecutive epochs have passed without improvement."""
        return self.stale_epochs >= self.patience

    def value_of(self, run: Run, summary: EpochSummary) -> float | None:
        """The value of the epoch in the monitored column, or None if the epoch has no value.

        It is that of :func:`column_value`. The first value of the column that is not finite raises RNN403, once in a
        run, however many plugins monitor the column.

        Raises
        ------
        DataError
            Neither this epoch nor an earlier one has the column, or its value is not a number.
        """
        column = self.monitor
        value = column_value(run, summary, column)
        if value is None or math.isfinite(value):
            return value
        if not any(alarm.code == "RNN403" and column in alarm.evidence for alarm in run.alarms):
            run.raise_alarm("RNN403", f"{column} is {value}", evidence={column: value})
        return value


def column_value(run: Run, summary: EpochSummary, column: str) -> float | None:
    """The number in one column of the epoch that ends, or None if it has none. Call it in ``on_epoch_end``.

    An epoch may lack a column that earlier epochs had, and any column if the run was stopped in it: a stopped run skips
    its validation. ``summary.value(column)`` raises an error there.

    Raises
    ------
    DataError
        Neither this epoch nor an earlier one has the column, or its value is not a number.

    Example
    -------
    >>> from rnncallbacks import Run, hookimpl
    >>> class Watch:
    ...     @hookimpl
    ...     def on_epoch_end(self, run, summary):
    ...         print(column_value(run, summary, "accuracy"))
    >>> with Run(plugins=[Watch()]) as run:
    ...     for epoch in run.epochs(3):
    ...         if epoch != 2:
    ...             run.log(accuracy=epoch / 4)
    0.25
    None
    0.75
    """
    if column not in summary.row and (run.stop_reason is not None or column in run.history.columns):
        return None
    return summary.value(column)
