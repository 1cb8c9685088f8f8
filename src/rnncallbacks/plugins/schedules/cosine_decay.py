"""Schedule: cosine decay of the learning rate."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases.schedule import LearningRateSchedule, cosine_interpolation


@attrs.define(eq=False)
class CosineDecay(LearningRateSchedule):
    r"""Lowers the learning rate along half a cosine wave, from the base learning rate to ``min_scale`` times it.

    .. math:: s(t) = m + (1 - m) \, \frac{1 + \cos(\pi \min(t, n) / n)}{2}

    with :math:`n` = ``steps`` and :math:`m` = ``min_scale``. The scale stays at :math:`m` after step :math:`n`.

    Options
    -------
    steps:
        Length of the decay, in training batches or epochs, 1 or more.
    min_scale:
        Final scale, in [0, 1].

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017), equation 5, without
    restarts.

    Example
    -------
    >>> schedule = CosineDecay(steps=4)
    >>> [round(schedule.scale(t), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    steps: int = attrs.field(validator=options.count())
    min_scale: float = attrs.field(kw_only=True, default=0.0, validator=options.number(at_least=0, at_most=1))

    def scale(self, t: int) -> float:
        self.check_t(t)
        return cosine_interpolation(1.0, self.min_scale, min(t, self.steps) / self.steps)
