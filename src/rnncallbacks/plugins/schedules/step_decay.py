"""Schedule: step decay of the learning rate."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases.schedule import Interval, LearningRateSchedule


@attrs.define(eq=False)
class StepDecay(LearningRateSchedule):
    r"""Multiplies the learning rate by ``factor`` once every ``every`` epochs or training batches.

    .. math:: s(t) = \mathrm{factor}^{\lfloor t / \mathrm{every} \rfloor}

    Options
    -------
    every:
        Number of epochs or training batches from one decay to the next, 1 or more.
    factor:
        Factor of each decay, in (0, 1].

    Source: Szegedy et al., "Going Deeper with Convolutions" (2015), section 6: ``every=8, factor=0.96``, in epochs.

    Example
    -------
    >>> schedule = StepDecay(every=2, factor=0.5)
    >>> [schedule.scale(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    every: int = attrs.field(validator=options.count())
    factor: float = attrs.field(kw_only=True, default=0.5, validator=options.number(above=0, at_most=1))
    interval: Interval = attrs.field(kw_only=True, default="epoch", validator=options.one_of("batch", "epoch"))

    def scale(self, t: int) -> float:
        self.check_t(t)
        return float(self.factor ** (t // self.every))
