"""Repair: act on alarms that have a safe remedy, write down what was done, and stop when it does not help."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs
import numpy as np

from rnncallbacks import options
from rnncallbacks.arrays import Array, all_finite, named_arrays
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.metrics import is_proportional
from rnncallbacks.detectors.update.snapshots import Snapshots
from rnncallbacks.errors import RunStateError
from rnncallbacks.gradients import clip_by_global_norm, global_norm

if TYPE_CHECKING:
    from rnncallbacks.alarms.alarm import Alarm
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run
    from rnncallbacks.gradients import Gradients


EXPLODES = 2.0
"""A gradient of so many times ``max_norm`` that no plugin clips has exploded."""


@attrs.define(eq=False, kw_only=True)
class SelfRepair:
    """Repairs what can be repaired safely; each repair is in ``run.diagnosis.repairs`` and the column ``repairs``.

    - RNN201, a state that leaks: resets the state before each batch. The run has to own it (``run.hidden`` and
      ``run.carry``, or ``Run(reset=...)``).
    - RNN406, gradients that pile up: zeroes them behind each batch, or takes off what was there before.
    - RNN401, gradients that explode: puts back the parameters from before, and clips gradients by their global norm.
      So too for RNN501 at first, where a gradient exploded, no plugin clips, and updates follow the gradient.
    - RNN403 in a single batch, while the parameters are finite and the loss was not above the first one: takes the
      batch out.
    - RNN501, RNN602, and RNN403 else: puts back the parameters (and ``optimizer_state``) of the last snapshot
      that proved healthy, and cuts the learning rate by a scale that bears the plugin's name. So too where one of the
      others comes back.

    A repaired alarm does not stop or end the run, whatever its action. A note (severity "info") is left alone. All
    other causes lie in the script's own functions and are told, not repaired. After ``max_repairs`` repairs, or
    ``max_skipped`` batches that were taken out, the next alarm stops the run.

    To go back, the plugin needs ``Run(params)``, and ``run.params = params`` in a script whose update returns new
    arrays; to cut the rate, ``run.learning_rate`` in the update. Momentum that a script keeps to itself stays.

    Options
    -------
    when:
        "always" repairs every alarm that has a safe remedy, "asked" those alone whose plugin has ``action = "repair"``.
    max_norm:
        Bound of the global norm when it clips, above 0.
    factor:
        What the learning rate is multiplied with at each cut, between 0 and 1. The first cut for RNN501 goes further if
        its evidence says that the rate is more than twice as much too high, to half of that: what is still too high is
        found again, and what is too low is not. A cut that follows goes half as far, by the root of this.
    snapshot_every:
        Batches between two snapshots, 1 or more.
    max_repairs:
        Repairs in a run, 1 or more.
    max_skipped:
        Batches of a run that are taken out, 1 or more.

    Example
    -------
    >>> SelfRepair(max_repairs=3).when
    'always'

    Source: Zhang, Zhai, Ma and Shen, "AUTOTRAINER: an automatic DNN training problem detection and repair system"
    (2021), for repairs while a run goes on.
    """

    repairs: ClassVar[bool] = True

    when: Literal["always", "asked"] = attrs.field(default="always", validator=options.one_of("always", "asked"))
    max_norm: float = attrs.field(default=5.0, validator=options.number(above=0))
    factor: float = attrs.field(default=0.1, validator=options.number(above=0, below=1))
    snapshot_every: int = attrs.field(default=20, validator=options.count())
    max_repairs: int = attrs.field(default=5, validator=options.count())
    max_skipped: int = attrs.field(default=50, validator=options.count())

    _scale: float = state_field(1.0)
    _resets: bool = state_field(False)
    _clips: bool = state_field(False)
    _zeroes: bool = state_field(False)
    _explodes: bool = state_field(False)
    _done: int = state_field(0)
    _skipped: int = state_field(0)
    _times_too_high: float = state_field(0.0, saved=False)
    _follows: float = state_field(0.0, saved=False)
    _repaired_step: int = state_field(0)
    _snapshots: Snapshots | None = state_field(None, saved=False)
    _first: dict[str, Array] | None = state_field(None, saved=False)
    _grads: Gradients | None = state_field(None, saved=False)
    _piled: dict[str, Array] | None = state_field(None, saved=False)

    @hookimpl(trylast=True)
    def on_fit_start(self, run: Run) -> None:
        if run.epoch == 0:  # a run that resumes goes on with what the checkpoint put back
            self._scale, self._done, self._skipped, self._repaired_step = 1.0, 0, 0, 0
            self._resets = self._clips = self._zeroes = self._explodes = False
        self._snapshots, self._first, self._piled = None, None, None
        if run.params is not None:
            self._snapshots = Snapshots(self.snapshot_every)
            self._snapshots.begin(run.step, _arrays(run))
            self._first = {name: array.copy() for name, array in named_arrays(run.params, "params").items()}

    # What goes on batch by batch ------------------------------------------------------------------------------------

    @hookimpl(trylast=True)
    def on_batch_start(self, run: Run) -> None:
        if self._resets:
            run.reset_hidden()

    @hookimpl(wrapper=True)
    def on_backward(self, batch: Batch, grads: Gradients) -> Generator[None, object, object]:
        # A wrapper begins before all plugins and ends behind them: guards see gradients without what had piled up, and
        # what it clips nobody makes larger again.
        if self._zeroes:
            self._take_off(grads)
        self._grads = grads
        norm = grads.norm
        result = yield
        if self._clips and not batch.skipped:
            clip_by_global_norm(grads.arrays, self.max_norm)
        elif norm > EXPLODES * self.max_norm and not batch.skipped:
            self._explodes = self._explodes or global_norm(grads.arrays) > 0.99 * norm
        return result

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase != "train" or self._grads is None:
            return
        if self._zeroes:
            for array in self._grads.arrays:
                array[...] = 0.0
        else:
            self._grads = None
        if self._snapshots is not None and batch.loss is not None and not batch.skipped:
            due = run.step % self.snapshot_every == 0
            self._snapshots.follow(run.step, batch.loss, _arrays(run) if due else {})

    def _take_off(self, grads: Gradients) -> None:
        """Take off the gradients of the batches before, unless they lie in arrays that were zeroed behind the last."""
        before, raw = self._piled, {name: array.copy() for name, array in grads.items()}
        same_arrays = self._grads is not None and any(
            np.shares_memory(one, other) for one, other in zip(self._grads.arrays, grads.arrays, strict=True)
        )
        if before is not None and not same_arrays:
            for name, array in grads.items():
                array -= before[name]
            grads.forget_norm()
        self._piled = raw

    # What an alarm leads to -----------------------------------------------------------------------------------------

    @hookimpl
    def on_alarm(self, run: Run, alarm: Alarm) -> None:
        asked = self.when == "always" or alarm.action == "repair"
        if alarm.code not in REMEDIES or alarm.severity == "info" or not asked:
            return
        if self._repaired_step == run.step and run.step and self._done:
            run.report_repair(alarm, "nothing more, as this batch has just led to a repair")
            return
        if max(self._done / self.max_repairs, self._skipped / self.max_skipped) >= 1.0:
            run.stop(
                f"self_repair: {alarm.code} came, and {self._done} repairs and {self._skipped} batches taken out "
                f"have not helped: {alarm.message}"
            )
            return
        self._times_too_high = _number(alarm, "times_too_high")
        self._follows = _number(alarm, "update_gradient_cosine")
        what = REMEDIES[alarm.code](self, run)
        if what:
            run.report_repair(alarm, what)

    def _reset_state(self, run: Run) -> str:
        if self._resets:
            return self._go_back(run)
        if run.reset is None and (run.batch is None or run.batch.batch_size is None):
            return ""  # the script asks nobody for its state
        try:
            run.reset_hidden()
        except RunStateError:
            return ""
        self._resets = True
        return self._count(run, "a zero state enters each batch from now on")

    def _zero_gradients(self, run: Run) -> str:
        if self._zeroes:
            return self._go_back(run)
        if run.batch is None:
            return ""
        self._zeroes = True
        if self._grads is not None:  # else on_backward is about to keep them
            self._piled = {name: array.copy() for name, array in self._grads.items()}
        back = self._restore(run)
        run.skip_batch()
        return self._count(run, f"gradients of earlier batches are taken off from now on{back}")

    def _clip(self, run: Run) -> str:
        if self._clips:
            return self._go_back(run)
        self._clips = True
        back = self._restore(run)  # the update that an explosion made is what did the harm
        return self._count(run, f"gradients are clipped at the norm {self.max_norm:g} from now on{back}")

    def _leave_out(self, run: Run) -> str:
        """A single poisoned batch is taken out; where it is the network that is sick, the run goes back."""
        batch = run.batch
        if batch is None or batch.phase != "train" or run.params is None:
            return self._go_back(run)
        finite = all_finite(named_arrays(run.params, "params").values())
        if not finite or (self._snapshots is not None and self._snapshots.lost):
            return self._go_back(run)
        run.skip_batch()
        self._skipped += 1
        return "the batch was taken out"

    def _lower_rate(self, run: Run) -> str:
        """Where gradients explode, updates follow them and nothing clips, that comes first: a rate is told again."""
        if self._explodes and is_proportional(self._follows) and not self._clips and self._scale == 1.0:
            return self._clip(run)
        return self._go_back(run)

    def _go_back(self, run: Run) -> str:
        back = self._restore(run)
        if not back and run.params is not None and not all_finite(named_arrays(run.params, "params").values()):
            return ""  # a lower rate alone mends nothing
        cut = ""
        if run.base_learning_rate is not None:
            factor = self.factor
            if self._times_too_high > 1.0:
                factor = min(factor, 2.0 / self._times_too_high) if self._scale == 1.0 else math.sqrt(factor)
            self._scale *= factor
            run.scale_learning_rate(run.plugins.name_of(self), self._scale)
            cut = f"the learning rate is {run.learning_rate:g} from now on, {self._scale:.3g} of what was set"
        return self._count(run, f"{cut}{back}".removeprefix(", and ")) if cut or back else ""

    def _restore(self, run: Run) -> str:
        """Put back the last healthy snapshot, and say so; the empty string if there is none that would help."""
        if self._snapshots is None or self._first is None or run.params is None:
            return ""
        params = named_arrays(run.params, "params")
        if run.step > 1 and all(np.array_equal(array, self._first[name]) for name, array in params.items()):
            return ""  # the script trains other arrays than those that the run knows
        step = self._snapshots.go_back(_arrays(run))
        if step is None:
            return ""
        batch = run.batch
        if batch is not None and batch.phase == "train":
            run.skip_batch()  # its gradients are those of the parameters that were given up
        return f", and the parameters are those of step {step} again"

    def _count(self, run: Run, what: str) -> str:
        self._done += 1
        self._repaired_step = run.step
        return what


def _number(alarm: Alarm, name: str) -> float:
    value = alarm.evidence.get(name, 0.0)
    return 0.0 if isinstance(value, str) else value


def _arrays(run: Run) -> dict[str, Array]:
    """Parameters and the optimizer's arrays."""
    return {
        f"{what}.{name}": array
        for what, container in (("params", run.params), ("optimizer_state", run.optimizer_state))
        for name, array in named_arrays(container, what).items()
    }


REMEDIES: Mapping[str, Callable[[SelfRepair, Run], str]] = {
    "RNN201": SelfRepair._reset_state,
    "RNN401": SelfRepair._clip,
    "RNN403": SelfRepair._leave_out,
    "RNN406": SelfRepair._zero_gradients,
    "RNN501": SelfRepair._lower_rate,
    "RNN602": SelfRepair._go_back,
}
"""What is done about each code, and said of it; the empty string if nothing could be done."""
