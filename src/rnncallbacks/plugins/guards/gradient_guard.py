"""Guard: gradients that explode, vanish, do not match the loss, or are never zeroed (RNN401 to RNN406)."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.resting import LONGEST_REST
from rnncallbacks.detectors.gradient.correctness import CorrectnessChecks
from rnncallbacks.detectors.gradient.exploding import EXPLODING_GRADIENT, ExplodingGradientDetector
from rnncallbacks.detectors.gradient.growth_checks import GrowthChecks
from rnncallbacks.detectors.gradient.update_tracker import UpdateTracker
from rnncallbacks.detectors.gradient.vanishing import VanishingGradientDetector
from rnncallbacks.detectors.training_batch import TrainingBatch

if TYPE_CHECKING:
    from rnncallbacks.alarms.alarm import Alarm
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


LOSS_RISES = ("RNN501", "RNN602", "RNN605")
"""The codes of a loss that rose, which a gradient may cause that became wrong during the run."""


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class GradientGuard(Guard):
    """Checks gradients before they are clipped, most accurately if ``run.backward`` receives a closure.

    - RNN401: an unclipped gradient above ``max_norm`` made an update that destroyed the parameters. Or changes of the
      state grow through the first batch, where the network is recognized, and the loss rose or hardly falls; or, where
      it is not, the recurrent weights have a large spectral radius and long gradients, which nothing clips.
    - RNN402: the observed ``hidden_gradients`` vanish on the way back through time.
    - RNN404 and RNN405 in batches 1, 10, 100, 250, 500, 1000 and so on, and after the first alarm of a code 5xx or 6xx:
      the gradients differ from those of the network, if the script's arrays and losses identify it; or, with a closure,
      directional derivatives do not match central differences of the loss.
    - RNN404 and RNN405 without either, as a warning: the loss falls less than the gradients predict, that of shuffled
      batches or of those that return under their index; or the gradient of a matrix is always zero. Or, as RNN405 or
      RNN406, the gradient of the output bias is longer than the cross-entropy or the squared error allows.
    - RNN406: gradients contain those of earlier batches.

    The page of each code, ``rnncallbacks explain CODE``, names its detectors.

    Options
    -------
    max_norm:
        The norm that a gradient should not exceed, above 0: that at which ``gradient_clipping`` would clip.
    action:
        "warn" continues, "stop" ends the run, "raise" ends it with an error, "repair" leaves it to ``self_repair``.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013).

    Example
    -------
    >>> GradientGuard(max_norm=1.0).max_norm
    1.0
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN401", "RNN402", "RNN404", "RNN405", "RNN406")

    max_norm: float = attrs.field(default=5.0, validator=options.number(above=0))
    _batches: int = state_field(0)  # training batches with finite loss and gradients
    _updates: UpdateTracker = state_field(factory=UpdateTracker)
    _exploding: ExplodingGradientDetector = state_field(factory=ExplodingGradientDetector)
    _vanishing: VanishingGradientDetector = state_field(factory=VanishingGradientDetector)
    _growth: GrowthChecks = state_field(factory=GrowthChecks)
    _correctness: CorrectnessChecks = state_field(factory=CorrectnessChecks)
    due_loss: float = state_field(math.inf)
    due_norm: float = state_field(math.inf)
    missed_losses: list[float] = state_field(factory=list)
    missed_norms: list[float] = state_field(factory=list)
    _first_loss: float = state_field(math.inf)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.epoch > 0 and not self._batches:  # saved without this guard, which has not seen the first batches
            self._correctness.stop_without_closure()

    @hookimpl(wrapper=True, tryfirst=True)  # the states and outputs of a recognized network serve other guards
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> Generator[None, Any, Any]:
        loss = batch.loss
        assert loss is not None
        self._add_missed()
        if self._correctness.network.network is not None or self._batches == 0:
            batch.network_loss = lambda: self._correctness.network.loss(self._given(run, batch, grads))
        if self._growth.holds:
            self.conclude(run, self._growth.add_loss(loss, clips=self._exploding.clipped_updates > 0))
        norm = grads.norm
        if (finding := self._exploding.check(loss, norm, self.max_norm)) is not None:
            self.fire(run, finding)
        usable = math.isfinite(loss) and math.isfinite(norm) and not batch.skipped
        if usable:
            self._first_loss = loss if self._batches == 0 else self._first_loss
            self._batches += 1
            self._check(run, batch, grads)
        result = yield
        if usable and not batch.skipped:
            self._keep_for_update(run, grads, norm)
        return result

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase != "train":
            return
        self._add_missed()
        if self._updates.awaits_measurement:
            rate = None if run.base_learning_rate is None else run.learning_rate
            update = self._updates.measure(run.params, learning_rate=rate, max_norm=self.max_norm)
            if update is not None:
                self._exploding.add_update(update)
                self.conclude(run, self._growth.add_update(update, self.max_norm))
        self._rest(run)

    @hookimpl
    def on_alarm(self, alarm: Alarm) -> None:
        self.due_step = 0
        self._correctness.add_alarm(alarm.code)
        self._growth.add_alarm(alarm.code)

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        self._add_missed()
        if self._batches >= EXPLODING_GRADIENT.smallest_sample:
            self._conclude_exploding(run)
        for code, reason in self._correctness.doubts(LOSS_RISES).items():
            if code in run.diagnosis.passed:
                run.diagnosis.withdraw(code, reason)
        super().on_fit_end(run)
        self._correctness.stop_without_closure()

    def _rest(self, run: Run) -> None:
        """Rest until a check is due, a gradient is long, or a loss is high, which other guards evaluate again."""
        number, sample = self._batches, EXPLODING_GRADIENT.smallest_sample
        due = min(self._correctness.next_due(number), self._vanishing.next_due(number), number + LONGEST_REST)
        if self._exploding.awaits_loss or self._growth.awaits_loss or number < sample:
            due = number + 1
        self.due_step = run.step + due - number
        self.due_norm = math.inf if self._exploding.stopped else self.max_norm
        self.due_loss = math.inf if self._correctness.network.network is None else self._first_loss

    def _add_missed(self) -> None:
        self._batches += len(self.missed_losses)
        self._exploding.add_missed(self.missed_losses, self.missed_norms)
        self.missed_losses.clear()
        self.missed_norms.clear()

    def _given(self, run: Run, batch: Batch, grads: Gradients) -> TrainingBatch:
        assert batch.loss is not None
        return TrainingBatch(self._batches, batch, batch.loss, grads, run.params)

    def _check(self, run: Run, batch: Batch, grads: Gradients) -> None:
        number = self._batches
        if self._vanishing.due(number):
            self.conclude(run, self._vanishing.check_batch(number, batch))
        if number == EXPLODING_GRADIENT.smallest_sample:
            self._conclude_exploding(run)
        if batch.index == 1:
            self._correctness.begin_pass()
        if self._correctness.is_idle(number):
            return
        given = self._given(run, batch, grads)
        for result in self._correctness.check(given, self._updates, repaired=bool(run.diagnosis.repairs)):
            self.conclude(run, result)
        for result in self._growth.check(given, self._correctness.network, self.max_norm):
            self.conclude(run, result)

    def _conclude_exploding(self, run: Run) -> None:
        cosine = self._updates.first_cosine
        result = self._exploding.coverage(run.params, cosine, self.max_norm, self._growth.doubt)
        self.conclude(run, result.superseding())

    def _keep_for_update(self, run: Run, grads: Gradients, norm: float) -> None:
        """Copy parameters and gradients if a detector needs to know what the update does."""
        before_sum = self._correctness.precedes_sum_check(self._batches)
        wanted = before_sum or self._updates.awaits_first(self._batches)
        if run.params is None or not (wanted or self._exploding.wants_update(norm)):
            return
        clipped = self._exploding.check_clipping(grads, norm, self.max_norm)
        if wanted or not clipped:
            self._updates.keep(run.params, grads)
            if clipped and before_sum:
                self._correctness.keep_clipped(grads)
