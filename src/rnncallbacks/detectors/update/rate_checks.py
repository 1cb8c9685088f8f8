"""Schedules the checks of the learning rate, which read one record of updates and losses.

The record, the copies before an update, and the closure's losses serve several checks: the rate is too high
(:mod:`too_high <rnncallbacks.detectors.update.too_high>`) or too low, by the gradient (:mod:`too_low
<rnncallbacks.detectors.update.too_low>`) or the losses (:mod:`slow_losses
<rnncallbacks.detectors.update.slow_losses>`), or vanishes (:mod:`vanished_rate
<rnncallbacks.detectors.update.vanished_rate>`); updates go up the gradient (:mod:`ascent
<rnncallbacks.detectors.update.ascent>`), or leave parameters as they are (:mod:`frozen_parameters
<rnncallbacks.detectors.update.frozen_parameters>`, :mod:`still_arrays <rnncallbacks.detectors.update.still_arrays>`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.core.closure import ClosureError
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.constant_baseline import constant_baseline_loss
from rnncallbacks.detectors.loss.loss_at_zero import evaluate_loss_at_zero
from rnncallbacks.detectors.sequences import sequences_of
from rnncallbacks.detectors.update.ascent import check_ascent
from rnncallbacks.detectors.update.frozen_parameters import FrozenParameters
from rnncallbacks.detectors.update.harder_batches import HarderBatches
from rnncallbacks.detectors.update.metrics import has_initial_biases
from rnncallbacks.detectors.update.recovery import check_recovery
from rnncallbacks.detectors.update.slow_losses import SlowLosses
from rnncallbacks.detectors.update.still_arrays import StillArrays
from rnncallbacks.detectors.update.too_high import check_divergence, check_too_high
from rnncallbacks.detectors.update.too_low import TOO_LOW, check_too_low
from rnncallbacks.detectors.update.update_closure import UpdateClosure
from rnncallbacks.detectors.update.update_copies import UpdateCopies
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord, positions_in
from rnncallbacks.detectors.update.vanished_rate import VANISHED_RATE, check_vanished_rate, withdraw_vanished_rate

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch


@attrs.define(eq=False)
class RateChecks:
    """Measures the updates of a run, and runs the checks that are due.

    Call :meth:`before_update` and :meth:`after_update` with each training batch. After a finding of RNN501, call
    :meth:`restart`: the updates after it are judged by themselves.

    Example
    -------
    >>> RateChecks().why_not_checked("RNN501")
    'train for 40 batches or more: 0 were seen'
    """

    _record: UpdateRecord = state_field(factory=UpdateRecord)
    _copies: UpdateCopies = state_field(factory=UpdateCopies)
    _closure: UpdateClosure = state_field(factory=UpdateClosure)
    _frozen: FrozenParameters = state_field(factory=FrozenParameters)
    _still: StillArrays = state_field(factory=StillArrays)
    _slow: SlowLosses = state_field(factory=SlowLosses)
    _harder: HarderBatches = state_field(factory=HarderBatches)
    _checks_ascent: bool = state_field(True)
    _sizes_differ: bool = state_field(False)  # the batches have different numbers of positions
    _vanished: bool = state_field(False)
    _first_loss: float = state_field(0.0)  # what the loss rose above, if the run may recover

    @property
    def measured_nothing(self) -> bool:
        """Whether there were batches with a loss, and none of their updates was measured."""
        return bool(self._record.batches) and not (self._frozen.changed_updates + self._frozen.unchanged_updates)

    @property
    def reference_loss(self) -> float:
        """The loss above which batches are examined."""
        return self._record.reference_loss

    @property
    def batches_to_next(self) -> int:
        """The number of batches until the next one that is examined for any loss, 1 for the next batch."""
        record = self._record
        if record.losses_are_high or self._sizes_differ or not (self._frozen.changed or self._frozen.settled):
            return 1
        return record.batches_to_next

    def add_missed(self, losses: list[float]) -> None:
        """Add the losses of batches that were left out, because they are not examined."""
        self._record.add_missed(losses)
        self._slow.add(*losses)

    def why_not_checked(self, code: str) -> str:
        """Why RNN501 or RNN502 was not checked in a run that has ended, in words."""
        needed = MEASUREMENTS.close_updates if code == "RNN501" else TOO_LOW.checked_after
        if self._record.batches < needed:
            return f"train for {needed} batches or more: {self._record.batches} were seen"
        return "no update that changed the parameters was measured"

    def restart(self, *, may_recover: bool = False) -> None:
        """Drop the record, as after a repair; ``may_recover`` says that the run goes on and may recover by itself."""
        self._first_loss = self._record.reference_loss if may_recover else 0.0
        self._record.restart()
        self._checks_ascent = False  # momentum from before may point anywhere

    def before_update(
        self, batch: Batch, gradients: Gradients, params: Any, schedule_scale: Callable[[], float]
    ) -> CheckResult:
        """Copy what the update is compared with, if it is measured; RNN501 if the loss or the gradient is not finite.

        ``params`` are the parameters in the script's container, None if unknown. ``schedule_scale`` returns the
        learning rate / base learning rate.
        """
        record, copies, loss, result = self._record, self._copies, batch.loss, NOTHING_COMPARED
        assert loss is not None
        copies.awaiting_update = False
        if params is not None:
            self._frozen.add_parameters(params)
        finite = math.isfinite(loss)
        if record.batches == 0:
            self._slow.add_gradients(gradients)
            if finite and params is not None:
                record.loss_unit = _loss_unit(batch, loss, params)
                record.has_initial_biases |= has_initial_biases(named_arrays(params, "params").values())
        if finite:
            copies.predict_next(gradients, loss, record)
        if finite and not record.measures_next and record.batches > MEASUREMENTS.close_updates:
            copies.drop()  # most batches end here, without their gradients' norm
        elif not finite or not math.isfinite(gradients.norm):
            result = check_divergence(record)
        elif record.measures_next and gradients.norm and not batch.skipped and params is not None and schedule_scale():
            copies.take(params, gradients, keep_gradients=record.batches < MEASUREMENTS.close_updates)
            record.add_dead_units(gradients)
            self._closure.before_update(batch, record)
        if finite:
            self._harder.before_update(batch, record)
        return result

    def skip_update(self) -> None:
        """Do not measure the update of this batch."""
        self._copies.awaiting_update = False

    def after_update(
        self, batch: Batch, params: Any, schedule_scale: Callable[[], float], planned_updates: Callable[[], int]
    ) -> Iterator[CheckResult]:
        """Measure the update, and yield the results of the checks that are due; the batch has a finite loss.

        ``planned_updates`` returns the number of updates in the whole run.
        """
        record, loss = self._record, batch.loss
        assert loss is not None
        if record.wants_targets:
            record.add_targets(sequences_of(batch).targets)
        positions = positions_in(batch)
        record.add_loss(loss, positions)
        self._sizes_differ |= positions != record.first_positions and batch.index != batch.count
        self._slow.add(loss)
        if self._copies.awaiting_update:
            yield self._measure(batch, params, schedule_scale())
        self._harder.after_update(batch, record)
        if self._frozen.suspected:
            yield self._frozen.check(batch, self._closure, params)
        elif self._frozen.changed and record.checks_losses:
            yield self._check_ascent()
            if record.batches >= MEASUREMENTS.close_updates:
                yield self._still.check()
            if not self._first_loss:  # after RNN501, small updates are small against weights that have grown
                planned = planned_updates()
                yield check_too_low(record, planned)
                yield self._slow.check(record, planned)
                yield self._check_vanished(planned)
            yield check_too_high(record, batches_are_harder=lambda: self._harder.explain_rise(record))

    def check_recovery(self) -> Finding | None:
        """The finding that replaces RNN501 if its run has recovered by itself."""
        if not self._first_loss or not self._frozen.changed or not self._record.checks_losses:
            return None
        recovery = check_recovery(self._record, self._first_loss)
        self._first_loss = self._first_loss if recovery is None else 0.0
        return recovery

    def end_epoch(self) -> CheckResult:
        """RNN503, or why it cannot be checked, from the losses of two epochs."""
        return self._frozen.end_epoch()

    def end_run(self) -> Iterator[CheckResult]:
        """RNN503 at the end of a run, or why it is unknown."""
        yield self._frozen.end_run()
        yield withdraw_vanished_rate(self._record)
        yield self._still.check()

    def _measure(self, batch: Batch, params: Any, scale: float) -> CheckResult:
        ratio = self._copies.measure(params, self._record, scale)
        if ratio is None:
            return NOTHING_COMPARED
        self._frozen.add_update(ratio)
        if self._frozen.changed and self._record.loss_ratio(VANISHED_RATE.recent_losses) > VANISHED_RATE.learned_share:
            stopped = self._frozen.check_stopped(ratio, params, self._record.batches)
            if stopped is not None:
                return CheckResult(finding=stopped)
        result = NOTHING_COMPARED
        if self._frozen.changed:
            compared = {"RNN503": self._frozen.comparison + self._still.comparison}
            result = CheckResult(withdrawn=compared) if self._still.still else CheckResult(checked=compared)
        if ratio:
            self._still.add(named_arrays(params, "params"), self._copies.parameters, self._copies.gradients)
            self._closure.after_update(batch, self._record)
        return result

    def _check_vanished(self, planned_updates: int) -> CheckResult:
        if self._vanished:
            return NOTHING_COMPARED
        vanished = check_vanished_rate(self._record, planned_updates)
        self._vanished = vanished.finding is not None
        return vanished

    def _check_ascent(self) -> CheckResult:
        if not self._checks_ascent:
            return NOTHING_COMPARED
        ascent = check_ascent(self._record)
        self._checks_ascent = ascent.finding is None
        return ascent


def _loss_unit(batch: Batch, loss: float, params: Any) -> float:
    """The script's loss of zero outputs over the mean squared target of a regression: 1/2 for half squared errors.

    1 if it is not known.
    """
    targets = sequences_of(batch).targets
    if targets is None or targets.dtype.kind != "f":
        return 1.0
    try:
        at_zero = evaluate_loss_at_zero(batch, loss, named_arrays(params, "params"))
    except ClosureError:
        return 1.0
    return at_zero / (constant_baseline_loss(targets) or at_zero or 1.0)
