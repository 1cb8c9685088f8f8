"""Base of the learning-rate schedules: one named scale, set before each training batch or each epoch."""

from __future__ import annotations

import math
from numbers import Integral
from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.errors import OptionError

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

Interval = Literal["batch", "epoch"]


@attrs.define(eq=False, kw_only=True)
class LearningRateSchedule:
    """Sets one scale of the learning rate, under the name by which the plugin is registered.

    The learning rate is the base learning rate times the scales of all schedules, so schedules combine without knowing
    each other. A schedule derives from this class and defines :meth:`scale`.

    Options
    -------
    interval:
        The unit of ``t`` in :meth:`scale`: "batch" for training batches, counted over all epochs, or "epoch".

    Example
    -------
    >>> import attrs
    >>> @attrs.define(eq=False, kw_only=True)
    ... class LinearDecay(LearningRateSchedule):
    ...     steps: int
    ...     def scale(self, t):
    ...         return max(0.0, 1.0 - t / self.steps)
    >>> LinearDecay(steps=4).scale(1)
    0.75
    """

    interval: Interval = attrs.field(default="batch", validator=options.one_of("batch", "epoch"))

    def __attrs_post_init__(self) -> None:
        self.scale(0)

    def scale(self, t: int) -> float:
        """The scale after ``t`` completed training batches or epochs; ``t`` is 0 for the first."""
        raise TypeError(f"{type(self).__name__} has no method scale(self, t)")

    def check_t(self, t: int) -> None:
        """Raise an :class:`~rnncallbacks.errors.OptionError` unless ``t`` is an integer of at least 0."""
        if isinstance(t, bool) or not isinstance(t, Integral) or t < 0:
            raise OptionError(
                f"{type(self).__name__}.scale: t: expected an integer >= 0, got {t!r}",
                hint="t is the number of completed training batches or epochs",
            )

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        if self.interval == "epoch":
            run.scale_learning_rate(run.plugins.name_of(self), self.scale(run.epoch - 1))

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        if self.interval == "batch" and batch.phase == "train":
            run.scale_learning_rate(run.plugins.name_of(self), self.scale(run.step - 1))


def cosine_interpolation(start: float, end: float, fraction: float) -> float:
    r"""Half a cosine wave from ``start`` at fraction 0 to ``end`` at fraction 1.

    .. math:: \mathrm{end} + (\mathrm{start} - \mathrm{end}) \, (1 + \cos(\pi \cdot \mathrm{fraction})) / 2

    Example
    -------
    >>> [round(cosine_interpolation(1.0, 0.0, n / 4), 3) for n in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return end + (start - end) * (1.0 + math.cos(math.pi * fraction)) / 2.0
