"""Alarm: the loss rises, jumps, or is no number; the last of these before the update can spread it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.alarms.alarm import ACTIONS, Action
from rnncallbacks.arrays import all_finite
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.divergence import LossLevels, Rise
from rnncallbacks.detectors.nonfinite import evidence_of, locate, message_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run
    from rnncallbacks.gradients import Gradients


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class DivergenceAlarm:
    r"""Watches every batch for values that are not finite, and the training loss for a rise and for spikes.

    - RNN403: a loss or a gradient is NaN or infinite. It is seen before the update. "raise" prevents the update,
      "stop" and "repair" take the batch out: gradients become zero, and ``if not run.skipped:`` before an update with
      momentum or weight decay leaves the parameters as they were. The alarm names the array, time step and row where
      it begins, among inputs, entering state, parameters, hidden states, logits, targets, loss and gradients, as far as
      the script shows them: ``run.observe(hidden_states=..., logits=...)``.
    - RNN602: the median of the last ``window`` losses is higher than that of the best ``window`` batches before them,
      by more than :math:`\mathrm{max\_rise}\,|\ell_1|` with :math:`\ell_1` the first loss, and by twice that while it
      is below the first loss. Of the pairs of a recent loss and one of the best window, 85% are rises, so that heavy
      tails are none; the loss is not on its way down; and the run did not come back by itself from such a rise before,
      as where documents differ. Or the losses after the first lie far above it: the first update did it.
    - RNN605: one loss lies above the median of the last ``window`` by more than ``spike`` deviations, by more than
      :math:`\mathrm{max\_rise}\,|\ell_1|`, and three times as far as the farthest before. A note,
      whatever ``action`` is.

    With ``action="warn"``, each code is raised once in a run, RNN403 again after each repair.

    Options
    -------
    max_rise:
        Largest rise that is no divergence, as a share of the first loss, above 0.
    spike:
        Deviations that make a spike, above 0; the deviation is 1.4826 times the median distance from the median.
    window:
        Batches that are looked at together, 2 or more. No spike is called before that many batches, no rise before
        two fifths of them.
    action:
        "warn" goes on, "stop" ends the run, "raise" ends it with an error, "repair" asks ``self_repair`` for a remedy.

    Example
    -------
    >>> DivergenceAlarm(action="raise").max_rise
    0.25
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN403", "RNN602", "RNN605")

    max_rise: float = attrs.field(default=0.25, validator=options.number(above=0))
    spike: float = attrs.field(default=10.0, validator=options.number(above=0))
    window: int = attrs.field(default=50, validator=options.count(at_least=2))
    action: Action = attrs.field(default="stop", validator=options.one_of(*ACTIONS))
    _levels: LossLevels = state_field(factory=LossLevels)
    _repairs: int = state_field(0)
    _raised: list[str] = state_field(factory=list)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.epoch == 0:  # a run that resumes goes on with what the checkpoint put back
            self._levels.begin()
            self._repairs = 0
            self._raised = []

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> None:
        loss = batch.loss
        assert loss is not None
        if math.isfinite(loss) and (math.isfinite(grads.norm) or all_finite(grads.arrays)):
            self._follow(run, loss)
            return
        if batch.skipped:  # by the script, or by a plugin before this one: they know
            return
        # Neither stopping nor a repair that fails must let this batch's update through.
        if self.action in ("stop", "repair"):
            run.skip_batch()
        self._raise_non_finite(run, batch, grads)

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.loss is None:
            return
        run.diagnosis.check("RNN403")
        if not math.isfinite(batch.loss) and not batch.skipped:
            self._raise_non_finite(run, batch)

    def _raise_non_finite(self, run: Run, batch: Batch, grads: Gradients | None = None) -> None:
        if "RNN403" in self._raised and self.action == "warn":
            return
        finding = locate(batch, run.params, grads)
        if finding is None:
            return
        before_update = grads is not None or batch.phase != "train"
        kept = grads is not None and self.action != "warn"
        message = message_of(batch, finding, before_update=before_update, kept=kept)
        repairs = len(run.diagnosis.repairs)
        run.raise_alarm("RNN403", message, evidence=evidence_of(batch, finding), action=self.action)
        if len(run.diagnosis.repairs) == repairs and "RNN403" not in self._raised:
            self._raised.append("RNN403")

    def _follow(self, run: Run, loss: float) -> None:
        self._look_anew(run)
        levels, window, max_rise = self._levels, self.window, self.max_rise
        if "RNN605" not in self._raised and levels.spikes(loss, window=window, max_rise=max_rise, spike=self.spike):
            self._raised.append("RNN605")
            run.raise_alarm(
                "RNN605",
                f"the loss jumped to {loss:.6g} from about {levels.level:.6g}",
                evidence={"loss": loss, "median": levels.level, "deviation": levels.deviation},
            )
        rise = levels.follow(loss, window=window, max_rise=max_rise)
        if rise is not None and "RNN602" not in self._raised:
            self._raise_rise(run, rise)

    def _look_anew(self, run: Run) -> None:
        """Behind a repair that put parameters back, losses from before it tell nothing; taking a batch out is none."""
        repairs = run.diagnosis.repairs
        if len(repairs) != self._repairs:
            if any(repair.code != "RNN403" for repair in repairs[self._repairs :]):
                self._levels.begin()
                self._raised = [code for code in self._raised if code != "RNN602"]
            self._repairs = len(repairs)

    def _raise_rise(self, run: Run, rise: Rise) -> None:
        self._raised.append("RNN602")
        run.raise_alarm(
            "RNN602",
            f"{rise.what} is {rise.value:.6g}, above {rise.than}, {rise.reference:.6g}, by more than "
            f"{self.max_rise:.0%} of the first loss",
            evidence={"loss": rise.value, "best": rise.reference, "first": self._levels.first},
            action=self.action,
        )
