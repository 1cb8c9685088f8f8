"""Learning rate: begin with small updates: the learning rate rises linearly to its full height."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases import schedule_functions as schedules
from rnncallbacks.bases.schedule import LearningRateSchedule


@attrs.define(eq=False, kw_only=True)
class Warmup(LearningRateSchedule):
    """Begin with small updates: the learning rate rises linearly to its full height.

    Formula and source: :func:`rnncallbacks.bases.schedule_functions.warmup`.

    Options
    -------
    steps:
        Batches (or epochs) until the full learning rate.
    start:
        The scale at which the rise begins, in [0, 1].
    interval:
        Whether the schedule advances by "batch" or by "epoch".

    Example
    -------
    >>> Warmup(steps=200).scale(0)
    0.005
    """

    steps: int = attrs.field(validator=options.count())
    start: float = attrs.field(default=0.0, validator=options.number(at_least=0, at_most=1))

    def scale(self, t: int) -> float:
        return schedules.warmup(t, steps=self.steps, start=self.start)
