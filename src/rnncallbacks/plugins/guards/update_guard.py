"""Guard: whether updates change the parameters too much, too little, or not at all."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.rate_checks import RateChecks

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

UNKNOWN_RUN_LENGTH = 1000
"""Number of updates assumed for a run of unknown length. Chosen by eye."""


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class UpdateGuard(Guard):
    r"""Checks the learning rate by the effect of its updates on the weights and the loss.

    - RNN501, the learning rate is too high: large updates leave the loss above the first one, make the weights several
      times larger, overshoot, make units dead, or make the loss non-finite.
    - RNN502, the learning rate is too low: by the decrease of the loss that the gradient predicts,
      :math:`-g \cdot \Delta\theta`, the planned updates (500 to 2,000 of them) would lower the loss of an untrained
      network by less than 10%. Later, by the losses themselves, where the updates are negligible. Or the updates
      shrink to nothing within half of the run, as with a rate that is decayed after each batch.
    - RNN503, the parameters do not change: updates with nonzero gradients leave them and the losses bit for bit equal.
      Also a single array that never changes although its gradient is not zero, and updates that go up the gradient.

    The guard needs ``Run(params)``; a script whose update returns new arrays must assign ``run.params = params``. A
    closure is called after the first 8 measured updates, and after up to 24 if one raised the loss or it does not fall.

    Options
    -------
    action:
        The reaction to an alarm: "warn" continues, "stop" ends the run, "raise" ends it with an error, "repair" leaves
        it to ``self_repair``, which restores healthy parameters and lowers the rate.

    Example
    -------
    >>> UpdateGuard().codes
    ('RNN501', 'RNN502', 'RNN503')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN501", "RNN502", "RNN503")

    _checks: RateChecks = state_field(factory=RateChecks)
    _repairs: int = state_field(0)
    due_loss: float = state_field(math.inf)
    missed_losses: list[float] = state_field(factory=list)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.params is None:
            self._cannot_check(run, "pass the parameters to Run(params)")

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> None:
        self._add_missed()
        self._restart_after_rollback(run)
        self._report(run, self._checks.before_update(batch, grads, run.params, partial(_schedule_scale, run)))

    @hookimpl(tryfirst=True)
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase != "train":
            return
        # After a repair, the parameters are those of a snapshot, not those after the update.
        repaired = self._repairs != len(run.diagnosis.repairs)
        if batch.loss is None or batch.skipped or not math.isfinite(batch.loss) or repaired:
            self._checks.skip_update()
            return
        scale, planned_updates = partial(_schedule_scale, run), partial(_planned_updates, run)
        for result in self._checks.after_update(batch, run.params, scale, planned_updates):
            self._report(run, result)
        if (recovery := self._checks.check_recovery()) is not None:
            run.diagnosis.revise(recovery)
        if len(run.diagnosis.repairs) == self._repairs:
            self.due_step, self.due_loss = run.step + self._checks.batches_to_next, self._checks.reference_loss

    @hookimpl
    def on_alarm(self) -> None:
        self.due_step = 0  # the alarm may lead to a repair, after which updates are measured

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        self._report(run, self._checks.end_epoch())

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        self._add_missed()
        for result in self._checks.end_run():
            self._report(run, result)
        if self._checks.measured_nothing:
            self._cannot_check(run, "no update was measured: the gradients were zero, or batches were skipped")
        for code in ("RNN501", "RNN502"):
            run.diagnosis.cannot_check(code, self._checks.why_not_checked(code))
        super().on_fit_end(run)

    def _add_missed(self) -> None:
        self._checks.add_missed(self.missed_losses)
        self.missed_losses.clear()

    def _restart_after_rollback(self, run: Run) -> None:
        if len(run.diagnosis.repairs) == self._repairs:
            return
        repairs = run.diagnosis.repairs[self._repairs :]
        self._repairs += len(repairs)
        if any(repair.code != "RNN403" for repair in repairs):  # RNN403 may only have taken a batch out
            self._checks.restart()

    def _report(self, run: Run, result: CheckResult) -> None:
        self.note(run, result)
        if "RNN503" in result.not_checked:  # the run does not know the arrays that are trained
            self._cannot_check(run, result.not_checked["RNN503"])
        finding = result.finding
        if finding is None:
            return
        if finding.code == "RNN501":
            self._checks.restart(may_recover=self.action != "repair")
        if run.base_learning_rate is not None:
            finding = attrs.evolve(finding, evidence={**finding.evidence, "learning_rate": run.learning_rate})
        self.fire(run, finding)

    def _cannot_check(self, run: Run, reason: str) -> None:
        for code in self.codes:
            run.diagnosis.cannot_check(code, reason)


def _schedule_scale(run: Run) -> float:
    """Learning rate / base learning rate; 1 for a run without a learning rate."""
    return 1.0 if run.base_learning_rate is None else run.learning_rate / run.base_learning_rate


def _planned_updates(run: Run) -> int:
    count = run.batch.count if run.batch is not None else None
    return UNKNOWN_RUN_LENGTH if count is None or run.max_epochs is None else count * run.max_epochs
