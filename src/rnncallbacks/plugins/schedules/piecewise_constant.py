"""Schedule: a learning rate that is constant between given steps."""

from __future__ import annotations

from bisect import bisect_right

import attrs

from rnncallbacks import options
from rnncallbacks.bases.schedule import Interval, LearningRateSchedule
from rnncallbacks.errors import OptionError


@attrs.define(eq=False)
class PiecewiseConstant(LearningRateSchedule):
    r"""Scales the learning rate by a constant in each part of the run between ``boundaries``.

    .. math:: s(t) = \mathrm{scales}_i \quad \text{for} \quad \mathrm{boundaries}_{i-1} \le t < \mathrm{boundaries}_i

    where the first part begins at 0 and the last one does not end.

    Options
    -------
    boundaries:
        Numbers of completed epochs or training batches at which the scale changes, 1 or more, in increasing order.
    scales:
        The scale of each part, 0 or more: one more than boundaries.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2016), section 4.2: the rate is
    divided by 10 at 32,000 and 48,000 iterations.

    Example
    -------
    >>> schedule = PiecewiseConstant(boundaries=[2, 4], scales=[1.0, 0.1, 0.01])
    >>> [schedule.scale(t) for t in range(6)]
    [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """

    boundaries: tuple[int, ...] = attrs.field(converter=options.as_tuple, validator=options.tuple_of(options.count()))
    scales: tuple[float, ...] = attrs.field(
        kw_only=True, converter=options.as_tuple, validator=options.tuple_of(options.number(at_least=0))
    )
    interval: Interval = attrs.field(kw_only=True, default="epoch", validator=options.one_of("batch", "epoch"))

    def __attrs_post_init__(self) -> None:
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise OptionError(
                f"PiecewiseConstant: boundaries: expected increasing numbers, got {list(self.boundaries)}"
            )
        expected = len(self.boundaries) + 1
        if len(self.scales) != expected:
            raise OptionError(
                f"PiecewiseConstant: scales: expected {expected}, got {len(self.scales)}",
                hint="there is one part more than boundaries",
            )

    def scale(self, t: int) -> float:
        self.check_t(t)
        return float(self.scales[bisect_right(self.boundaries, t)])
