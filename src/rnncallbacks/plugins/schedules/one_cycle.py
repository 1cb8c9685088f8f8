"""Learning rate: raise the learning rate to its full height, then lower it to next to nothing."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases import schedule_functions as schedules
from rnncallbacks.bases.schedule import LearningRateSchedule


@attrs.define(eq=False, kw_only=True)
class OneCycle(LearningRateSchedule):
    """Raise the learning rate to its full height, then lower it to next to nothing.

    Formula and source: :func:`rnncallbacks.bases.schedule_functions.one_cycle`.

    Options
    -------
    steps:
        Batches (or epochs) of the whole cycle.
    pct_start:
        Share of the cycle that rises, in [0, 1).
    div_factor:
        The cycle begins at 1 / div_factor, at least 1.
    final_div_factor:
        It ends at 1 / (div_factor * final_div_factor), at least 1.
    interval:
        Whether the schedule advances by "batch" or by "epoch".

    Example
    -------
    >>> OneCycle(steps=2000).scale(0)
    0.040000000000000036
    """

    steps: int = attrs.field(validator=options.count())
    pct_start: float = attrs.field(default=0.3, validator=options.number(at_least=0, below=1))
    div_factor: float = attrs.field(default=25.0, validator=options.number(at_least=1))
    final_div_factor: float = attrs.field(default=1e4, validator=options.number(at_least=1))

    def scale(self, t: int) -> float:
        return schedules.one_cycle(
            t,
            steps=self.steps,
            pct_start=self.pct_start,
            div_factor=self.div_factor,
            final_div_factor=self.final_div_factor,
        )
