"""Guard: what kind of loss it is, on which scale, and whether the network begins where it should."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rnncallbacks.arrays import Array, named_arrays
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.closure import ClosureError, evaluate_closure, evaluate_closure_once, restore_afterwards
from rnncallbacks.detectors.finding import Finding
from rnncallbacks.detectors.loss.initial_loss import Judgement, judge_first, judge_low, judge_zero
from rnncallbacks.detectors.loss.summation_counts import summation_counts
from rnncallbacks.detectors.loss.uniform_loss import classes_of, least_classes, true_nll, weight_scale
from rnncallbacks.detectors.sequences import sequences_of
from rnncallbacks.detectors.update.metrics import is_proportional, update_gradient_cosine

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run
    from rnncallbacks.gradients import Gradients

FIRST_LOSSES = 3
"""Batches by which a low first loss is judged."""

PATIENCE = 5
"""Batches in which the first update is waited for: a warm-up may begin at a learning rate of 0."""

SAME_LOSS = (0.67, 1.5)
"""What a closure gives beside the reported loss: with a dropout mask of its own something else, but not much."""


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class LossFunctionGuard(Guard):
    r"""Compares the loss with what a network that knows nothing must have: :math:`\ln V` for V classes.

    If the script passes ``closure=`` to ``run.backward``, the first batch's loss is evaluated with all parameters at
    zero, and they are put back bit for bit. Every softmax is even then, and the loss an exact number, whatever the
    initial weights were. Without a closure, observed logits or the first losses have to do.

    - RNN301: the loss is :math:`T \ln V`, :math:`B \ln V` or :math:`T B \ln V`: a sum. A warning if the first update
      follows the gradient's scale, as that of SGD does; a note for Adam, Adagrad and RMSprop, to which the scale is all
      the same. A loss that is divided once too often is a note.
    - RNN302: the loss is that of another function, such as a squared error.
    - RNN303: the first loss is above :math:`1.5 \ln V`, and at zero parameters it is :math:`\ln V`; without a closure,
      the output weights have to be large. If they are, :math:`1.25 \ln V` is enough, with and without a closure.

    A run that goes on from a checkpoint is not judged, nor one whose targets are no classes.

    Options
    -------
    action:
        "warn" goes on, "stop" ends the run, "raise" ends it with an error. "repair" asks ``self_repair``, which has no
        safe remedy for these codes.

    Example
    -------
    >>> LossFunctionGuard(action="stop")
    LossFunctionGuard(action='stop')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN301", "RNN302", "RNN303")

    _done: bool = state_field(False)
    _losses: list[float] = state_field(factory=list)
    _least: int = state_field(0)
    _waited: int = state_field(0)
    _sum: Finding | None = state_field(None, saved=False)
    _before: Mapping[str, Array] = state_field(factory=dict, saved=False)
    _gradients: Mapping[str, Array] = state_field(factory=dict, saved=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._sum, self._before, self._gradients = None, {}, {}
        if run.epoch == 0:
            self._done, self._losses, self._least, self._waited = False, [], 0, 0
        elif not self._done:
            self._done = True
            self._cannot_check(run, "the run goes on from a checkpoint, and its first loss says nothing")

    @hookimpl(wrapper=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> Generator[None, Any, Any]:
        if self._done and self._sum is None:
            return (yield)
        if not self._done and not batch.skipped and batch.loss is not None and math.isfinite(batch.loss):
            self._look(run, batch, batch.loss)
        result = yield
        if self._sum is not None and not batch.skipped:
            # The update sees what plugins made of the gradients, so these are kept after them.
            self._before = {name: array.copy() for name, array in named_arrays(run.params).items()}
            self._gradients = {name: array.copy() for name, array in grads.items()}
        return result

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if self._sum is None or not self._gradients or batch.phase != "train":
            return
        cosine = update_gradient_cosine(self._before, named_arrays(run.params), self._gradients)
        self._before, self._gradients = {}, {}
        self._waited += 1
        if not math.isnan(cosine) or self._waited >= PATIENCE:
            finding, self._sum = self._sum, None
            severity: Severity | None = "info" if is_proportional(cosine) is False else None
            self.fire(
                run,
                Finding(
                    finding.code, finding.message, {**finding.evidence, "update_gradient_cosine": cosine}, severity
                ),
            )

    def _look(self, run: Run, batch: Batch, loss: float) -> None:
        targets = sequences_of(batch).targets
        self._losses.append(loss)
        self._least = max(self._least, least_classes(targets))
        params = named_arrays(run.params)
        classes = classes_of(batch, params, self._least)
        if classes.regression or not classes.sizes:
            why = "targets are no classes" if classes.regression else "run.observe(inputs=..., targets=...)"
            self._conclude(run, Judgement(unclear=why))
        elif len(self._losses) == 1:
            counts = summation_counts(batch)
            weights = max(weight_scale(params, size) for size in classes.sizes)
            at_zero = self._loss_at_zero(run, batch, loss, params)
            if at_zero is not None:
                self._conclude(run, judge_zero(at_zero, loss, weights, classes, counts))
                return
            logits = batch.observed.get("logits")
            nll = None if logits is None or targets is None else true_nll(logits, targets)
            self._conclude(run, judge_first(loss, nll, weights, classes, counts))
        elif len(self._losses) == FIRST_LOSSES:
            self._conclude(run, judge_low(self._losses, classes.sizes))

    def _loss_at_zero(self, run: Run, batch: Batch, loss: float, params: Mapping[str, Array]) -> float | None:
        """The batch's loss with all parameters at zero; None, and a reason noted down, if there is no answer."""
        arrays = [array for array in params.values() if array.dtype.kind == "f"]
        try:
            if batch.closure is None:
                raise ClosureError("pass closure= to run.backward")
            if not arrays or not all(array.flags.writeable for array in arrays):
                raise ClosureError("give the parameters to Run(params), in arrays that can be written to")
            with restore_afterwards(arrays):
                here = evaluate_closure_once(batch)
                for array in arrays:
                    array[...] = 0.0
                at_zero = evaluate_closure(batch.closure)
            if loss == 0.0 or not SAME_LOSS[0] < here / loss < SAME_LOSS[1]:
                raise ClosureError(f"the closure gives the loss {here:.6g}, run.backward was given {loss:.6g}")
            if at_zero == here and any(array.any() for array in arrays):
                raise ClosureError("the closure does not see run.params")
            if not math.isfinite(at_zero):
                raise ClosureError("the loss is not finite with all parameters at zero: run.observe(logits=...)")
        except ClosureError as reason:
            self._cannot_check(run, str(reason))
            return None
        return at_zero

    def _cannot_check(self, run: Run, why: str) -> None:
        for code in self.codes:
            run.diagnosis.cannot_check(code, why)

    def _conclude(self, run: Run, judgement: Judgement) -> None:
        if judgement.unclear is None:
            return
        self._done = True
        for code in judgement.passed:
            run.diagnosis.check(code)
        if judgement.unclear:
            self._cannot_check(run, judgement.unclear)
        finding = judgement.finding
        if finding is None:
            return
        if judgement.divided:
            run.raise_alarm(
                finding.code,
                finding.message,
                evidence=finding.evidence,
                cause="the loss is divided once too often",
                remedy="divide the sum of the losses by the time steps and sequences of the batch once",
                severity="info",
                action=self.action,
            )
        elif finding.code == "RNN301" and run.params is not None:
            self._sum = finding  # how bad that is, the first update shows
        else:
            self.fire(run, finding)
