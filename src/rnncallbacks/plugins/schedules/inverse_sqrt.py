"""Learning rate: raise the learning rate linearly, then lower it with the square root of time."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases import schedule_functions as schedules
from rnncallbacks.bases.schedule import LearningRateSchedule


@attrs.define(eq=False, kw_only=True)
class InverseSqrt(LearningRateSchedule):
    """Raise the learning rate linearly, then lower it with the square root of time.

    Formula and source: :func:`rnncallbacks.bases.schedule_functions.inverse_sqrt`.

    Options
    -------
    warmup_steps:
        Batches (or epochs) until the full learning rate.
    interval:
        Whether the schedule advances by "batch" or by "epoch".

    Example
    -------
    >>> InverseSqrt(warmup_steps=400).scale(0)
    0.0025
    """

    warmup_steps: int = attrs.field(validator=options.count())

    def scale(self, t: int) -> float:
        return schedules.inverse_sqrt(t, warmup_steps=self.warmup_steps)
