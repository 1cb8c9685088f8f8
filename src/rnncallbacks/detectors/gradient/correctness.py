"""Schedules the checks whether gradients are those of their batch's loss, which depend on each other.

A gradient that contains the one before (:mod:`accumulation <rnncallbacks.detectors.gradient.accumulation>`) also fails
the gradient check (:mod:`gradient_check <rnncallbacks.detectors.gradient.gradient_check>`), and the checks that do not
need a closure (:mod:`zero_gradients <rnncallbacks.detectors.gradient.zero_gradients>`, :mod:`predicted_decrease
<rnncallbacks.detectors.gradient.predicted_decrease>`) are weaker than those that do. The first finding therefore ends
the other checks, and a closure ends those without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.closure import ClosureError
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.accumulation import ACCUMULATION, AccumulationDetector
from rnncallbacks.detectors.gradient.added_noise import added_noise
from rnncallbacks.detectors.gradient.directional import derivatives_of_batch, derivatives_of_closure
from rnncallbacks.detectors.gradient.gradient_check import GradientCheckDetector, wrong_gradient
from rnncallbacks.detectors.gradient.output_bias_length import OutputBiasLengthDetector
from rnncallbacks.detectors.gradient.predicted_decrease import PredictedDecreaseDetector
from rnncallbacks.detectors.gradient.recomputed_gradient import (
    find_backward_fault,
    shortened,
    truncation_error,
    unnamed_fault,
    wrong_arrays,
)
from rnncallbacks.detectors.gradient.returning_batches import ReturningBatchDetector
from rnncallbacks.detectors.gradient.zero_gradients import ZeroGradientDetector, without_effect
from rnncallbacks.detectors.reconstruction.replaced_targets import replaced_targets_finding
from rnncallbacks.detectors.reconstruction.script_network import ScriptNetwork
from rnncallbacks.detectors.update.metrics import is_proportional

if TYPE_CHECKING:
    from rnncallbacks.detectors.gradient.update_tracker import UpdateTracker
    from rnncallbacks.detectors.reconstruction.recognized_network import NetworkPass
    from rnncallbacks.detectors.training_batch import TrainingBatch


@attrs.define(eq=False)
class CorrectnessChecks:
    """Runs the checks that are due in a training batch.

    Call :meth:`check` with each batch before anything clips its gradients; where :meth:`is_idle` says so, it may be
    left out. Where :meth:`precedes_sum_check` says so, call :meth:`keep_clipped` if the gradients were clipped after
    it.

    Example
    -------
    >>> checks = CorrectnessChecks()
    >>> checks.stop_without_closure()
    >>> checks.network.follows  # the network is looked for in the first batch that is checked
    True
    >>> checks.is_idle(20)
    False
    """

    network: ScriptNetwork = state_field(factory=ScriptNetwork)
    _fault_found: bool = state_field(False)
    _idle_before: float = state_field(0.0, saved=False)  # no check is due in the batches before this one
    _closure_is_exact: bool = state_field(False)  # it gave the very loss that the script reported
    _gradient_check: GradientCheckDetector = state_field(factory=GradientCheckDetector)
    _accumulation: AccumulationDetector = state_field(factory=AccumulationDetector)
    _output_bias_length: OutputBiasLengthDetector = state_field(factory=OutputBiasLengthDetector)
    _zero_gradients: ZeroGradientDetector = state_field(factory=ZeroGradientDetector)
    _predicted_decrease: PredictedDecreaseDetector = state_field(factory=PredictedDecreaseDetector)
    _returning: ReturningBatchDetector = state_field(factory=ReturningBatchDetector)

    def is_idle(self, batch_number: int) -> bool:
        """Whether no check is due in this training batch, counted from 1."""
        if batch_number < self._idle_before:
            return True
        idle = (
            self._zero_gradients.over
            and not self.network.follows
            and self._predicted_decrease.over
            and not self._returning.waits
            and batch_number > ACCUMULATION.last_batch
            and not self._gradient_check.scheduled(batch_number)
            and not self._accumulation.due(batch_number)
            and not self.precedes_sum_check(batch_number)
        )
        if idle:  # only an alarm can change that before the next batch that is scheduled
            scheduled = self._gradient_check.next_scheduled(batch_number)
            self._idle_before = min(scheduled, self._accumulation.next_copied(batch_number))
        return idle

    def next_due(self, batch_number: int) -> float:
        """The first batch after this one in which a check is due, unless an alarm comes before it."""
        following = batch_number + 1
        return max(self._idle_before, following) if self.is_idle(following) else following

    def add_alarm(self, code: str) -> None:
        """Check the gradients of the next batch if they may be the cause of an alarm with this code."""
        self._idle_before = 0
        self._gradient_check.add_alarm(code)

    def doubts(self, causes: tuple[str, ...]) -> dict[str, str]:
        """Codes of gradients that were right before an alarm and were not compared after it, with the reason.

        ``causes`` are the codes of alarms that a gradient may cause that became wrong during the run.
        """
        risen = [code for code in self._gradient_check.unchecked_alarms if code in causes]
        if not risen:
            return {}
        why = f"no batch was compared after {risen[-1]}: the gradient may have become wrong after those that agree"
        return dict.fromkeys((*self._gradient_check.codes, *self._accumulation.codes), why)

    def begin_pass(self) -> None:
        """Look at the first batch of a pass, in which batches of the one before may return."""
        if not self._returning.over:
            self._idle_before = 0
            self._returning.begin_pass()

    def precedes_sum_check(self, batch_number: int) -> bool:
        """Whether the next batch is checked for the gradient of this one."""
        return self._accumulation.due(batch_number + 1)

    def keep_clipped(self, gradients: Mapping[str, Array]) -> None:
        """Copy the clipped gradients of this batch: the next batch may contain these or the raw ones."""
        self._accumulation.keep(gradients, clipped=True)

    def stop_without_closure(self) -> None:
        """End the checks that do not need a closure, and release their copies of the parameters."""
        self._zero_gradients.stop()
        self._predicted_decrease.stop()
        self._returning.stop()

    def check(self, given: TrainingBatch, updates: UpdateTracker, *, repaired: bool) -> Iterator[CheckResult]:
        """Yield the results of the checks that are due in a training batch, before its update.

        ``repaired`` says whether the run was repaired, after which losses fall for other reasons.
        """
        batch, batch_number = given.batch, given.number
        self.network.follow(given)
        if batch_number == 1 and self.network.replaced_targets is not None:
            yield CheckResult(finding=replaced_targets_finding(self.network.replaced_targets))
        if self.precedes_sum_check(batch_number):
            self._accumulation.keep(given.gradients)
        self._gradient_check.add_loss(given.loss)
        yield self._check_with_loss(given, updates)
        if batch.closure is None and not self._gradient_check.matches:
            sums = self._accumulation
            result = sums.check_without_closure(given)
            if result.finding is None and batch_number <= ACCUMULATION.last_batch and not self._gradients_are_wrong:
                finding = self._output_bias_length.check(
                    batch,
                    given.loss,
                    given.gradients,
                    updates_each_batch=sums.updates_each_batch,
                    follows_gradient=is_proportional(updates.first_cosine) is not False,
                )
                result = result if finding is None else CheckResult(finding=finding)
            yield self._noted(result)
        if self._gradients_are_wrong or repaired:
            self.stop_without_closure()
        elif batch.closure is not None or self._gradient_check.matches:  # which does not show an unused matrix
            self._predicted_decrease.stop()
            self._returning.stop()
        result = NOTHING_COMPARED
        if not self._zero_gradients.over:
            found = self._zero_gradients.check(given)
            if found is not None and self._gradient_check.matches:
                found = without_effect(str(found.evidence["array"]), batch_number)
            result = CheckResult(finding=found)
        if result.finding is None and not self._predicted_decrease.over:
            finding = self._predicted_decrease.check(given, updates.first_cosine)
            result = NOTHING_COMPARED if finding is None else CheckResult(finding=finding)
        if result.finding is None and not self._returning.over:
            follows = is_proportional(updates.first_cosine) is not False
            found = self._returning.check(given, follows_gradient=follows)
            result = CheckResult(finding=found)
        yield self._noted(result)

    def _check_with_loss(self, given: TrainingBatch, updates: UpdateTracker) -> CheckResult:
        """Check the gradients by a loss that can be evaluated: the closure, or the recognized network."""
        loss_check, sums, batch, loss = self._gradient_check, self._accumulation, given.batch, given.loss
        checking = loss_check.due(given.number, loss) and not self._gradients_are_wrong
        summing = sums.due(given.number)
        if not (checking or loss_check.confirming or summing):
            return NOTHING_COMPARED
        checking = checking or loss_check.confirming
        known_loss = loss if self._closure_is_exact and summing and not checking else None
        self._closure_is_exact = False
        forward = self.network.pass_of(given)
        if forward is not None:
            result = self._check_by_network(forward, given, updates, checking, summing)
            if result is not None:
                return result
            forward = None if self.network.network is None else forward
        try:
            if batch.closure is not None or forward is None:
                derivatives = derivatives_of_batch(batch, given.params, given.gradients, loss, known_loss)
            else:
                closure = self.network.closure(forward, given)
                derivatives = derivatives_of_closure(closure, given.params, given.gradients, loss, forward.loss)
            self._closure_is_exact = batch.closure is not None and derivatives.base_loss == loss
            if checking:
                result = loss_check.check(derivatives, batch, updates.first_cosine)
                if forward is not None:
                    result = self._deny_truncation(result, forward, given)
            else:
                result = sums.check(derivatives, params_moved=updates.params_moved)
        except ClosureError as reason:
            codes = loss_check.codes if checking else ()
            codes += sums.codes if summing else ()
            return CheckResult(not_checked=dict.fromkeys(codes, str(reason)))
        return self._noted(result)

    def _check_by_network(
        self, forward: NetworkPass, given: TrainingBatch, updates: UpdateTracker, checking: bool, summing: bool
    ) -> CheckResult | None:
        """The result of the network's own gradients; None if only the loss can tell the fault.

        The network is forgotten if another one gives the same losses.
        """
        loss_check, sums, gradients = self._gradient_check, self._accumulation, given.gradients
        right = self.network.gradients(forward, given)
        wrong = wrong_arrays(right, gradients)
        certain = not wrong or self.network.is_certain(forward, given, wrong)
        if wrong and certain and summing:
            finding = sums.find_exact_sum(right, wrong, gradients, params_moved=updates.params_moved)
            if finding is not None or sums.sums_found:
                return self._noted(CheckResult(finding=finding))
        if wrong and certain and checking:
            # Before noise is looked for: what fewer steps leave out may be alike in all arrays by chance.
            finding = self._find_exact(forward, given)
            if finding is not None:
                return self._noted(CheckResult(finding=finding))
        noise = added_noise(right, gradients) if len(wrong) == len(right) else 0.0  # noise leaves no array right
        if not wrong or noise:
            return loss_check.add_match(noise) if checking else sums.add_match()
        if not certain:
            self.network.forget()
        return None

    def _find_exact(self, forward: NetworkPass, given: TrainingBatch) -> Finding | None:
        """The mistake in the backward pass, or the truncation, that gives exactly these gradients, if one does."""
        gradients = given.gradients
        found = find_backward_fault(partial(self.network.gradients, forward, given), gradients)
        if found is not None:
            return found
        right = self.network.gradients(forward, given)
        truncated = self.network.truncated_gradients(forward, given)
        if any(not wrong_arrays(shortened(computed, gradients), gradients) for computed in truncated):
            return wrong_gradient(truncation_error(right, gradients))
        return None

    def _deny_truncation(self, result: CheckResult, forward: NetworkPass, given: TrainingBatch) -> CheckResult:
        """The result, with an error in place of a note if the gradient was neither truncated nor clipped."""
        finding = result.finding
        if finding is None or finding.severity != "info" or finding.code != self._gradient_check.codes[0]:
            return result
        right = self.network.gradients(forward, given)
        if not wrong_arrays(shortened(right, given.gradients), given.gradients):
            return result
        return attrs.evolve(result, finding=unnamed_fault(right, given.gradients))

    @property
    def _gradients_are_wrong(self) -> bool:
        return self._fault_found or self._accumulation.sums_found

    def _noted(self, result: CheckResult) -> CheckResult:
        self._fault_found = self._fault_found or result.finding is not None
        return result
