"""Repair: applies safe remedies to alarms, reports them, and stops the run if they do not help."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.arrays.containers import all_finite, named_arrays
from rnncallbacks.arrays.gradients import clip_by_global_norm, global_norm
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.earlier_gradients import EarlierGradients
from rnncallbacks.detectors.update.metrics import is_proportional, norm_ratio, predicted_loss_change
from rnncallbacks.detectors.update.rollback import Rollback
from rnncallbacks.errors import RunStateError

if TYPE_CHECKING:
    from rnncallbacks.alarms.alarm import Alarm
    from rnncallbacks.arrays.containers import Array
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.frozen(kw_only=True)
class SelfRepairThresholds:
    """Thresholds of :class:`SelfRepair`. Chosen by eye."""

    explosion_factor: float = 2.0
    """Norm of a gradient / ``max_norm`` above which it has exploded."""
    unclipped_share: float = 0.99
    """Norm after all plugins / norm before them, above which no plugin clips."""
    first_cut_margin: float = 2.0
    """Learning rate after the first cut / best estimate: a rate that is still too high is detected again, one that is
    too low is not."""
    hidden_state_margin: float = 3.0
    """The same for an adaptive optimizer whose state the run does not know. It keeps the squares of the large gradients
    for some 100 updates, and makes smaller updates as long. Of 31 such runs at 10 to 100 times a good rate, 28 ended as
    well as a healthy one with 2, 29 with 3, and 29 with 4."""

    settled_move: float = 0.01
    """Change of the restored parameters by a skipped batch / their norm, up to which nothing hidden moves them."""
    unsettled_move: float = 0.05
    """The same by an update that does not follow its gradient, above which hidden momentum made it."""
    unsettled_cosine: float = 0.5
    """Absolute cosine of an update and its gradient, below which it does not follow it."""
    settling_batches: int = 60
    """Most batches that are skipped until hidden momentum has decayed: by 0.9 in each, to a thousandth."""
    clipped_move: float = 0.3
    """Learning rate times ``max_norm`` / norm of the parameters, above which the rate is also too high for clipped
    gradients."""


SELF_REPAIR = SelfRepairThresholds()


@attrs.define(eq=False, kw_only=True)
class SelfRepair:
    """Applies the safe remedy of an alarm; each repair is in ``run.diagnosis.repairs`` and the column ``repairs``.

    - RNN201, the hidden state leaks: resets it before each batch. The run must own the state (``run.hidden`` and
      ``run.carry``, or ``Run(reset=...)``).
    - RNN406, gradients are never zeroed: zeroes them after each batch, or subtracts those of earlier batches.
    - RNN401, gradients explode: restores healthy parameters, and clips gradients by their global norm. The same for the
      first RNN501, if a gradient exploded, no plugin clips, and updates are proportional to the gradient.
    - RNN403, a non-finite value: skips the batch, if the parameters are finite and the loss is not above the first one.
    - RNN501, RNN602, other cases of RNN403, and RNN201 and RNN401 if they return: restores the parameters and the
      ``optimizer_state`` of the last healthy snapshot, and lowers the learning rate by a scale of its own. The same
      snapshot is restored again unless the run has learned since.

    A repaired alarm does not end the run, for any action. Alarms of severity "info" and all other codes are not
    repaired: their causes are in the script's own functions. After ``max_repairs`` repairs, or ``max_skipped``
    skipped batches, the next alarm stops the run.

    Restoring needs ``Run(params)``, and ``run.params = params`` in a script whose update returns new arrays. Lowering
    the rate needs ``run.learning_rate`` in the update. If momentum outside of ``optimizer_state`` moves the restored
    parameters, they are restored again and batches skipped until it has decayed.

    Options
    -------
    when:
        "always" repairs every alarm that has a safe remedy, "asked" only those of plugins with ``action = "repair"``.
    max_norm:
        Largest global norm of clipped gradients, above 0.
    factor:
        Factor on the learning rate at each repair, between 0 and 1. If the evidence of the first RNN501 says that the
        rate is n times too high, it is 2 / n if that is less; each later factor is the square root of this option. For
        an adaptive optimizer without ``optimizer_state``, the first factor is 3 / n, and this square root at most.
    snapshot_every:
        Batches between two snapshots, 1 or more.
    max_repairs:
        Repairs in a run, 1 or more.
    max_skipped:
        Skipped batches in a run, 1 or more.

    Example
    -------
    >>> SelfRepair(max_repairs=3).when
    'always'

    Source: Zhang, Zhai, Ma and Shen, "AUTOTRAINER: an automatic DNN training problem detection and repair system"
    (2021), for repairs during a run.
    """

    repairs: ClassVar[bool] = True

    when: Literal["always", "asked"] = attrs.field(default="always", validator=options.one_of("always", "asked"))
    max_norm: float = attrs.field(default=5.0, validator=options.number(above=0))
    factor: float = attrs.field(default=0.1, validator=options.number(above=0, below=1))
    snapshot_every: int = attrs.field(default=20, validator=options.count())
    max_repairs: int = attrs.field(default=5, validator=options.count())
    max_skipped: int = attrs.field(default=50, validator=options.count())

    _rate_scale: float = state_field(1.0)
    _resets_state: bool = state_field(False)
    _clips_gradients: bool = state_field(False)
    _removes_earlier_gradients: bool = state_field(False)
    _gradient_exploded: bool = state_field(False)
    _repairs_done: int = state_field(0)
    _batches_skipped: int = state_field(0)
    _last_repair_step: int = state_field(0)
    _rollback: Rollback = state_field(attrs.Factory(lambda self: Rollback(self.snapshot_every), takes_self=True))
    _settling: int = state_field(0)  # batches in which hidden momentum may still move the restored parameters
    _skips_next: bool = state_field(False)
    _gradients: Gradients | None = state_field(None, saved=False)
    _restoring_alarm: Alarm | None = state_field(None, saved=False)
    _direction: Mapping[str, Array] = state_field(factory=dict, saved=False)
    _earlier_gradients: EarlierGradients = state_field(factory=EarlierGradients, saved=False)

    @hookimpl(trylast=True)
    def on_fit_start(self, run: Run) -> None:
        if run.params is not None and not self._rollback.has_begun:
            self._rollback.begin(run.step, run.params, run.optimizer_state)

    # In every batch -------------------------------------------------------------------------------------------------

    @hookimpl(trylast=True)
    def on_batch_start(self, run: Run) -> None:
        if self._resets_state:
            run.reset_hidden()

    @hookimpl(wrapper=True, tryfirst=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> Generator[None, object, object]:
        # The first wrapper runs before and after all other plugins: guards get gradients without those of earlier
        # batches, and no plugin enlarges what was clipped here.
        if self._removes_earlier_gradients:
            self._earlier_gradients.remove(grads)
        self._gradients = grads
        norm = grads.norm
        result = yield
        if self._clips_gradients and not batch.skipped:
            clip_by_global_norm(grads.arrays, self.max_norm)
        elif norm > SELF_REPAIR.explosion_factor * self.max_norm and not batch.skipped and not self._gradient_exploded:
            self._gradient_exploded = global_norm(grads.arrays) > SELF_REPAIR.unclipped_share * norm
        if self._skips_next:
            run.skip_batch()
        if self._settling:
            self._direction = {name: array.copy() for name, array in grads.items()}
        return result

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase != "train" or self._gradients is None:
            return
        if self._removes_earlier_gradients:
            self._earlier_gradients.zero(self._gradients)
        self._gradients = None
        if self._settling and self._direction:  # the batch of a restoration after its update has none
            self._settle(run, batch)
        if self._rollback.has_begun and batch.loss is not None and not batch.skipped:
            self._rollback.follow(run.step, batch.loss, run.params, run.optimizer_state)

    def _settle(self, run: Run, batch: Batch) -> None:
        """Restore again if momentum that the run does not know moved the restored parameters."""
        self._settling -= 1
        moved = self._rollback.displacement(run.params)
        change = global_norm(list(moved.values()))
        if not change:  # no update, as of a skipped batch or between the batches of an accumulation
            self._skips_next = False
            return
        size = norm_ratio(change, global_norm(list(named_arrays(run.params, "params").values())))
        if batch.skipped:
            unsettled = size > SELF_REPAIR.settled_move
        else:
            along = abs(predicted_loss_change(moved, self._direction))
            away = along < SELF_REPAIR.unsettled_cosine * change * global_norm(list(self._direction.values()))
            unsettled = size > SELF_REPAIR.unsettled_move and away
        self._direction = {}
        if not (unsettled or not math.isfinite(change)) or not self._settling:
            self._settling, self._skips_next = 0, False
            return
        self._rollback.restore_again(run.params, run.optimizer_state)
        if self._restoring_alarm is not None:
            run.report_repair(self._restoring_alarm, "batches are skipped until hidden momentum has decayed")
        self._skips_next, self._restoring_alarm = True, None

    # At an alarm ----------------------------------------------------------------------------------------------------

    @hookimpl
    def on_alarm(self, run: Run, alarm: Alarm) -> None:
        asked = self.when == "always" or alarm.action == "repair"
        if alarm.code not in REMEDIES or alarm.severity == "info" or not asked:
            return
        if self._last_repair_step == run.step and run.step and self._repairs_done:
            run.report_repair(alarm, "no further repair: this batch led to one already")
            return
        if self._repairs_done >= self.max_repairs or self._batches_skipped >= self.max_skipped:
            run.stop(
                f"self_repair: {alarm.code} after {self._repairs_done} repairs and {self._batches_skipped} skipped "
                f"batches: {alarm.message}"
            )
            return
        done = REMEDIES[alarm.code](self, run, alarm)
        if done:
            run.report_repair(alarm, done)

    def _reset_state(self, run: Run, alarm: Alarm) -> str:
        if self._resets_state:
            return self._restore_and_lower_rate(run, alarm)
        if run.reset is None and (run.batch is None or run.batch.batch_size is None):
            return ""  # the run does not own the state
        try:
            run.reset_hidden()
        except RunStateError:
            return ""
        self._resets_state = True
        return self._count(run, "the hidden state is now reset before each batch")

    def _remove_earlier_gradients(self, run: Run, alarm: Alarm) -> str:
        if self._removes_earlier_gradients or run.batch is None:
            return ""  # a lower rate does not remove them, and the rest of the gradients may be right
        self._removes_earlier_gradients = True
        if self._gradients is not None:  # otherwise on_backward is about to keep them
            self._earlier_gradients.keep(self._gradients)
        restored = self._restore(run, alarm)
        run.skip_batch()
        return self._count(run, "gradients of earlier batches are now removed", restored)

    def _clip_gradients(self, run: Run, alarm: Alarm) -> str:
        if self._clips_gradients:
            return self._restore_and_lower_rate(run, alarm)
        self._clips_gradients = True
        restored = self._restore(run, alarm)  # the update with the exploded gradient changed them
        norm = 0.0 if run.params is None else global_norm(list(named_arrays(run.params, "params").values()))
        move, lowered = norm_ratio(run.learning_rate * self.max_norm, norm) if run.base_learning_rate else 0.0, ""
        if restored and SELF_REPAIR.clipped_move < move < math.inf:
            lowered = self._scale_rate(run, SELF_REPAIR.clipped_move / move)
        return self._count(run, f"gradients are now clipped to a norm of {self.max_norm:g}", lowered, restored)

    def _skip_batch(self, run: Run, alarm: Alarm) -> str:
        batch = run.batch
        if batch is None or batch.phase != "train" or run.params is None:
            return self._restore_and_lower_rate(run, alarm)
        if self._rollback.has_diverged or not all_finite(named_arrays(run.params, "params").values()):
            return self._restore_and_lower_rate(run, alarm)
        run.skip_batch()
        self._batches_skipped += 1
        return "the batch was skipped"

    def _lower_rate(self, run: Run, alarm: Alarm) -> str:
        """Clip first if exploded gradients make the updates too large; if the rate is too high as well, it returns."""
        first = not self._clips_gradients and self._rate_scale == 1.0
        if first and self._gradient_exploded and is_proportional(_number(alarm, "update_gradient_cosine")):
            return self._clip_gradients(run, alarm)
        return self._restore_and_lower_rate(run, alarm)

    def _restore_and_lower_rate(self, run: Run, alarm: Alarm) -> str:
        restored = self._restore(run, alarm)
        if not restored and run.params is not None and not all_finite(named_arrays(run.params, "params").values()):
            return ""  # a lower rate does not make parameters finite
        lowered = ""
        if run.base_learning_rate is not None:
            lowered = self._scale_rate(run, self._cut(run, alarm))
        return self._count(run, lowered, restored) if lowered or restored else ""

    def _scale_rate(self, run: Run, factor: float) -> str:
        self._rate_scale *= factor
        run.scale_learning_rate(run.plugins.name_of(self), self._rate_scale)
        return f"the learning rate is now {run.learning_rate:g}, with a scale of {self._rate_scale:.3g}"

    def _cut(self, run: Run, alarm: Alarm) -> float:
        """The factor of the next cut."""
        times_too_high, cosine = _number(alarm, "times_too_high"), _number(alarm, "update_gradient_cosine")
        if times_too_high <= 1.0:
            return self.factor
        if self._rate_scale < 1.0:
            return math.sqrt(self.factor)
        if run.optimizer_state is None and cosine and not is_proportional(cosine):
            return min(math.sqrt(self.factor), SELF_REPAIR.hidden_state_margin / times_too_high)
        return min(self.factor, SELF_REPAIR.first_cut_margin / times_too_high)

    def _restore(self, run: Run, alarm: Alarm) -> str:
        """Restore the last healthy snapshot, and say so; the empty string if there is none."""
        if run.params is None:
            return ""
        step = self._rollback.restore(run.step, run.params, run.optimizer_state)
        if step is None:
            return ""
        if run.batch is not None and run.batch.phase == "train":
            run.skip_batch()  # its gradients belong to the discarded parameters
        self._settling, self._skips_next, self._restoring_alarm = SELF_REPAIR.settling_batches, False, alarm
        return f"the parameters were restored from step {step}"

    def _count(self, run: Run, *done: str) -> str:
        self._repairs_done += 1
        self._last_repair_step = run.step
        return ", and ".join(filter(None, done))


def _number(alarm: Alarm, name: str) -> float:
    """A number of the evidence; 0 if it is not there."""
    value = alarm.evidence.get(name, 0.0)
    return 0.0 if isinstance(value, str) else value


REMEDIES: Mapping[str, Callable[[SelfRepair, Run, Alarm], str]] = {
    "RNN201": SelfRepair._reset_state,
    "RNN401": SelfRepair._clip_gradients,
    "RNN403": SelfRepair._skip_batch,
    "RNN406": SelfRepair._remove_earlier_gradients,
    "RNN501": SelfRepair._lower_rate,
    "RNN602": SelfRepair._restore_and_lower_rate,
}
"""The remedy of each code. It returns a description of the repair, or the empty string if none was possible."""
