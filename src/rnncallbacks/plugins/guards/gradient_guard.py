"""Guard: whether gradients are those of the loss, are zeroed in time, and neither explode nor vanish."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.arrays import Array, named_arrays, parameters_of
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.closure import ClosureError, evaluate_closure_once, restore_afterwards
from rnncallbacks.detectors.finding import Finding
from rnncallbacks.detectors.gradient.accumulation import LOOKS, Accumulation
from rnncallbacks.detectors.gradient.clipped import clipping_marks
from rnncallbacks.detectors.gradient.directional import Slopes, movable
from rnncallbacks.detectors.gradient.exploding import LEAST, ExplosionWatch, describe
from rnncallbacks.detectors.gradient.gradient_check import Verdict, examine, foresees
from rnncallbacks.detectors.gradient.gradient_words import (
    Found,
    named_factor,
    words_of_factor,
    words_of_growth,
    words_of_sum,
    words_of_wrong,
)
from rnncallbacks.detectors.gradient.vanishing import VANISHED, share_left
from rnncallbacks.detectors.gradient.without_closure import WithoutClosure
from rnncallbacks.detectors.loss.summation_counts import summation_counts
from rnncallbacks.detectors.update.metrics import is_proportional, update_gradient_cosine, update_ratio
from rnncallbacks.gradients import global_norm

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run
    from rnncallbacks.gradients import Gradients

EXAMINED = (1, 10, 250)
"""Training batches whose gradients are compared with the loss: errors show more as units leave their linear range."""

VANISHING = (5, 10, 15)
"""Training batches whose gradients are followed back through time."""

SMALL = 0.1
"""A gradient below this share of the next one is too small to be found in it."""

AGAIN = 10
"""Batches after which a repair of gradients that add up is looked at."""

NO_CLOSURE = "pass closure= to run.backward"
NO_PARAMS = "give the parameters to Run(params)"
"""Words for what is lacking."""


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class GradientGuard(Guard):
    r"""Looks at raw gradients, before anything clips them, and compares them with what the loss does.

    - RNN404, RNN405: at training batches 1, 10 and 250 the parameters are moved a little along the gradients and along
      random signs, and put back bit for bit; the closure given to ``run.backward`` says what the loss does. RNN405 is
      one factor in every array, seen in another batch too: a note if updates do not follow the gradient's scale. RNN404
      is any other difference, and a note if it looks like truncated backpropagation. A gradient that comes clipped is
      not called wrong for that, nor one to which weight decay was added. Without a closure, what is plainly wrong is
      still told, as a warning: the loss falls by less than three quarters of what gradients promise over the first 40,
      120 or 280 updates, on batches that were shuffled; or the gradient of a matrix is zero, bit for bit, in each of
      the first batches.
    - RNN406: at batch 2, the gradient less that of batch 1 is right, and the gradient itself is not. Without a closure:
      the norm grows in proportion to the number of batches.
    - RNN401: nothing clips, an update that follows the gradient's scale moves the parameters by their own size (or by
      0.3 of it twice, with a tenth of the norms above ``max_norm``), and the loss is 1.25 times the first one
      behind it. Gradients that are large and do no harm are let be.
    - RNN402, a note: in three batches, the gradient that reaches the first time step is less than 1e-4 of the largest.

    Options
    -------
    max_norm:
        The norm that a gradient should not exceed, above 0: that at which ``gradient_clipping`` would clip.
    action:
        "warn" goes on, "stop" ends the run, "raise" ends it with an error, "repair" asks ``self_repair`` for a remedy.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013).

    Example
    -------
    >>> GradientGuard(max_norm=1.0).max_norm
    1.0
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN401", "RNN402", "RNN404", "RNN405", "RNN406")

    max_norm: float = attrs.field(default=5.0, validator=options.number(above=0))
    _seen: int = state_field(0)
    _first_loss: float = state_field(math.nan)
    _watch: ExplosionWatch = state_field(factory=ExplosionWatch)
    _sums: Accumulation = state_field(factory=Accumulation)
    _sum_at: int = state_field(2)
    _plain: WithoutClosure | None = state_field(None, saved=False)
    _examined: bool = state_field(False)
    _factor: tuple[float, str | None, int, int] | None = state_field(None)
    _exact: bool = state_field(False, saved=False)
    _vanished: int = state_field(0)
    _initial: float = state_field(math.nan)
    _follows: float = state_field(math.nan)
    _rate: float = state_field(0.0)
    _moved: bool = state_field(False)
    _before: Mapping[str, Array] = state_field(factory=dict, saved=False)
    _final: Mapping[str, Array] = state_field(factory=dict, saved=False)
    _previous: list[Mapping[str, Array]] = state_field(factory=list, saved=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._before, self._final, self._previous = {}, {}, []
        self._exact = False
        self._plain = WithoutClosure() if run.epoch == 0 else None
        if run.epoch == 0:
            self._seen, self._sum_at, self._vanished = 0, 2, 0
            self._watch, self._sums = ExplosionWatch(), Accumulation()
            self._examined, self._moved, self._factor = False, False, None
            self._initial = self._follows = math.nan

    @hookimpl(wrapper=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> Generator[None, Any, Any]:
        loss = batch.loss
        assert loss is not None
        if self._watch.over and self._plain is None and not self._is_due(self._seen + 1):
            self._seen += math.isfinite(loss) and not batch.skipped
            return (yield)
        norm = grads.norm
        found = self._watch.see(loss, norm, self.max_norm)
        if found is not None:
            first, self._watch = self._watch.first, ExplosionWatch()  # which sees whether a repair helps
            numbers = attrs.asdict(found) | {"max_norm": self.max_norm}
            self.fire(run, Finding("RNN401", describe(found, self.max_norm, first), numbers))
        fine = math.isfinite(loss) and math.isfinite(norm) and not batch.skipped
        if fine:
            self._seen += 1
            self._look(run, batch, grads, loss)
        result = yield
        if fine and not batch.skipped and run.params is not None:
            self._remember(run, grads, norm)
        return result

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        super().on_fit_end(run)
        self._plain = None  # which holds copies of the parameters

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if not self._final or batch.phase != "train":
            return
        after = named_arrays(run.params)
        cosine = update_gradient_cosine(self._before, after, self._final)
        self._moved = not math.isnan(cosine)
        if self._moved:
            self._measure(run, after, cosine)
        self._before, self._final = {}, {}

    def _measure(self, run: Run, after: Mapping[str, Array], cosine: float) -> None:
        """Say how large an update was, beside the parameters and beside the gradient."""
        norm = global_norm(list(self._final.values()))
        size = global_norm(list(self._before.values()))
        update = update_ratio(self._before, after)
        rate = update * size / norm / (1.0 if run.base_learning_rate is None else run.learning_rate or math.inf)
        if math.isnan(self._follows):
            self._follows, self._initial = cosine, size
            self._rate = rate if run.base_learning_rate is None else max(rate, 1.0)
            self._watch.over = self._watch.over or is_proportional(cosine) is False
        # A script that clips behind run.backward makes updates that are shorter than the gradient says.
        if self._watch.wants_update(norm) and rate > 0.99 * self._rate:
            self._watch.measure(norm, update, update * size * self.max_norm / (norm * self._initial), cosine)

    # What is due at a batch -----------------------------------------------------------------------------------------

    def _is_due(self, seen: int) -> bool:
        return seen <= LEAST or seen in EXAMINED or 0 <= self._sum_at - seen <= 1 or self._factor is not None

    def _look(self, run: Run, batch: Batch, grads: Gradients, loss: float) -> None:
        seen = self._seen
        if seen in VANISHING:
            self._look_through_time(run, batch)
        if seen == LEAST:
            self._note_updates(run)
        if seen == self._sum_at - 1:
            self._previous = [{name: array.copy() for name, array in grads.items()}]
        if seen == 1:
            self._first_loss = loss
        # Far above its first value a loss is at the end of its tether, where scripts keep logarithms from overflowing.
        examined = seen in EXAMINED and not self._examined and not loss > 2.0 * self._first_loss
        if examined or self._factor is not None or seen == self._sum_at:
            self._probe(run, batch, grads, loss, examined)
        if seen <= LOOKS[-1] and self._sum_at > 0 and batch.closure is None:
            self._add_up(run, batch, grads, loss)
        if self._plain is not None:
            self._look_without_closure(run, batch, grads, loss)

    def _remember(self, run: Run, grads: Gradients, norm: float) -> None:
        """Keep what is needed to see what the update does, in the batches where somebody wants to know."""
        first = math.isnan(self._follows) and self._seen <= 5
        before_sum = self._seen == self._sum_at - 1
        if not (first or before_sum or self._watch.wants_update(norm)):
            return
        clipped = global_norm(grads.arrays) < 0.999 * norm
        if first or before_sum or not clipped:
            self._before = {name: array.copy() for name, array in named_arrays(run.params).items()}
            self._final = {name: array.copy() for name, array in grads.items()}
            if clipped and before_sum:
                self._previous.append(self._final)

    def _note_updates(self, run: Run) -> None:
        if run.params is None:
            run.diagnosis.cannot_check("RNN401", NO_PARAMS)
        elif math.isnan(self._follows):
            run.diagnosis.cannot_check("RNN401", "write run.params = params after an update that makes new arrays")
        else:
            run.diagnosis.check("RNN401")

    def _look_through_time(self, run: Run, batch: Batch) -> None:
        share = share_left(batch.observed.get("hidden_gradients"))
        if share is None:
            why = "run.observe(hidden_gradients=...), one a time step, of sequences of ten steps or more"
            run.diagnosis.cannot_check("RNN402", why)
            return
        self._vanished += share < VANISHED
        if self._seen < VANISHING[-1]:
            return
        run.diagnosis.check("RNN402")
        if self._vanished == len(VANISHING):
            self.fire(
                run,
                Finding(
                    "RNN402",
                    f"{share:.2g} of the gradient reaches the first time step (expected more than {VANISHED:g})",
                    {"share": share, "expected": VANISHED},
                ),
            )

    # Gradients beside the loss --------------------------------------------------------------------------------------

    def _probe(self, run: Run, batch: Batch, grads: Gradients, loss: float, examined: bool) -> None:
        summed = self._seen == self._sum_at
        found: Found | None = None
        try:
            if batch.closure is None or run.params is None:
                raise ClosureError(NO_CLOSURE if batch.closure is None else NO_PARAMS)
            marks = clipping_marks(grads)
            params = movable(named_arrays(run.params), grads)
            params = {name: array for name, array in params.items() if name not in marks.arrays}
            # A closure that computes gradients as well may write them where the script's are.
            with restore_afterwards(grads.arrays):
                # A closure that gave the very loss before is not asked again where little else is.
                base = loss if self._exact and summed and not examined else evaluate_closure_once(batch)
                self._exact = base == loss
                slopes = Slopes(batch.closure, params, grads, loss, marks.entries, base)
                if self._factor is not None:
                    found = self._confirm(run, batch, slopes)
                elif examined:
                    found = self._judge(run, batch, examine(slopes), marks.norm)
                elif summed:
                    found = self._look_for_sum(run, slopes, loss)
        except ClosureError as reason:
            codes = ("RNN404", "RNN405") if examined or self._factor is not None else ()
            for code in (*codes, "RNN406") if summed else codes:
                run.diagnosis.cannot_check(code, str(reason))
        if found is not None:
            self.fire(run, Finding(*found))

    def _judge(self, run: Run, batch: Batch, verdict: Verdict, bound: float | None) -> Found | None:
        if verdict.kind == "unclear":
            for code in ("RNN404", "RNN405"):
                run.diagnosis.cannot_check(code, "the loss changes too little, or too roughly, to tell")
            return None
        if verdict.kind == "scaled" and (bound is None or verdict.ratio < 0.99):
            name, power = named_factor(verdict.ratio, summation_counts(batch)) or (None, 1)
            self._factor = (verdict.ratio, name, power, 1 if name is not None or verdict.ratio < 0.0 else 2)
            return None
        run.diagnosis.check("RNN404")
        if verdict.kind == "scaled":
            run.diagnosis.cannot_check("RNN405", "call run.backward before gradients are clipped")
            return None
        if verdict.kind == "right":
            run.diagnosis.check("RNN405")
            return None
        self._examined = True
        message, numbers = words_of_wrong(verdict)
        severities: dict[str, Severity] = {"part": "info", "zero": "warning"}
        return "RNN404", message, numbers, severities.get(verdict.kind)

    def _confirm(self, run: Run, batch: Batch, slopes: Slopes) -> Found | None:
        """Look whether gradients are off by the factor that was seen in a batch before."""
        assert self._factor is not None
        (ratio, name, power, missing), self._factor = self._factor, None
        counts = summation_counts(batch)
        if name is not None:
            ratio = counts.get(name, 1.0) ** power
        if not foresees(slopes, ratio):
            return None
        run.diagnosis.check("RNN404")
        if ratio < 0.0 and self._follows < 0.0:
            return None  # this script calls the direction of descent its gradient, and adds it
        if ratio > 0.0 and missing > 1:
            self._factor = (ratio, name, power, missing - 1)
            return None
        self._examined = True
        if ratio < 0.0:
            return "RNN404", *words_of_wrong(Verdict(kind="scaled", ratio=ratio)), None
        named = None if name is None else (name, power)
        severity: Severity | None = "info" if is_proportional(self._follows) is False else None
        return "RNN405", *words_of_factor(ratio, named, counts.get(name or "", 1.0)), severity

    def _look_for_sum(self, run: Run, slopes: Slopes, loss: float) -> Found | None:
        at, self._sum_at = self._sum_at, 0
        before = [global_norm([previous[name] for name in slopes.params]) for previous in self._previous]
        if max(before, default=0.0) < SMALL * global_norm(list(slopes.gradients.values())):
            self._sum_at = at + 1 if at < LOOKS[-1] else 0  # it would hardly show whether this one holds that
            return None
        run.diagnosis.check("RNN406")
        if foresees(slopes):
            return None
        for previous in self._previous:
            fresh = {name: gradient - previous[name] for name, gradient in slopes.gradients.items()}
            if examine(Slopes(slopes.closure, slopes.params, fresh, loss, slopes.still, slopes.base)).kind != "right":
                continue
            if examine(slopes).kind in ("right", "unclear"):
                return None  # where a network saturates or diverges, many gradients are right, or none is clearly wrong
            self._examined = True  # later ones are such sums as well
            if not self._moved:  # gradients are added up on purpose, over some batches until an update
                self._sum_at = at + 1 if at < LOOKS[-1] else 0
                return None
            self._sum_at = at + AGAIN if at < LOOKS[-1] else 0
            moved = slopes.along(list(slopes.params), slopes.sizes[0], 1.0)
            return "RNN406", *words_of_sum(moved.predicted / (moved.change or math.inf)), None
        return None

    def _look_without_closure(self, run: Run, batch: Batch, grads: Gradients, loss: float) -> None:
        if batch.closure is not None or self._examined or run.diagnosis.repairs:
            self._plain = None
            return
        assert self._plain is not None
        found = self._plain.look(batch, loss, grads, run.params, self._follows)
        if self._plain.over:
            self._plain = None
        if found is not None:
            self._examined = True
            self.fire(run, Finding(*found))

    def _add_up(self, run: Run, batch: Batch, grads: Gradients, loss: float) -> None:
        """Without a closure: follow norms and directions."""
        params = {} if run.params is None else parameters_of(grads, named_arrays(run.params))
        self._sums.add(loss, grads.values(), [params[name] for name in grads] if len(params) == len(grads) else [])
        if batch.count is not None and batch.count <= 2:
            return  # one gradient is like the other, as the batches are the same
        if self._sums.found:
            self._sum_at, self._examined = 0, True
            self.fire(run, Finding("RNN406", *words_of_growth(self._sums)))
        elif self._seen == LOOKS[-1]:
            run.diagnosis.check("RNN406")
