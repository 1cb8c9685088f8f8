"""Schedule: cosine decay of the learning rate with warm restarts."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases.schedule import LearningRateSchedule, cosine_interpolation


@attrs.define(eq=False)
class CosineRestarts(LearningRateSchedule):
    r"""Lowers the learning rate along half a cosine wave in each cycle. Cycles may become longer.

    .. math:: s(t) = m + (1 - m) \, \frac{1 + \cos(\pi u / n_i)}{2}, \qquad n_i = n \, k^i

    where :math:`u` is the number of steps since the beginning of cycle :math:`i`, counted from 0, and
    :math:`n` = ``steps``, :math:`k` = ``multiplier``, :math:`m` = ``min_scale``. A cycle begins at the base learning
    rate.

    Options
    -------
    steps:
        Length of the first cycle, in training batches or epochs, 1 or more.
    multiplier:
        Length of a cycle / length of the cycle before, 1 or more.
    min_scale:
        Scale that a cycle approaches at its end, in [0, 1].

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017), equation 5.

    Example
    -------
    >>> schedule = CosineRestarts(steps=2, multiplier=2)
    >>> [round(schedule.scale(t), 3) for t in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    steps: int = attrs.field(validator=options.count())
    multiplier: int = attrs.field(kw_only=True, default=1, validator=options.count())
    min_scale: float = attrs.field(kw_only=True, default=0.0, validator=options.number(at_least=0, at_most=1))

    def scale(self, t: int) -> float:
        self.check_t(t)
        length = self.steps
        if self.multiplier == 1:
            t %= length
        while t >= length:
            t -= length
            length *= self.multiplier
        return cosine_interpolation(1.0, self.min_scale, t / length)
