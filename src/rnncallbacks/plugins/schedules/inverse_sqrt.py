"""Schedule: linear warm-up, then decay with the inverse square root of the step number."""

from __future__ import annotations

import math

import attrs

from rnncallbacks import options
from rnncallbacks.bases.schedule import LearningRateSchedule


@attrs.define(eq=False)
class InverseSqrt(LearningRateSchedule):
    r"""Raises the learning rate linearly, then lowers it with the inverse square root of the step number.

    .. math:: s(t) = \min\left(\frac{t + 1}{n}, \sqrt{\frac{n}{t + 1}}\right)

    with :math:`n` = ``warmup_steps``. Both terms are 1 at the last step of the warm-up, so the base learning rate is
    the highest one.

    Options
    -------
    warmup_steps:
        Length of the warm-up, in training batches or epochs, 1 or more.

    Source: Vaswani et al., "Attention Is All You Need" (2017), equation 3, divided by its maximum.

    Example
    -------
    >>> schedule = InverseSqrt(warmup_steps=4)
    >>> [schedule.scale(t) for t in (0, 1, 3, 15, 63)]
    [0.25, 0.5, 1.0, 0.5, 0.25]
    """

    warmup_steps: int = attrs.field(validator=options.count())

    def scale(self, t: int) -> float:
        self.check_t(t)
        return min((t + 1) / self.warmup_steps, math.sqrt(self.warmup_steps / (t + 1)))
