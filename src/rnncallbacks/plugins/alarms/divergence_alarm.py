"""Alarm: non-finite values, before the update spreads them; divergence and spikes of the training loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.alarms.alarm import ACTIONS, Action
from rnncallbacks.arrays.containers import all_finite
from rnncallbacks.bases.guard import raise_finding
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.clipped import find_clipping
from rnncallbacks.detectors.loss.batch_difficulty import target_statistics
from rnncallbacks.detectors.loss.divergence import DivergenceDetector
from rnncallbacks.detectors.loss.rise_cause import RiseCauses
from rnncallbacks.detectors.nonfinite import find_non_finite
from rnncallbacks.detectors.nonfinite_finding import non_finite_finding

if TYPE_CHECKING:
    from rnncallbacks.alarms.finding import Finding
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class DivergenceAlarm:
    r"""Watches every batch for non-finite values, and the training loss for divergence and for spikes.

    - RNN403: a loss or a gradient is NaN or infinite. The check precedes the update. "raise" prevents the update.
      "stop" and "repair" skip the batch: gradients become zero, and ``if not run.skipped:`` before an update with
      momentum or weight decay leaves the parameters as they were. The alarm names the array, time step and row of the
      first non-finite value, among inputs, entering state, parameters, hidden states, logits, targets, loss and
      gradients, as far as the script shows them with ``run.observe(hidden_states=..., logits=...)``.
    - RNN602: the median of the last ``window`` losses is higher than that of the best ``window`` batches before them by
      more than :math:`\mathrm{max\_rise}\,|\ell_1|`, with :math:`\ell_1` the first loss. In 85% of the pairs of a
      recent loss and one of the best window the recent one is higher, so that heavy tails do not count; the recent
      losses are not falling; and the run did not recover from such a rise before, as between documents of different
      difficulty. Or the losses after the first one are far above it: the first update destroyed the network.
      :class:`~rnncallbacks.detectors.loss.rise_cause.RiseCauses` distinguishes divergence from batches that become
      harder in their order; these are a note, as is a divergence from which the run recovers.
    - RNN605: one loss is above the median of the last ``window`` by more than ``spike`` deviations, by more than
      :math:`\mathrm{max\_rise}\,|\ell_1|`, and by three times the largest excess before it. The severity is "info",
      and the run continues for any ``action``.

    The checks are those of :class:`~rnncallbacks.detectors.loss.divergence.DivergenceDetector` and of
    :func:`~rnncallbacks.detectors.nonfinite.find_non_finite`. RNN602 and RNN605 are raised once in a run, RNN602 again
    after a repair. RNN403 is raised once with ``action="warn"``, and again after each repair.

    Options
    -------
    max_rise:
        Largest rise that is no divergence, as a share of the first loss, above 0.
    spike:
        Smallest excess that is a spike, in deviations, above 0. A deviation is 1.4826 times the median absolute
        deviation, which estimates the standard deviation of normal losses.
    window:
        Batches that are compared together, 2 or more. A spike is found after ``window`` batches at the earliest, a
        divergence after four fifths of ``window``.
    action:
        The reaction to RNN403: "warn" continues, "stop" ends the run, "raise" ends it with an error, "repair" leaves
        it to ``self_repair``.
    divergence_action:
        The reaction to RNN602. The default is "warn", because batches that become harder raise the loss of a healthy
        run as well.

    Example
    -------
    >>> DivergenceAlarm(action="raise").max_rise
    0.25
    """

    first_rank_only: ClassVar[bool] = True

    codes: ClassVar[tuple[str, ...]] = ("RNN403", "RNN602", "RNN605")

    max_rise: float = attrs.field(default=0.25, validator=options.number(above=0))
    spike: float = attrs.field(default=10.0, validator=options.number(above=0))
    window: int = attrs.field(default=50, validator=options.count(at_least=2))
    action: Action = attrs.field(default="stop", validator=options.one_of(*ACTIONS))
    divergence_action: Action = attrs.field(default="warn", validator=options.one_of(*ACTIONS))
    _detector: DivergenceDetector = state_field(
        attrs.Factory(
            lambda self: DivergenceDetector(window=self.window, max_rise=self.max_rise, spike=self.spike),
            takes_self=True,
        )
    )
    _causes: RiseCauses = state_field(factory=RiseCauses)
    _repairs: int = state_field(0)
    _raised: list[str] = state_field(factory=list)
    _noted: bool = state_field(False)
    _losses: int = state_field(0)
    _gradients: int = state_field(0)
    _next_look: float = state_field(0.0)
    _next_targets: float = state_field(0.0)
    _spike_level: float = state_field(math.inf)
    _not_added: list[float] = state_field(factory=list)

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> None:
        loss = batch.loss
        assert loss is not None
        self._gradients += 1
        if math.isfinite(loss) and (math.isfinite(grads.norm) or all_finite(grads.arrays)):
            if run.step < self._next_look and loss <= self._spike_level and 1 < batch.index != batch.count:
                self._not_added.append(loss)
                if run.step >= self._next_targets:
                    self._keep_targets(run, batch)
                return
            self._add_losses()
            self._restart_after_repair(run)
            self._check_loss(run, batch, loss, grads)
            return
        if batch.skipped:  # the script, or a plugin before this one, skipped it already
            return
        # This batch must not be used for an update, even if the run stops or a repair fails.
        if self.action in ("stop", "repair"):
            run.skip_batch()
        self._check_non_finite(run, batch, grads)

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.loss is None:
            return
        self._losses += 1
        if not math.isfinite(batch.loss) and not batch.skipped:
            self._check_non_finite(run, batch)
        elif batch.phase != "train":
            self._causes.validation.add(batch.phase, batch.loss, self._causes.batches.batches)

    @hookimpl
    def on_alarm(self) -> None:
        self._next_look = 0  # the alarm may lead to a repair, after which the losses are compared with new ones

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        self._add_losses()
        self._causes.batches.end_epoch()
        self._causes.validation.end_pass()
        self._report_compared(run)

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        self._add_losses()
        self._report_compared(run)
        run.diagnosis.cannot_check("RNN403", "no batch had a loss: run.backward(loss, grads) or run.record(loss)")
        for code, what, needed in (
            ("RNN602", "a rise", 2 * self._detector.shortest_window),
            ("RNN605", "a spike", self.window + 1),
        ):
            too_few = f"the run was too short: {what} needs at least {needed} training batches"
            enough = f"{what} needs {needed} training batches with a finite loss since the last repair"
            run.diagnosis.cannot_check(code, too_few if run.step < needed else enough)

    def _check_loss(self, run: Run, batch: Batch, loss: float, grads: Gradients) -> None:
        detector, causes = self._detector, self._causes
        causes.add(batch, loss, run.params)
        best_end = detector.best_end
        for finding in detector.check(loss, lambda rise: causes.cause_of(rise, batch, run.params)):
            self._raise_once(run, finding, grads)
        if detector.best_end != best_end:
            causes.parameters.choose(detector.best_end - detector.window // 5)
        answer = causes.evaluate(batch, run.params)
        for finding in () if answer is None else detector.conclude(*answer):
            self._raise_once(run, finding, grads)
        if len(run.diagnosis.repairs) == self._repairs:
            self._next_look = run.step + min(detector.batches_to_next, causes.batches_to_next)
            self._spike_level = detector.spike_level
            self._await_targets(run)

    def _keep_targets(self, run: Run, batch: Batch) -> None:
        """Keep the targets of a batch whose loss is added later: most looks at a batch would be for these alone."""
        batches = self._causes.batches
        number = batches.batches + len(self._not_added)
        if number == batches.next_with_targets(number - 1):
            batches.add_targets(number, target_statistics(batch))
        self._await_targets(run)

    def _await_targets(self, run: Run) -> None:
        batches = self._causes.batches
        number = batches.batches + len(self._not_added)
        self._next_targets = run.step + batches.next_with_targets(number) - number

    def _add_losses(self) -> None:
        """Add the losses since the last look at once, which takes less time than one by one."""
        if self._not_added:
            self._detector.add_missed(self._not_added)
            self._causes.batches.add_missed(self._not_added)
            self._not_added.clear()

    def _report_compared(self, run: Run) -> None:
        detector = self._detector
        if self._losses:
            compared = f"{self._losses} losses and the gradients of {self._gradients} batches are finite"
            run.diagnosis.check("RNN403", compared)
        if detector.windows_compared:
            compared = f"{detector.windows_compared} windows of at most {self.window} losses with the best one before"
            run.diagnosis.check("RNN602", compared)
        if detector.spikes_compared:
            compared = f"{detector.spikes_compared} losses with the median of the {self.window} before"
            run.diagnosis.check("RNN605", compared)

    def _check_non_finite(self, run: Run, batch: Batch, grads: Gradients | None = None) -> None:
        if "RNN403" in self._raised and self.action == "warn":
            return
        origin = find_non_finite(batch, run.params, grads)
        if origin is None:
            return
        before_update = grads is not None or batch.phase != "train"
        kept = grads is not None and self.action != "warn"
        repairs = len(run.diagnosis.repairs)
        raise_finding(run, non_finite_finding(batch, origin, before_update=before_update, kept=kept), self.action)
        if len(run.diagnosis.repairs) == repairs and "RNN403" not in self._raised:
            self._raised.append("RNN403")

    def _restart_after_repair(self, run: Run) -> None:
        """Forget the losses before a repair that restored parameters; skipping a batch, for RNN403, restores none."""
        repairs = run.diagnosis.repairs
        if len(repairs) != self._repairs:
            if any(repair.code != "RNN403" for repair in repairs[self._repairs :]):
                self._detector.restart()
                self._causes = RiseCauses()
                self._raised = [code for code in self._raised if code != "RNN602"]
            self._repairs = len(repairs)

    def _raise_once(self, run: Run, finding: Finding, grads: Gradients) -> None:
        if finding.code != "RNN602":
            if finding.code not in self._raised:
                self._raised.append(finding.code)
                raise_finding(run, finding, "warn")
        elif finding.severity is None:
            if "RNN602" not in self._raised:
                self._raised.append("RNN602")
                self._noted = True
                raise_finding(run, _without_clipping(finding, grads), self.divergence_action)
        elif "RNN602" in self._raised:
            self._raised.remove("RNN602")
            run.diagnosis.revise(finding)
        elif not self._noted:
            self._noted = True
            raise_finding(run, finding, "warn")


def _without_clipping(finding: Finding, grads: Gradients) -> Finding:
    """The finding with a remedy for a script that clips its gradients already."""
    bounds = find_clipping(grads)
    bound = bounds.value if bounds.norm is None else bounds.norm
    if bound is None or finding.remedy is None:
        return finding
    before, _, _ = finding.remedy.partition(", and clip")
    what = "entries" if bounds.norm is None else "norm"
    return attrs.evolve(finding, remedy=f"{before}; the gradients are clipped already, their {what} at {bound:g}")
