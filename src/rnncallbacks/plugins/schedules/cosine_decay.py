"""Learning rate: lower the learning rate along half a cosine."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases import schedule_functions as schedules
from rnncallbacks.bases.schedule import LearningRateSchedule


@attrs.define(eq=False, kw_only=True)
class CosineDecay(LearningRateSchedule):
    """Lower the learning rate along half a cosine.

    Formula and source: :func:`rnncallbacks.bases.schedule_functions.cosine_decay`.

    Options
    -------
    steps:
        Batches (or epochs) until the lowest learning rate, which then stays.
    min_scale:
        The scale at the end, in [0, 1].
    interval:
        Whether the schedule advances by "batch" or by "epoch".

    Example
    -------
    >>> CosineDecay(steps=2000).scale(0)
    1.0
    """

    steps: int = attrs.field(validator=options.count())
    min_scale: float = attrs.field(default=0.0, validator=options.number(at_least=0, at_most=1))

    def scale(self, t: int) -> float:
        return schedules.cosine_decay(t, steps=self.steps, min_scale=self.min_scale)
