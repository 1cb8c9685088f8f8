"""Schedule: polynomial decay of the learning rate."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases.schedule import LearningRateSchedule


@attrs.define(eq=False)
class PolynomialDecay(LearningRateSchedule):
    r"""Lowers the learning rate along a polynomial, from the base learning rate to ``min_scale`` times it.

    .. math:: s(t) = m + (1 - m) \, (1 - \min(t, n) / n)^p

    with :math:`n` = ``steps``, :math:`m` = ``min_scale`` and :math:`p` = ``power``. The scale stays at :math:`m` after
    step :math:`n`. A power of 1 is linear decay.

    Options
    -------
    steps:
        Length of the decay, in training batches or epochs, 1 or more.
    power:
        Exponent, above 0.
    min_scale:
        Final scale, in [0, 1].

    Source: Liu, Rabinovich and Berg, "ParseNet: Looking Wider to See Better" (2015), section 3.1, with a power of 0.9.

    Example
    -------
    >>> schedule = PolynomialDecay(steps=4, power=2.0)
    >>> [schedule.scale(t) for t in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    steps: int = attrs.field(validator=options.count())
    power: float = attrs.field(kw_only=True, default=1.0, validator=options.number(above=0))
    min_scale: float = attrs.field(kw_only=True, default=0.0, validator=options.number(at_least=0, at_most=1))

    def scale(self, t: int) -> float:
        self.check_t(t)
        left = 1.0 - min(t, self.steps) / self.steps
        return float(self.min_scale + (1.0 - self.min_scale) * left**self.power)
