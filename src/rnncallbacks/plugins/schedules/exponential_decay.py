"""Learning rate: lower the learning rate by a factor each epoch or batch."""

from __future__ import annotations

from typing import Literal

import attrs

from rnncallbacks import options
from rnncallbacks.bases import schedule_functions as schedules
from rnncallbacks.bases.schedule import LearningRateSchedule


@attrs.define(eq=False, kw_only=True)
class ExponentialDecay(LearningRateSchedule):
    """Lower the learning rate by a factor each epoch or batch.

    Formula and source: :func:`rnncallbacks.bases.schedule_functions.exponential_decay`.

    Options
    -------
    factor:
        What each epoch (or batch) multiplies by, in (0, 1].
    interval:
        Whether the schedule advances by "batch" or by "epoch".

    Example
    -------
    >>> ExponentialDecay(factor=0.95).scale(0)
    1.0
    """

    factor: float = attrs.field(validator=options.number(above=0, at_most=1))
    interval: Literal["batch", "epoch"] = attrs.field(default="epoch", validator=options.one_of("batch", "epoch"))

    def scale(self, t: int) -> float:
        return schedules.exponential_decay(t, factor=self.factor)
