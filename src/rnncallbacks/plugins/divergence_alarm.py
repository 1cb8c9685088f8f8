"""Alarm: the loss rises, jumps, or is no number; the last of these before the update can spread it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.alarms import ACTIONS, Action
from rnncallbacks.gradients import global_norm
from rnncallbacks.hookspecs import hookimpl
from rnncallbacks.nonfinite import all_finite, evidence_of, locate, message_of

if TYPE_CHECKING:
    from rnncallbacks.gradients import Gradients
    from rnncallbacks.records import Batch
    from rnncallbacks.run import Run

STANDARD_ERRORS = 6.0
"""A rise by more is no noise, even if the lowest value is the luckiest of a long run."""


@attrs.define(eq=False, kw_only=True)
class DivergenceAlarm:
    r"""Watches every batch for values that are not finite, and the training loss for a rise and for spikes.

    - RNN403: a loss or a gradient is NaN or infinite. It is seen before the update. "raise" prevents the update,
      "stop" and "repair" take the batch out: gradients become zero, and ``if not run.skipped:`` before an update with
      momentum or weight decay leaves the parameters as they were. The alarm names the array, time step and row where
      it begins, among inputs, entering state, parameters, hidden states, logits, targets, loss and gradients, as far as
      the script shows them: ``run.observe(hidden_states=..., logits=...)``.
    - RNN602: the smoothed loss :math:`m_t` is higher than its lowest value :math:`m_s` by more than
      :math:`\mathrm{max\_rise}\,|\ell_1|` and by more than noise alone,
      :math:`6 \max_{r \le s} \sigma_r \sqrt{1/n_s + 1/n_t}`. :math:`\ell_1` is the first loss, :math:`m` the
      exponential moving average over ``window`` batches (a plain mean until there are so many), :math:`\sigma` the
      standard deviation smoothed likewise, and :math:`n_t = \min(t, \mathrm{window})`. Or each of the ``window``
      losses after the first is higher than that one by more than :math:`\mathrm{max\_rise}\,|\ell_1|`: the first
      update did it.
    - RNN605: one loss lies above the smoothed one by more than :math:`\mathrm{spike}\,\sigma` and by more than
      :math:`\mathrm{max\_rise}\,|\ell_1|`. A warning, whatever ``action`` is.

    With ``action="warn"``, each code is raised once in a run, RNN403 again after each repair.

    Options
    -------
    max_rise:
        Largest rise that is no divergence, as a share of the first loss, above 0.
    spike:
        Standard deviations that make a spike, above 0.
    window:
        Batches that the smoothing looks back over, 2 or more. No spike is called before that many batches, no rise
        before a fifth of them.
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
    _batches: int = attrs.field(default=0, init=False, repr=False)
    _first: float = attrs.field(default=0.0, init=False, repr=False)
    _mean: float = attrs.field(default=0.0, init=False, repr=False)
    _variance: float = attrs.field(default=0.0, init=False, repr=False)
    _lowest: float = attrs.field(default=math.inf, init=False, repr=False)
    _least: float = attrs.field(default=math.inf, init=False, repr=False)
    _widest: float = attrs.field(default=0.0, init=False, repr=False)
    _lowest_variance: float = attrs.field(default=0.0, init=False, repr=False)
    _lowest_count: int = attrs.field(default=0, init=False, repr=False)
    _raised: list[str] = attrs.field(factory=list, init=False, repr=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.epoch == 0:  # a run that resumes goes on with what the checkpoint put back
            self._batches, self._variance, self._widest = 0, 0.0, 0.0
            self._least = self._lowest = math.inf
            self._raised = []

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> None:
        loss = batch.loss
        assert loss is not None
        if math.isfinite(loss) and (math.isfinite(global_norm(grads.arrays)) or all_finite(grads.arrays)):
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
        if self._batches == 0:
            self._first = self._mean = loss
        else:
            self._least = min(self._least, loss)
        self._batches += 1
        margin = self.max_rise * abs(self._first)
        excess = loss - self._mean
        if (
            excess > max(margin, self.spike * math.sqrt(self._variance))
            and self._batches > self.window
            and "RNN605" not in self._raised
        ):
            self._raised.append("RNN605")
            run.raise_alarm(
                "RNN605",
                f"the loss jumped to {loss:.6g} from about {self._mean:.6g}",
                evidence={"loss": loss, "smoothed": self._mean, "standard_deviation": math.sqrt(self._variance)},
            )
        # Weights 1, 1/2, 1/3, ... until they reach that of the window: the average needs no bias correction then.
        weight = max(1 / self._batches, 2 / (self.window + 1))
        self._mean += weight * excess
        self._variance = (1 - weight) * (self._variance + weight * excess * excess)
        if self._batches <= self.window // 5 or "RNN602" in self._raised:
            return
        count = min(self._batches, self.window)
        self._widest = max(self._widest, self._variance)
        if self._mean < self._lowest:
            self._lowest, self._lowest_variance, self._lowest_count = self._mean, self._widest, count
        noise = STANDARD_ERRORS * math.sqrt(self._lowest_variance * (1 / self._lowest_count + 1 / count))
        if self._mean - self._lowest > max(margin, noise):
            self._raise_rise(run, "the smoothed loss", self._mean, "its lowest value", self._lowest)
        elif self._batches == self.window + 1 and self._least - self._first > margin:
            self._raise_rise(run, f"the lowest of {self.window} losses", self._least, "the first", self._first)

    def _raise_rise(self, run: Run, what: str, value: float, than: str, reference: float) -> None:
        self._raised.append("RNN602")
        run.raise_alarm(
            "RNN602",
            f"{what} is {value:.6g}, above {than}, {reference:.6g}, by more than {self.max_rise:.0%} of the first loss",
            evidence={"smoothed": self._mean, "lowest": self._lowest, "first": self._first},
            action=self.action,
        )
