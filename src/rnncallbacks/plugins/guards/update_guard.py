"""Guard: what the updates do. Too much, too little, or nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from rnncallbacks.arrays import Array, FlatArrays, copied, lie_alike, named_arrays
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.closure import ClosureError, evaluate_closure, evaluate_closure_once, restore_afterwards
from rnncallbacks.detectors.finding import Finding
from rnncallbacks.detectors.loss.constant_baseline import constant_baseline_loss
from rnncallbacks.detectors.sequences import sequences_of
from rnncallbacks.detectors.update.metrics import overshoot, same_losses, usual_norm
from rnncallbacks.detectors.update.too_high import CLOSE, EVERY, UpdateRecord

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run
    from rnncallbacks.gradients import Gradients

Evidence = dict[str, float | int | str]

FIRST_CALLS, MOST_CALLS = 8, 24
"""Closures called after updates, in any case and at most."""

SLOW, PULL, SMALL = 0.1, 0.1, 3e-3
"""A rate is too low if at its pace the rest of the run improves the loss by less than a tenth, with gradients that are
worth following, and updates below 0.3% of the weights."""

USUAL = 0.1
"""The share of updates that raise their own batch's loss in a healthy run."""

ENDLESS = 400
"""Batches after which an epoch that does not end is halved, to compare the losses of its halves."""

ALL = ""
"""The name of an array that holds all parameters, or all gradients."""

STALE = "run.params never changed although the loss did: assign run.params = params after the update"


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class UpdateGuard(Guard):
    r"""Judges the learning rate by what an update does, never by its number, and sees updates that do nothing.

    - RNN501, too high: updates that are large beside the weights leave the loss above the first one and do not bring it
      back; where there is a closure, it has to confirm that updates raised the loss of their own batch. Or they made
      the weights several times larger, and the loss has not halved. Or they doubled them at least, and raised the loss
      of their own batch time and again, or switched off a third of the recurrent units, which pass no gradient on any
      more. Or loss or gradients are no longer finite right after such a rise.
    - RNN502, too low: the gradient predicts by how much an update lowers its batch's loss,
      :math:`-g \cdot \Delta\theta`. At that pace, divided by the schedules' scales, the whole run improves the loss by
      less than 10%, although the gradient is worth following. Only for a network that is as good as untrained.
    - RNN503, nothing: after several updates with gradients that are not zero, parameters are bit for bit the same, and
      the loss says so too.

    All three need ``Run(params)``. A script whose update returns new arrays must assign ``run.params = params``; one
    that does not is told so. A closure is called after the first 8 updates, and after up to 24 if one of them raised
    the loss, or it does not fall.

    Options
    -------
    action:
        What to do about a finding: "warn" goes on, "stop" ends the run, "raise" ends it with an error, "repair" has
        ``self_repair`` roll back and cut the rate.

    Source: Schaul, Zhang and LeCun, "No more pesky learning rates" (2013), for the loss of one batch before and after
    an update.

    Example
    -------
    >>> UpdateGuard().codes
    ('RNN501', 'RNN502', 'RNN503')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN501", "RNN502", "RNN503")

    _record: UpdateRecord = state_field(factory=UpdateRecord)
    _repairs: int = state_field(0)
    _closure: str = state_field("unknown")  # then "exact", "other" or "useless"
    _moved: bool = state_field(False)
    _still: int = state_field(0)
    _settled: bool = state_field(False)
    _round: list[float] = state_field(factory=list)
    _first_round: list[float] = state_field(factory=list)
    _rounds: int = state_field(0)
    _norm: float = state_field(0.0, saved=False)
    _begun: bool = state_field(False, saved=False)
    _in_one: bool = state_field(False, saved=False)
    _before: Mapping[str, Array] = state_field(factory=dict, saved=False)
    _raw: Mapping[str, Array] = state_field(factory=dict, saved=False)
    _start: float | None = state_field(None, saved=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._begun = False
        if run.epoch == 0:  # a run that resumes goes on with what the checkpoint put back
            self._record.forget()
            self._repairs = self._still = self._rounds = 0
            self._moved, self._settled, self._closure = False, False, "unknown"
            self._round, self._first_round = [], []
        if run.params is None:
            for code in self.codes:
                run.diagnosis.cannot_check(code, "pass the parameters to Run(params)")

    # Before and after the update ------------------------------------------------------------------------------------

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> None:
        self._begun = False
        if self._repairs != len(run.diagnosis.repairs):
            rolled_back = any(repair.code != "RNN403" for repair in run.diagnosis.repairs[self._repairs :])
            self._repairs = len(run.diagnosis.repairs)
            if rolled_back:
                self._record.begin()
        assert batch.loss is not None
        finite, due = math.isfinite(batch.loss), self._record.due
        if finite and not due and self._record.seen > CLOSE:
            if self._before:
                self._before, self._raw = {}, {}
            return
        norm = grads.norm if finite else math.nan
        if not math.isfinite(norm):
            self._judge_blow_up(run)
            return
        if not due or batch.skipped or norm == 0.0 or run.params is None or _rate_scale(run) == 0.0:
            return
        self._start, self._norm = None, norm
        self._in_one = lie_alike(run.params, grads.flat)
        gradients = {ALL: grads.flat.flat} if self._in_one and grads.flat is not None else grads
        self._begun, self._before = True, copied(self._params(run), self._before)
        self._record.look(grads)
        self._raw = copied(gradients, self._raw) if self._record.seen < CLOSE else {}
        if self._wants_closure(batch) and self._closure != "exact":
            try:
                self._start = evaluate_closure_once(batch)
            except ClosureError:
                self._closure = "useless"
            self._compare(batch)

    @hookimpl(tryfirst=True)
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase != "train":
            return
        loss, record, begun, self._begun = batch.loss, self._record, self._begun, False
        if loss is None or batch.skipped or not math.isfinite(loss):
            return
        if self._repairs != len(run.diagnosis.repairs):  # the parameters are not those that the update left
            return
        if record.seen < 3:
            targets = sequences_of(batch).targets
            if targets is not None:
                record.blind = max(record.blind, constant_baseline_loss(targets))
        record.note(loss, _positions(batch))
        if begun:
            self._measure(run, batch)
        if self._still and not self._moved:
            self._judge_rest(run, batch)
        elif self._moved and (record.seen <= CLOSE or record.seen % EVERY == 0):
            self._judge_rate(run)

    def _measure(self, run: Run, batch: Batch) -> None:
        after, before = self._params(run), self._before
        if after.keys() != before.keys():
            return
        usual = usual_norm(run.params.values()) if self._in_one else None
        ratio = self._record.measure(before, after, self._raw, _rate_scale(run), usual, self._norm)
        if ratio == 0.0:
            self._still += not self._moved
            return
        if not self._moved:
            self._moved = True
            run.diagnosis.check("RNN503")
        if self._wants_closure(batch):
            start = self._start if self._closure == "other" else batch.loss
            end = self._evaluate(batch)
            if end is not None and start is not None and self._record.reference > 0.0:
                self._record.changes.append((end - start) / self._record.reference)
                if len(self._record.changes) == 3 and not any(self._record.changes):
                    self._closure = "useless"  # it does not see the parameters
                    self._record.changes.clear()

    def _params(self, run: Run) -> Mapping[str, Array]:
        """The parameters by name, or all of them in one array."""
        if self._in_one and isinstance(run.params, FlatArrays):
            return {ALL: run.params.flat}
        return {name: array for name, array in named_arrays(run.params, "params").items() if array.dtype.kind == "f"}

    # The closure ----------------------------------------------------------------------------------------------------

    def _wants_closure(self, batch: Batch) -> bool:
        if batch.closure is None or self._closure == "useless":
            return False
        changes = self._record.changes
        if len(changes) < FIRST_CALLS:
            return True
        suspicious = self._record.large and (max(changes) > 0.0 or self._record.level(12) > 0.85)
        return len(changes) < MOST_CALLS and suspicious

    def _evaluate(self, batch: Batch) -> float | None:
        assert batch.closure is not None
        try:
            return evaluate_closure(batch.closure)
        except ClosureError:  # whatever somebody's function raises, the rate is judged without it
            self._closure = "useless"
            return None

    def _compare(self, batch: Batch) -> None:
        """Whether the closure gives the batch's loss, or at least the same number twice."""
        if self._start is None or batch.loss is None:
            return
        if math.isclose(self._start, batch.loss, rel_tol=1e-5, abs_tol=1e-12):
            self._closure = "exact"
        elif self._closure == "unknown":
            self._closure = "other" if self._evaluate(batch) == self._start else "useless"

    # Too high -------------------------------------------------------------------------------------------------------

    def _judge_rate(self, run: Run) -> None:
        record = self._record
        if record.seen == CLOSE:
            run.diagnosis.check("RNN501")
        elif record.seen == CLOSE + 20:
            self._judge_low(run)
        window = record.rise()
        if window:
            level, first = record.level(window), record.reference
            what = f"the median of the last {window} losses is {level * first:.6g}, {level:.3g} times the first"
            self._fire_high(run, f"{what}, {first:.6g}")
        elif record.outgrew():
            level = record.level(record.seen // 2)
            self._fire_high(
                run,
                f"after {record.seen} updates the weights are {record.growth:.3g} times as large as they were, and the "
                f"loss is {level:.3g} times the first",
            )
        elif record.overshoots():
            self._fire_high(run, f"after {record.seen} updates the loss is {record.level(20):.3g} times the first")
        elif record.silenced():
            now, before = float(np.median(record.silent[1:])), record.silent[0]
            units = f"{now:.0%} of the units pass no gradient on, {before:.0%} did not at first"
            self._fire_high(run, f"after {record.seen} updates {units}")

    def _judge_blow_up(self, run: Run) -> None:
        """The batch is not finite: was it the updates before that did it?"""
        record = self._record
        if record.blew_up():
            first, last = record.reference, record.losses[-1]
            self._fire_high(
                run, f"{record.seen} updates took the loss from {first:.6g} to {last:.6g} and beyond numbers"
            )

    def _fire_high(self, run: Run, what: str) -> None:
        record = self._record
        middle, largest = float(np.median(record.ratios)), max(record.ratios)
        evidence: Evidence = {
            "first_loss": record.reference,
            "loss": record.losses[-1],
            "updates": record.seen,
            "update_ratio": middle,
            "largest_update_ratio": largest,
            "weight_growth": record.growth,
            "times_too_high": record.times_too_high,
            **_rate(run),
        }
        if not math.isnan(record.follows):
            evidence["update_gradient_cosine"] = record.follows
        what += f"; updates moved the weights by {middle:.2g} of their size each, and by up to {largest:.2g}"
        if len(record.silent) > 1:
            evidence |= {"dead_unit_share": record.silent[-1], "first_dead_unit_share": record.silent[0]}
        if record.changes:
            share, excess = overshoot(record.changes)
            evidence |= {"overshoot_share": share, "mean_overshoot": excess, "overshoot_updates": len(record.changes)}
            what += f"; {share:.0%} of {len(record.changes)} raised the loss of their own batch"
            if share > USUAL:
                what += ", a tenth at most is usual"
        record.begin()
        run.diagnosis.check("RNN501")
        self.fire(run, Finding("RNN501", what, evidence))

    # Too low --------------------------------------------------------------------------------------------------------

    def _judge_low(self, run: Run) -> None:
        record = self._record
        if len(record.paces) < CLOSE // 2:
            return
        run.diagnosis.check("RNN502")
        pace, pull, ratio = (float(np.median(some)) for some in (record.paces, record.pulls, record.small_ratios))
        updates = min(max(_planned(run), 500), 2000)
        untrained = record.blind > 0.0 and float(np.median(record.losses)) > 0.8 * record.blind
        if not (0.0 < pace * updates < SLOW and pull > PULL and ratio < SMALL and untrained):
            return
        needed = math.ceil(0.05 / pace)
        self.fire(
            run,
            Finding(
                "RNN502",
                f"an update moves the weights by {ratio:.2g} of their size and lowers its batch's loss by {pace:.2g} "
                f"of it: at that pace 5% take {needed} updates",
                {"improvement_per_update": pace, "update_ratio": ratio, "updates_for_5_percent": needed} | _rate(run),
            ),
        )

    # Nothing --------------------------------------------------------------------------------------------------------

    def _judge_rest(self, run: Run, batch: Batch) -> None:
        """Parameters that rest: is it they, or only what the run knows of them?"""
        assert batch.loss is not None
        self._round.append(batch.loss)
        if self._still < 3 or self._settled:
            return
        if self._closure == "exact" and batch.closure is not None:
            now = self._evaluate(batch)
            same = now is not None and math.isclose(now, batch.loss, rel_tol=1e-9)
            if same and not self._sees_parameters(run, batch):
                self._closure = "useless"  # it evaluates the arrays that the script had before the update
            elif now is not None:
                self._settle(run, same, f"the same batch's loss is {now:.6g} after the update as before it")
        elif len(self._round) >= ENDLESS:
            self._compare_rounds(run, self._round[: ENDLESS // 2], self._round[ENDLESS // 2 :])
            self._round = []

    def _sees_parameters(self, run: Run, batch: Batch) -> bool:
        arrays = [array for array in named_arrays(run.params, "params").values() if array.flags.writeable]
        with restore_afterwards(arrays):
            for array in arrays:
                array[...] = 0
            return self._evaluate(batch) != batch.loss

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        if self._moved or self._still < 3 or self._settled:
            return
        if self._first_round and self._round:
            self._compare_rounds(run, self._first_round, self._round)
        self._first_round, self._round = self._first_round or self._round, []

    def _compare_rounds(self, run: Run, earlier: list[float], later: list[float]) -> None:
        self._rounds += 1
        same = same_losses(earlier, later)
        if same is None and self._rounds >= 3:  # a loss that rests for so long does not speak for a network that learns
            same = True
        if same is not None:
            means = f"{np.mean(earlier):.6g} and {np.mean(later):.6g}"
            self._settle(run, same, f"two rounds over the data gave the mean losses {means}")

    def _settle(self, run: Run, same: bool, how: str) -> None:
        self._settled = True
        if same:
            what = f"after {self._still} updates with gradients, the parameters are bit for bit what they were; {how}"
            self.fire(run, Finding("RNN503", what, {"updates": self._still, "update_ratio": 0.0} | _rate(run)))
            return
        for code in self.codes:
            run.diagnosis.cannot_check(code, STALE)


def _rate(run: Run) -> Evidence:
    return {} if run.base_learning_rate is None else {"learning_rate": run.learning_rate}


def _rate_scale(run: Run) -> float:
    """What the schedules make of the base learning rate; 1 where the run has none."""
    return 1.0 if run.base_learning_rate is None else run.learning_rate / run.base_learning_rate


def _planned(run: Run) -> int:
    """How many updates the whole run has, 1000 if nothing tells."""
    count = run.batch.count if run.batch is not None else None
    return 1000 if count is None or run.max_epochs is None else count * run.max_epochs


def _positions(batch: Batch) -> float:
    """A number that grows with the batch as its positions do; 1 where nothing tells."""
    if batch.tokens is not None:
        return float(batch.tokens)
    data: Any = batch.observed.get("targets", batch.data)
    if isinstance(data, tuple | list):
        data = data[-1] if data else None
    elif hasattr(data, "targets"):
        data = data.targets
    elif isinstance(data, Mapping):
        data = data.get("targets")
    return float(max(data.size, 1)) if isinstance(data, np.ndarray) else 1.0
