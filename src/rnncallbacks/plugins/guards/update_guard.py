"""Guard: whether updates change the parameters too much, too little, or not at all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.arrays import named_arrays
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import sequences_of
from rnncallbacks.detectors.update.ascent import check_ascent
from rnncallbacks.detectors.update.frozen_parameters import FrozenParameters
from rnncallbacks.detectors.update.harder_batches import HarderBatches
from rnncallbacks.detectors.update.recovery import check_recovery
from rnncallbacks.detectors.update.still_arrays import StillArrays
from rnncallbacks.detectors.update.too_high import check_divergence, check_too_high
from rnncallbacks.detectors.update.too_low import TOO_LOW, check_too_low
from rnncallbacks.detectors.update.update_closure import UpdateClosure
from rnncallbacks.detectors.update.update_copies import UpdateCopies
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord, positions_in

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run
    from rnncallbacks.gradients import Gradients

UNKNOWN_RUN_LENGTH = 1000
"""Number of updates assumed for a run of unknown length. Chosen by eye."""


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class UpdateGuard(Guard):
    r"""Checks the learning rate by the effect of its updates on the weights and the loss.

    - RNN501, the learning rate is too high: large updates leave the loss above the first one, make the weights several
      times larger, overshoot, make units dead, or make the loss non-finite.
    - RNN502, the learning rate is too low: by the decrease of the loss that the gradient predicts,
      :math:`-g \cdot \Delta\theta`, the planned updates (500 to 2,000 of them) would lower the loss of an untrained
      network by less than 10%.
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

    _record: UpdateRecord = state_field(factory=UpdateRecord)
    _closure: UpdateClosure = state_field(factory=UpdateClosure)
    _frozen: FrozenParameters = state_field(factory=FrozenParameters)
    _still: StillArrays = state_field(factory=StillArrays)
    _harder: HarderBatches = state_field(factory=HarderBatches)
    _ascends: bool = state_field(False)
    _first_loss: float = state_field(0.0)  # what the loss rose above, if the run may recover
    _repairs: int = state_field(0)
    _copies: UpdateCopies = state_field(factory=UpdateCopies)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.params is None:
            self._cannot_check(run, "pass the parameters to Run(params)")

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> None:
        self._copies.awaiting_update = False
        self._restart_after_rollback(run)
        if run.params is not None:
            self._frozen.add_parameters(run.params)
        assert batch.loss is not None
        record = self._record
        finite = math.isfinite(batch.loss)
        if finite:
            self._copies.predict_next(grads, batch.loss, record)
        if finite and not record.measures_next and record.batches > MEASUREMENTS.close_updates:
            self._copies.drop()  # most batches end here, without their gradients' norm
        elif not finite or not math.isfinite(norm := grads.norm):
            self._report(run, check_divergence(record))
        elif record.measures_next and norm and not batch.skipped and run.params is not None and _schedule_scale(run):
            self._copies.take(run.params, grads, keep_gradients=record.batches < MEASUREMENTS.close_updates)
            record.add_dead_units(grads)
            self._closure.before_update(batch, record)
        if finite:
            self._harder.before_update(batch, record)

    @hookimpl(tryfirst=True)
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase != "train":
            return
        awaited, self._copies.awaiting_update = self._copies.awaiting_update, False
        if batch.loss is None or batch.skipped or not math.isfinite(batch.loss):
            return
        if self._repairs != len(run.diagnosis.repairs):
            return  # the parameters are those of a snapshot, not those after the update
        record = self._record
        if record.wants_targets:
            record.add_targets(sequences_of(batch).targets)
        record.add_loss(batch.loss, positions_in(batch))
        if awaited:
            self._measure(run, batch)
        self._harder.after_update(batch, record)
        if self._frozen.suspected:
            self._report(run, self._frozen.check(batch, self._closure, run.params))
        elif self._frozen.changed and record.checks_losses:
            self._check_directions(run)
            self._report(run, check_too_low(record, _planned_updates(run)))
            self._report(run, check_too_high(record, batches_are_harder=lambda: self._harder.explain_rise(record)))
            if self._first_loss and (recovery := check_recovery(record, self._first_loss)) is not None:
                self._first_loss = 0.0
                run.diagnosis.revise(recovery)

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        self._report(run, self._frozen.end_epoch())

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        self._report(run, self._frozen.end_run())
        self._report(run, self._still.check())
        batches, measured = self._record.batches, self._frozen.changed_updates + self._frozen.unchanged_updates
        if batches and not measured:
            self._cannot_check(run, "no update was measured: the gradients were zero, or batches were skipped")
        for code, needed in (("RNN501", MEASUREMENTS.close_updates), ("RNN502", TOO_LOW.checked_after)):
            if batches < needed:
                run.diagnosis.cannot_check(code, f"train for {needed} batches or more: {batches} were seen")
            else:
                run.diagnosis.cannot_check(code, "no update that changed the parameters was measured")
        super().on_fit_end(run)

    def _measure(self, run: Run, batch: Batch) -> None:
        ratio = self._copies.measure(run.params, self._record, _schedule_scale(run))
        if ratio is None:
            return
        self._frozen.add_update(ratio)
        if self._frozen.changed:
            record = run.diagnosis.withdraw if self._still.still else run.diagnosis.check
            record("RNN503", self._frozen.comparison + self._still.comparison)
        if ratio:
            self._still.add(named_arrays(run.params, "params"), self._copies.parameters, self._copies.gradients)
            self._closure.after_update(batch, self._record)

    def _check_directions(self, run: Run) -> None:
        if not self._ascends:
            ascent = check_ascent(self._record)
            self._ascends = ascent.finding is not None
            self._report(run, ascent)
        if self._record.batches >= MEASUREMENTS.close_updates:
            self._report(run, self._still.check())

    def _restart_after_rollback(self, run: Run) -> None:
        if len(run.diagnosis.repairs) == self._repairs:
            return
        repairs = run.diagnosis.repairs[self._repairs :]
        self._repairs += len(repairs)
        if any(repair.code != "RNN403" for repair in repairs):  # RNN403 may only have taken a batch out
            self._record.restart()
            self._first_loss = 0.0  # a run that was repaired has not recovered on its own

    def _report(self, run: Run, result: CheckResult) -> None:
        self.note(run, result)
        if "RNN503" in result.not_checked:  # the run does not know the arrays that are trained
            self._cannot_check(run, result.not_checked["RNN503"])
        finding = result.finding
        if finding is None:
            return
        if finding.code == "RNN501":
            self._first_loss = 0.0 if self.action == "repair" else self._record.reference_loss
            self._record.restart()
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
