"""What the learning-rate schedules share: one named scale, set before each epoch or each training batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.define(eq=False, kw_only=True)
class LearningRateSchedule:
    """Sets the scale that bears the plugin's registered name; a schedule derives from it and gives ``scale``.

    ``interval`` says what ``t`` counts: training batches or epochs that are done. The learning rate is the base times
    the scales of all schedules, so they mix without knowing of each other.
    """

    interval: Literal["batch", "epoch"] = attrs.field(default="batch", validator=options.one_of("batch", "epoch"))

    def __attrs_post_init__(self) -> None:
        self.scale(0)

    def scale(self, t: int) -> float:
        """The scale after ``t`` batches or epochs."""
        raise TypeError(f"{type(self).__name__} has no method scale(self, t)")

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        if self.interval == "epoch":
            run.scale_learning_rate(run.plugins.name_of(self), self.scale(run.epoch - 1))

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        if self.interval == "batch" and batch.phase == "train":
            run.scale_learning_rate(run.plugins.name_of(self), self.scale(run.step - 1))
