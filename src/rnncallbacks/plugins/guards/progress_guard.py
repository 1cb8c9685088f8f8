"""Guard: dependence of targets on inputs, and the loss curves of training and validation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.resting import LONGEST_REST
from rnncallbacks.detectors.progress.loss_curves import LossCurves
from rnncallbacks.detectors.progress.no_signal import NO_SIGNAL, NoSignal
from rnncallbacks.detectors.progress.overfitting import OVERFITTING, Overfitting
from rnncallbacks.detectors.progress.plateau import PLATEAU, check_plateau
from rnncallbacks.detectors.progress.shifted_targets import ShiftedTargets
from rnncallbacks.detectors.progress.unlearned_run import UnlearnedRun
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class ProgressGuard(Guard):
    """Checks the loss curves, and whether the targets depend on the inputs.

    - RNN603, targets do not depend on the inputs: the loss is about the entropy of the targets, and chi-squared tests
      of independence on up to 8,000 tokens of the first batches find no dependence. Its severity is info if all
      targets are the same token. Also targets that are the inputs of the same step, or of two to four steps ahead.
      Where no data are shown, the loss of an untrained network that stays where it began for the whole run.
    - RNN604, overfitting: for 5 epochs or more, the validation loss has been above its best value by 10% and by 5
      standard errors of its noise, while the training loss fell. Its severity is info if a single validation batch
      rose.
    - RNN601, plateau: the last 20 epochs of the run did not lower the training loss, and it is above half of its first
      value. Its severity is info, or warning if 50 epochs or more did not lower the loss.
      :class:`~rnncallbacks.plugins.PlateauAlarm` acts during the run.

    The losses are those of the batches, averaged over each epoch and phase.

    Options
    -------
    action:
        The reaction to RNN603 and RNN604: "warn" continues, "stop" ends the run, "raise" ends it with an error.
        "repair" only warns: these codes have no safe remedy. RNN601, at the end of the run, always warns.

    Example
    -------
    >>> ProgressGuard(action="stop").codes
    ('RNN601', 'RNN603', 'RNN604')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN601", "RNN603", "RNN604")

    _curves: LossCurves = state_field(factory=LossCurves)
    _no_signal: NoSignal = state_field(factory=NoSignal)
    _shifted_targets: ShiftedTargets = state_field(factory=ShiftedTargets)
    _unlearned: UnlearnedRun = state_field(factory=UnlearnedRun)
    _overfitting: Overfitting = state_field(factory=Overfitting)
    missed_losses: list[float] = state_field(factory=list)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.epoch == 0 and run.params is not None:
            self._unlearned.begin(named_arrays(run.params))

    @hookimpl
    def on_backward(self, batch: Batch, grads: Gradients) -> None:
        if batch.phase == "train" and not self._no_signal.batches:
            self._unlearned.add_gradients(grads)

    @hookimpl
    def on_epoch_start(self) -> None:
        self._curves.begin_epoch()
        self.missed_losses.clear()

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        self._add_missed()
        if batch.phase == "train" and self._shifted_targets.done and not self._no_signal.needed_pairs:
            self.due_step = run.step + LONGEST_REST
        loss = batch.loss
        if loss is None or batch.skipped or not math.isfinite(loss):
            return
        self._curves.add(batch.phase, loss)
        if batch.phase == "train":
            self._unlearned.add_losses([loss])
            if self._no_signal.batches == 0 and sequences_of(batch).inputs is not None:
                self._unlearned.stop()
            if not self._shifted_targets.done:
                self.conclude(run, self._shifted_targets.add_batch(batch))
            self.conclude(run, self._no_signal.add_batch(batch, loss).superseding())

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        self._add_missed()
        curves = self._curves
        trained, validated = curves.end_epoch()
        if trained:
            self.conclude(run, self._no_signal.end_epoch(_loss_unit(run)).superseding())
            if self._no_signal.needed_pairs:
                self.due_step = 0
            self._revise(run)
        if validated:
            self.conclude(run, self._overfitting.check(curves.training, curves.validation, curves.batches))
        elif not curves.validation:
            run.diagnosis.cannot_check("RNN604", "validate in each epoch: run.batches(val_loader, phase='val')")

    def _add_missed(self) -> None:
        self._curves.add("train", *self.missed_losses)
        self._no_signal.add_losses(self.missed_losses)
        self._unlearned.add_losses(self.missed_losses)
        self.missed_losses.clear()

    def _revise(self, run: Run) -> None:
        if (learned := self._no_signal.check_learned()) is not None:
            run.diagnosis.revise(learned)

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        self._revise(run)
        used = self._no_signal.check_used()
        self.note(run, used)
        if used.finding is not None:
            self.fire(run, used.finding, action="warn")
        batches = self._no_signal.batches
        if run.params is not None and not any(alarm.severity != "info" for alarm in run.diagnosis.alarms):
            unlearned = self._unlearned.check(self._curves.training, named_arrays(run.params), batches)
            if unlearned is not None:
                self.fire(run, unlearned, action="warn")
        result = check_plateau(self._curves.training, batches)
        self.note(run, result)
        if result.finding is not None:
            self.fire(run, result.finding, action="warn")
        trained, validated = len(self._curves.training), len(self._curves.validation)
        needed = OVERFITTING.epochs_since_best + OVERFITTING.epochs_before
        run.diagnosis.cannot_check("RNN601", f"train for {PLATEAU.window} epochs or more: {trained} were seen")
        run.diagnosis.cannot_check("RNN604", f"validate in {needed} epochs or more: {validated} were seen")
        run.diagnosis.cannot_check(
            "RNN603", f"train for {NO_SIGNAL.recent_batches} batches and an epoch or more: {batches} batches were seen"
        )
        super().on_fit_end(run)


def _loss_unit(run: Run) -> float:
    """The number of terms of a summed loss, the inverse of the count of one divided once too often; else 1."""
    for alarm in run.diagnosis.alarms:
        factor = alarm.evidence.get("factor", 1.0)
        if alarm.code == "RNN301" and isinstance(factor, float | int) and factor > 0.0:
            return float(factor) if alarm.cause == CATALOGUE[alarm.code].cause else 1.0 / factor
    return 1.0
