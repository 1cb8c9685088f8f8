"""Learning rate: lower it when a metric no longer improves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from rnncallbacks import options
from rnncallbacks.bases.monitor import Mode, Monitor, watched_value
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field

if TYPE_CHECKING:
    from rnncallbacks.core.batch import EpochSummary
    from rnncallbacks.core.run import Run


def _monitor_of(plugin: ReduceOnPlateau) -> Monitor:
    return Monitor(patience=plugin.patience, mode=plugin.mode, min_delta=plugin.min_delta, rtol=plugin.rtol)


@attrs.define(eq=False, kw_only=True)
class ReduceOnPlateau:
    r"""Multiplies its learning-rate scale by ``factor`` after ``patience`` epochs without improvement.

    .. math:: s \leftarrow \max(\mathrm{factor} \cdot s, \mathrm{min\_scale})

    What counts as an improvement: :func:`rnncallbacks.bases.monitor.improved`. A value that is not finite is none, and
    raises RNN403 the first time. The count of epochs begins anew after each cut.

    Options
    -------
    monitor:
        The history column to watch.
    factor:
        What each cut multiplies by, above 0 and below 1.
    patience:
        Epochs in a row without improvement until a cut, 1 or more.
    min_delta:
        An improvement must be larger than this, in the metric's unit.
    rtol:
        And larger than this share of the best value's size.
    mode:
        "min" if lower is better, "max" if higher is.
    min_scale:
        The scale never falls below this, in [0, 1].

    Example
    -------
    >>> ReduceOnPlateau(monitor="val_loss", patience=5).factor
    0.1
    """

    monitor: str = attrs.field(default="val_loss", validator=options.column)
    factor: float = attrs.field(default=0.1, validator=options.number(above=0, below=1))
    patience: int = attrs.field(default=10, validator=options.count())
    min_delta: float = attrs.field(default=0.0, validator=options.number(at_least=0))
    rtol: float = attrs.field(default=0.0, validator=options.number(at_least=0))
    mode: Mode = attrs.field(default="min", validator=options.one_of("min", "max"))
    min_scale: float = attrs.field(default=0.0, validator=options.number(at_least=0, at_most=1))
    _scale: float = state_field(1.0)
    _judge: Monitor = state_field(attrs.Factory(_monitor_of, takes_self=True))

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        run.scale_learning_rate(run.plugins.name_of(self), self._scale)

    @hookimpl
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        value = watched_value(run, summary, self.monitor)
        if value is None:
            return
        self._judge.update(value, summary.epoch)
        if self._judge.exhausted:
            self._scale = max(self.factor * self._scale, self.min_scale)
            self._judge.stale = 0
