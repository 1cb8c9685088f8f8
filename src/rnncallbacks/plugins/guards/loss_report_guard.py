"""Guard: compares the reported loss of an epoch with its batch losses (RNN101, RNN102)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.resting import SeenBatches
from rnncallbacks.core.run import TRAIN
from rnncallbacks.detectors.loss.loss_report import LossReportDetector

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run


LOOK_INTERVAL = 200
"""Training batches until the lengths of one are read again, where they have been equal. Chosen by eye."""


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class LossReportGuard(Guard):
    r"""Compares each phase's reported loss with the mean of its batch losses.

    The reported loss is the value logged with ``run.log(train_loss=...)``, for another phase under its name, else
    the average of ``loss_averaging``. With the batch losses :math:`\ell_1, \dots, \ell_n` and the reported loss
    :math:`r`, the script divided by :math:`k = \sum_b \ell_b / r`. A mean has :math:`k = n`.

    - RNN101: k is another count: the samples, the tokens, 1 (never divided), the square of n (divided twice), the batch
      size, the time steps or the vocabulary size, n times or over one of these, or a count of another phase. A k that
      is one off n, or a whole number without a name, is reported once two epochs agree.
    - RNN102: k is such a count in exactly one phase, and another phase is correct, so that the two curves cannot be
      compared. Also reports that contain the batch losses of another phase, or are the mean of another phase, and
      validation batches that count as training.

    Means weighted by sequence or by token are correct. A k that no count explains is not reported: moving averages,
    medians and perplexities have one. If the batch losses are probably sums over the same count, because the first one
    is about that many times ln V, the report may be correct and the severity is "info".

    The checks are those of :class:`~rnncallbacks.detectors.loss.loss_report.LossReportDetector`.

    Options
    -------
    action:
        "warn" continues, "stop" ends the run, "raise" ends it with an error, "repair" leaves it to ``self_repair``.

    Source: the observation that led to this library, an epoch loss divided by ``len(training_set)``.

    Example
    -------
    >>> LossReportGuard(action="raise")
    LossReportGuard(action='raise')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN101", "RNN102")

    _detector: LossReportDetector = state_field(factory=LossReportDetector)
    _seen: SeenBatches = state_field(factory=SeenBatches)
    missed_losses: list[float] = state_field(factory=list)

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        self._detector.begin_epoch()
        self._seen.last = run.step

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase == TRAIN:
            self._add_missed(self._seen.see(run.step))
        self._detector.add(batch)
        if batch.phase == TRAIN:
            self.due_step = run.step + LOOK_INTERVAL if self._detector.knows_next_lengths else 0

    @hookimpl
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        self._add_missed(self._seen.left_out(run.step))
        reported: dict[str, object] = {
            name.removesuffix("_loss"): value for name, value in summary.logged.items() if name.endswith("_loss")
        }
        for phase in self._detector.phases:
            reported.setdefault(phase, summary.losses.get(phase))
        self.conclude(run, self._detector.check(reported, stopped=run.stop_reason is not None))

    def _add_missed(self, batches: int) -> None:
        """Add the losses of the training batches that were left out."""
        self._detector.add_missed(self.missed_losses, batches)
        self.missed_losses.clear()
