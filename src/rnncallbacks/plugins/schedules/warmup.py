"""Schedule: linear warm-up of the learning rate."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases.schedule import LearningRateSchedule


@attrs.define(eq=False)
class Warmup(LearningRateSchedule):
    r"""Raises the learning rate linearly to the base learning rate, so that the first updates are small.

    .. math:: s(t) = s_0 + (1 - s_0) \min(1, (t + 1) / n)

    with :math:`n` = ``steps`` and :math:`s_0` = ``start``. The numerator is :math:`t + 1` because a scale of 0 would
    waste the first update.

    Options
    -------
    steps:
        Length of the warm-up, in training batches or epochs, 1 or more. The last of them has scale 1.
    start:
        Scale one step before the first, in [0, 1].

    Source: Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour" (2017), section 2.2, gradual
    warmup.

    Example
    -------
    >>> schedule = Warmup(steps=4)
    >>> [schedule.scale(t) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    steps: int = attrs.field(validator=options.count())
    start: float = attrs.field(kw_only=True, default=0.0, validator=options.number(at_least=0, at_most=1))

    def scale(self, t: int) -> float:
        self.check_t(t)
        return self.start + (1.0 - self.start) * min(1.0, (t + 1) / self.steps)
