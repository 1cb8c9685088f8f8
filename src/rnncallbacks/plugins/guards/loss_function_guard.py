"""Guard: identifies the loss function and its scale, and checks the scale of the initial weights (RNN301 to RNN303)."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.resting import LONGEST_REST
from rnncallbacks.detectors.gradient.spectral_radius import large_recurrent_weights, without_recurrent_weights
from rnncallbacks.detectors.loss.initial_loss import InitialLossDetector
from rnncallbacks.detectors.loss.learned_sum import LearnedSum
from rnncallbacks.detectors.loss.linear_loss import LinearLoss
from rnncallbacks.detectors.loss.output_gradient import OutputGradientDetector
from rnncallbacks.detectors.loss.smoothed_labels import SmoothedLabelDetector
from rnncallbacks.detectors.loss.summed_loss_severity import SummedLossSeverity

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


WATCH_INTERVAL = 20
"""Training batches between two comparisons of their losses with the smallest one of a second softmax. Chosen by eye."""


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class LossFunctionGuard(Guard):
    r"""Compares the first losses with the uniform loss, :math:`\ln V` for V classes.

    If the script passes ``closure=`` to ``run.backward``, the guard evaluates the loss of the first batch with all
    parameters at zero, and restores them bit for bit. Every softmax is then uniform, and the loss is an exact number
    that does not depend on the initial weights. Without a closure, it compares observed logits or the first losses.

    - RNN301: the loss is :math:`T \ln V`, :math:`B \ln V` or :math:`T B \ln V`: a sum over T time steps, B sequences or
      both. The severity is "warning" if the first update is proportional to the gradient, as that of SGD is, and "info"
      otherwise: updates of Adam, Adagrad and RMSprop hardly depend on the gradient's scale. It is also "info" for a sum
      over up to four terms, unless an alarm that it explains shows its harm, and becomes "info" once losses have fallen
      to a twentieth of the first. A loss that is divided once too often has the severity "info".
    - RNN302: the loss is that of another function, such as a squared error; it is below 0 although the targets are
      classes; or it is linear in the outputs, or applies a softmax to the probabilities of the observed logits.
    - RNN303: the first loss is above :math:`1.5 \ln V`, and the loss at zero parameters is :math:`\ln V`. If the output
      weights are large too, :math:`1.25 \ln V` is enough; without a closure, they have to be. Or the recurrent
      weights of an untrained network have a spectral radius of 8 or more.

    A regression's loss is compared with squared and absolute errors of the observed outputs, and with the mean squared
    target: it is a sum (RNN301) or the outputs are too large (RNN303) if it is 12 times that or more.

    The checks are those of :class:`~rnncallbacks.detectors.loss.initial_loss.InitialLossDetector` and
    :class:`~rnncallbacks.detectors.loss.summed_loss_severity.SummedLossSeverity`.

    Options
    -------
    action:
        "warn" continues, "stop" ends the run, "raise" ends it with an error. "repair" has no effect: these codes have
        no safe remedy.

    Example
    -------
    >>> LossFunctionGuard(action="stop")
    LossFunctionGuard(action='stop')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN301", "RNN302", "RNN303")

    _initial_loss: InitialLossDetector = state_field(factory=InitialLossDetector)
    _output_gradient: OutputGradientDetector = state_field(factory=OutputGradientDetector)
    _smoothed_labels: SmoothedLabelDetector = state_field(factory=SmoothedLabelDetector)
    _linear_loss: LinearLoss = state_field(factory=LinearLoss)
    _learned_sum: LearnedSum = state_field(factory=LearnedSum)
    _first_loss: float = state_field(0.0)
    _severity: SummedLossSeverity = state_field(factory=SummedLossSeverity)
    missed_losses: list[float] = state_field(factory=list)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.epoch > 0 and not self._initial_loss.losses:
            why = "the run resumes from a checkpoint that was saved without this guard, and its first loss says nothing"
            self.note(run, self._initial_loss.give_up(why))
            self._output_gradient.stop()
            self._linear_loss.over = True

    @hookimpl(wrapper=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> Generator[None, Any, Any]:
        loss = batch.loss
        self._watch_missed(run)
        if not batch.skipped and loss is not None and math.isfinite(loss):
            self._check(run, batch, loss, grads)
        result = yield
        if self._severity.measuring and not batch.skipped and run.params is not None:
            # After the other plugins: these are the gradients that the update sees.
            self._severity.before_update(named_arrays(run.params), grads)
        return result

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        severity = self._severity
        if batch.phase != "train":
            return
        if not (severity.waiting or severity.measuring or self._learned_sum.following):
            if self._initial_loss.done and self._output_gradient.done and self._linear_loss.over:
                self.due_step = run.step + (WATCH_INTERVAL if self._output_gradient.watching else LONGEST_REST)
            return
        loss = batch.loss
        if self._learned_sum.following and loss is not None and math.isfinite(loss):
            if (learned := self._learned_sum.add(loss)) is not None:
                run.diagnosis.revise(learned)
            return
        finding = severity.after_update(named_arrays(run.params))
        if finding is not None:
            self.fire(run, finding)
            if finding.evidence.get("factor", 0.0) and finding.cause is None:  # no mean that is divided twice
                self._learned_sum.begin(finding, self._first_loss)

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        self._watch_missed(run)
        if self._learned_sum.revised is not None:  # its consequences may have become notes since
            run.diagnosis.revise(self._learned_sum.revised)
        super().on_fit_end(run)

    def _watch_missed(self, run: Run) -> None:
        for loss in self.missed_losses:
            if self._output_gradient.watching and not self._is_explained(run):
                self._conclude(run, self._output_gradient.watch(loss))
        self.missed_losses.clear()

    def _is_explained(self, run: Run) -> bool:
        """Whether the loss is known to be wrong."""
        return self._severity.waiting or any(alarm.code in ("RNN301", "RNN302") for alarm in run.diagnosis.alarms)

    def _check(self, run: Run, batch: Batch, loss: float, grads: Gradients) -> None:
        gradient = self._output_gradient
        is_first, self._first_loss = not self._first_loss, self._first_loss or loss
        if not self._initial_loss.done:
            self._conclude(run, self._initial_loss.check(batch, loss, named_arrays(run.params), grads))
        if is_first and run.epoch <= 1 and not any(alarm.code == "RNN303" for alarm in run.diagnosis.alarms):
            self._conclude(run, CheckResult(finding=large_recurrent_weights(named_arrays(run.params))))
        if not self._linear_loss.over:
            self._conclude(run, CheckResult(finding=self._linear_loss.check(loss, grads)))
        if not self._smoothed_labels.done:
            if self._is_explained(run):
                self._smoothed_labels.stop()
            else:
                result = self._smoothed_labels.check(batch, loss)
                self._conclude(run, result)
                if result.withdrawn:  # the gradient of the output bias alone does not deny what the logits show
                    gradient.stop()
        if gradient.done and not gradient.watching:
            return
        if self._is_explained(run) or self._initial_loss.is_mean_nll:
            gradient.stop()
        elif gradient.watching:
            self._conclude(run, gradient.watch(loss))
        else:
            self._conclude(run, gradient.check(batch, loss, grads))

    def _conclude(self, run: Run, result: CheckResult) -> None:
        if "RNN303" in result.checked and run.params is not None:
            result = without_recurrent_weights(result, named_arrays(run.params))
        self.note(run, result)
        finding = result.finding
        if finding is None:
            return
        if finding.code == "RNN301" and finding.severity is None and run.params is not None:
            self._severity.hold(finding)
        else:
            self.fire(run, finding)
