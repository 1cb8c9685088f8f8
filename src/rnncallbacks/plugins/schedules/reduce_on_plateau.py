"""Learning rate: lower it when a metric no longer improves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs

from rnncallbacks import options
from rnncallbacks.bases.monitor import ColumnMonitor
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field

if TYPE_CHECKING:
    from rnncallbacks.core.batch import EpochSummary
    from rnncallbacks.core.run import Run

logger = logging.getLogger("rnncallbacks")


@attrs.define(eq=False)
class ReduceOnPlateau(ColumnMonitor):
    r"""Multiplies its learning-rate scale by ``factor`` after ``patience`` consecutive epochs without improvement.

    .. math:: s \leftarrow \max(\mathrm{factor} \cdot s, \mathrm{min\_scale})

    :class:`~rnncallbacks.bases.ColumnMonitor` defines an improvement. The first value that is not finite raises
    RNN403. Each reduction is logged, starts the patience again and keeps the best value.

    Options
    -------
    factor:
        Factor of each reduction, in (0, 1).
    min_scale:
        Lower bound of the scale, in [0, 1].
    cooldown:
        Number of epochs after a reduction that do not count as epochs without improvement, 0 or more.

    Example
    -------
    >>> ReduceOnPlateau(monitor="val_loss", patience=5).factor
    0.1
    """

    factor: float = attrs.field(kw_only=True, default=0.1, validator=options.number(above=0, below=1))
    min_scale: float = attrs.field(kw_only=True, default=0.0, validator=options.number(at_least=0, at_most=1))
    cooldown: int = attrs.field(kw_only=True, default=0, validator=options.count(at_least=0))
    _scale: float = state_field(1.0)
    _cooldown_left: int = state_field(0)

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        run.scale_learning_rate(run.plugins.name_of(self), self._scale)

    @hookimpl
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        value = self.value_of(run, summary)
        if value is None:
            return
        self.update(value, summary.epoch)
        if self._cooldown_left:
            self._cooldown_left -= 1
            self.stale_epochs = 0
        elif self.exhausted:
            self._reduce(run, value)

    def _reduce(self, run: Run, value: float) -> None:
        scale = max(self.factor * self._scale, self.min_scale)
        if scale < self._scale:
            name, since = run.plugins.name_of(self), f"{self.monitor} {value:.6g} after {self.stale_epochs} epochs"
            logger.info("%s: scale %.3g in place of %.3g from the next epoch: %s", name, scale, self._scale, since)
        self._scale, self._cooldown_left, self.stale_epochs = scale, self.cooldown, 0
