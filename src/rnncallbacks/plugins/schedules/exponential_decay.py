"""Schedule: exponential decay of the learning rate."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases.schedule import Interval, LearningRateSchedule


@attrs.define(eq=False)
class ExponentialDecay(LearningRateSchedule):
    r"""Multiplies the learning rate by ``factor`` after each epoch or training batch.

    .. math:: s(t) = \mathrm{factor}^t

    Options
    -------
    factor:
        Ratio of consecutive scales, in (0, 1].

    Source: Senior et al., "An Empirical Study of Learning Rates in Deep Neural Networks for Speech Recognition" (2013):
    ``10 ** (-t / r)``, which is ``factor = 10 ** (-1 / r)``.

    Example
    -------
    >>> schedule = ExponentialDecay(factor=0.5)
    >>> [schedule.scale(t) for t in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    factor: float = attrs.field(validator=options.number(above=0, at_most=1))
    interval: Interval = attrs.field(kw_only=True, default="epoch", validator=options.one_of("batch", "epoch"))

    def scale(self, t: int) -> float:
        self.check_t(t)
        return float(self.factor**t)
