"""Learning rate: lower the learning rate by a factor at regular intervals."""

from __future__ import annotations

from typing import Literal

import attrs

from rnncallbacks import options
from rnncallbacks.bases import schedule_functions as schedules
from rnncallbacks.bases.schedule import LearningRateSchedule


@attrs.define(eq=False, kw_only=True)
class StepDecay(LearningRateSchedule):
    """Lower the learning rate by a factor at regular intervals.

    Formula and source: :func:`rnncallbacks.bases.schedule_functions.step_decay`.

    Options
    -------
    every:
        Epochs (or batches) between two decays.
    factor:
        What each decay multiplies by, in (0, 1].
    interval:
        Whether the schedule advances by "batch" or by "epoch".

    Example
    -------
    >>> StepDecay(every=10).scale(0)
    1.0
    """

    every: int = attrs.field(validator=options.count())
    factor: float = attrs.field(default=0.5, validator=options.number(above=0, at_most=1))
    interval: Literal["batch", "epoch"] = attrs.field(default="epoch", validator=options.one_of("batch", "epoch"))

    def scale(self, t: int) -> float:
        return schedules.step_decay(t, every=self.every, factor=self.factor)
