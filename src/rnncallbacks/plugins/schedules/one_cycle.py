"""Schedule: one cycle of the learning rate, up and down."""

from __future__ import annotations

import attrs

from rnncallbacks import options
from rnncallbacks.bases.schedule import LearningRateSchedule, cosine_interpolation


@attrs.define(eq=False)
class OneCycle(LearningRateSchedule):
    r"""Raises the learning rate to the base learning rate, then lowers it to almost 0, each along half a cosine wave.

    .. math::

        s(t) = \begin{cases}
            c(l, 1, t / p) & t \le p \\
            c(1, e, (t - p) / (n - 1 - p)) & p < t < n - 1 \\
            e & t \ge n - 1
        \end{cases}

    with :math:`n` = ``steps``, the peak at :math:`p = \mathrm{pct\_start} \cdot n - 1`, the first scale
    :math:`l = 1 / \mathrm{div\_factor}`, the last one :math:`e = l / \mathrm{final\_div\_factor}`, and
    :math:`c(a, b, x) = b + (a - b)(1 + \cos \pi x) / 2`. If :math:`p \le 0`, there is no rise.

    Options, defaults and values are those of ``torch.optim.lr_scheduler.OneCycleLR``, where ``max_lr`` is the base
    learning rate.

    Options
    -------
    steps:
        Length of the cycle, in training batches or epochs, 1 or more.
    pct_start:
        Fraction of the cycle in which the learning rate rises, in [0, 1). It is a fraction, not a percentage.
    div_factor:
        Ratio of the peak to the first scale, 1 or more.
    final_div_factor:
        Ratio of the first scale to the last one, 1 or more.

    Source: Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates"
    (2018).

    Example
    -------
    >>> schedule = OneCycle(steps=10)
    >>> [round(schedule.scale(t), 3) for t in range(12)]
    [0.04, 0.52, 1.0, 0.95, 0.812, 0.611, 0.389, 0.188, 0.05, 0.0, 0.0, 0.0]
    """

    steps: int = attrs.field(validator=options.count())
    pct_start: float = attrs.field(kw_only=True, default=0.3, validator=options.number(at_least=0, below=1))
    div_factor: float = attrs.field(kw_only=True, default=25.0, validator=options.number(at_least=1))
    final_div_factor: float = attrs.field(kw_only=True, default=1e4, validator=options.number(at_least=1))

    def scale(self, t: int) -> float:
        self.check_t(t)
        low = 1.0 / self.div_factor
        peak = self.pct_start * self.steps - 1.0
        last = self.steps - 1
        t = min(t, last)
        if t <= peak and peak > 0.0:
            return cosine_interpolation(low, 1.0, t / peak)
        return cosine_interpolation(1.0, low / self.final_div_factor, (t - peak) / (last - peak))
