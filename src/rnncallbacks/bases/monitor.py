"""Improvement of a monitored column: the rule shared by plateau alarms, early stopping and reduce-on-plateau."""

from __future__ import annotations

import math
from numbers import Integral
from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import OptionError, closest

if TYPE_CHECKING:
    from rnncallbacks.core.batch import EpochSummary
    from rnncallbacks.core.run import Run


Mode = Literal["min", "max"]


def improved(
    value: float, best: float | None, *, mode: Mode = "min", min_delta: float = 0.0, rtol: float = 0.0
) -> bool:
    """Whether ``value`` beats ``best`` by more than a margin.

    The margin is ``min_delta + rtol * abs(best)``. It is never negative, so a metric below zero is judged like one
    above: ``value < best - margin`` when less is better, ``value > best + margin`` when more is.

    Parameters
    ----------
    value:
        The new value. One that is not finite never improves.
    best:
        The best value so far; None, or a value that is not finite, stands for none yet: any finite value beats it.
    mode:
        ``"min"`` when less is better (a loss), ``"max"`` when more is (an accuracy).
    min_delta:
        Absolute part of the margin, in the metric's unit, 0 or more.
    rtol:
        Relative part of the margin, as a share of ``abs(best)``, 0 or more.

    Raises
    ------
    OptionError
        The mode is neither of the two, or a margin is negative or not finite.

    Example
    -------
    >>> improved(0.8, 1.0)
    True
    >>> improved(-1.0, -1.0, rtol=0.01)
    False
    >>> improved(float("nan"), None)
    False
    """
    _check_margin(mode, min_delta, rtol)
    if not math.isfinite(value):
        return False
    if best is None or not math.isfinite(best):
        return True
    margin = min_delta + rtol * abs(best)
    return value < best - margin if mode == "min" else value > best + margin


@attrs.define(eq=False, kw_only=True)
class Monitor:
    """Follows one metric over epochs, and counts those since it last improved.

    Parameters
    ----------
    patience:
        How many epochs in a row may pass without improvement, 1 or more; the last of them exhausts it.
    mode, min_delta, rtol:
        What counts as an improvement: see :func:`improved`.

    Attributes
    ----------
    best:
        The best finite value so far, or None.
    best_epoch:
        The epoch of ``best``, or None.
    stale:
        Epochs since the last improvement, those with a value that is not finite included. Set it to 0 to give the
        metric a fresh patience and keep its best.

    Raises
    ------
    OptionError
        An option lies outside its range.

    Example
    -------
    >>> monitor = Monitor(patience=3)
    >>> [monitor.update(loss, epoch) for epoch, loss in enumerate([1.0, 0.5, 0.5, 0.6])]
    [True, True, False, False]
    >>> monitor.best, monitor.best_epoch, monitor.stale, monitor.exhausted
    (0.5, 1, 2, False)
    """

    patience: int
    mode: Mode = "min"
    min_delta: float = 0.0
    rtol: float = 0.0
    best: float | None = state_field(None)
    best_epoch: int | None = state_field(None)
    stale: int = state_field(0)

    def __attrs_post_init__(self) -> None:
        _check_margin(self.mode, self.min_delta, self.rtol)
        if isinstance(self.patience, bool) or not isinstance(self.patience, Integral) or self.patience < 1:
            raise OptionError(
                f"patience: expected a whole number of epochs, 1 or more, got {self.patience!r}",
                hint="patience=3 gives up after three epochs in a row without improvement",
            )

    def update(self, value: float, epoch: int) -> bool:
        """Take the metric's value at the end of an epoch; return whether it is the best so far by the margin."""
        if improved(value, self.best, mode=self.mode, min_delta=self.min_delta, rtol=self.rtol):
            self.best, self.best_epoch, self.stale = float(value), epoch, 0
            return True
        self.stale += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether ``patience`` epochs in a row, or more, have passed without improvement."""
        return self.stale >= self.patience


def _check_margin(mode: str, min_delta: float, rtol: float) -> None:
    if mode not in ("min", "max"):
        hint = closest(str(mode), ("min", "max")) or '"min" for a loss, "max" for an accuracy'
        raise OptionError(f'mode: expected "min" or "max", got {mode!r}', hint=hint)
    for name, value in (("min_delta", min_delta), ("rtol", rtol)):
        if not 0.0 <= value < math.inf:
            raise OptionError(
                f"{name}: expected a finite number, 0 or more, got {value!r}",
                hint="the margin by which a value must beat the best one; mode says in which direction",
            )


def watched_value(run: Run, summary: EpochSummary, column: str) -> float | None:
    """The epoch's value in a column; None in an epoch without one, if earlier ones had it or the run was stopped.

    The first value of a column that is not finite raises RNN403, once in a run whoever watches it.

    Raises
    ------
    DataError
        The column was never there, or holds no number.
    """
    if column not in summary.row and (run.stop_reason is not None or column in run.history.columns):
        return None
    value = summary.value(column)
    if not math.isfinite(value) and not any(a.code == "RNN403" and column in a.evidence for a in run.alarms):
        run.raise_alarm("RNN403", f"{column} is {value}", evidence={column: value})
    return value
