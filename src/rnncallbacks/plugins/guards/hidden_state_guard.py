"""Guard: the state that enters each batch, where it comes from, its width, and whether its units saturate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.finding import Finding
from rnncallbacks.detectors.sequences import Sequences, mask_of, sequences_of
from rnncallbacks.detectors.state.entering import Look, Phase, Transition, transition
from rnncallbacks.detectors.state.hidden_states import (
    all_alike,
    certain_size,
    first_array,
    is_part_of,
    is_spread,
    root_mean_square,
    rows_of,
    state_of,
    steps_of,
    wrong_width,
)
from rnncallbacks.detectors.state.saturation import SATURATED, SaturationWindow, saturated_share
from rnncallbacks.detectors.state.stream import BoolArray, Continuation, Edges, Tally, continuation, edges_of

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

Evidence = dict[str, float | int | str]

WINDOW = 10
"""Batches that a finding rests on. A phase's first leak rests on ``FIRST_LEAK``, if these leave no doubt."""

FIRST_LEAK = 3

TRAIN = "train"
NO_STATE = "call run.hidden(batch_size), or run.observe(hidden_states=...)"
NO_ORDER = "run.observe(inputs=..., targets=...), or give batches an attribute starts"


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class HiddenStateGuard(Guard):
    """Watches the state that enters each batch, and the states of its time steps.

    - RNN201: the state that the batch before ended with, or that another phase did, enters, and the sequences do not go
      on. Rows that the loader's ``starts`` marks begin anew. Without its word the guard compares rows: in a stream, the
      first input of a row is the last target of the same row one batch earlier, or whatever else holds between inputs
      and targets within a batch. A state set on purpose, an encoder's or a learned initial one, is none that a batch
      ended with. Training's state in a validation is a note, as it touches no parameter.
    - RNN202: the entering state has no axis of the batch's size, or another shape than the state after the first time
      step. Zeros that are spread over the batch do no harm: a note.
    - RNN203: zeros enter each training batch, and each of its rows goes on where it ended, which chance cannot explain.
      A note if ``starts`` says that all rows begin anew.
    - RNN407: half of the tanh units or more lie beyond 0.99, from the first batch on. A note if they came to it by
      training, or if the loss is well below that of an even guess.

    The state is what ``run.observe(entering_state=..., hidden_states=...)`` shows, else what ``run.hidden`` handed out.

    Options
    -------
    action:
        "warn" goes on, "stop" ends the run, "raise" ends it with an error, "repair" asks ``self_repair`` for a remedy.

    Example
    -------
    >>> HiddenStateGuard(action="stop")
    HiddenStateGuard(action='stop')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN201", "RNN202", "RNN203", "RNN407")

    # A run that resumes finds it out again: a checkpoint need not keep it.
    _phases: dict[str, Phase] = state_field(factory=dict, saved=False)
    _saturation: SaturationWindow = state_field(factory=lambda: SaturationWindow(WINDOW))
    _told_width: dict[str, int] = state_field(factory=dict)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._phases.clear()
        if run.epoch == 0:
            self._saturation, self._told_width = SaturationWindow(WINDOW), {}

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        phase = self._phases.get(batch.phase)
        if phase is None:
            phase = self._phases[batch.phase] = Phase(batch.phase)
        phase.begin(batch.index, batch.count)
        if phase.due:
            phase.state, phase.carried = None, first_array(run.hidden_states().get(batch.phase))

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch) -> None:
        phase = self._phases.get(batch.phase)
        if phase is None or not phase.due:
            return
        # Now: the arrays of the states may be used again, by a validation within this very batch.
        phase.state = state_of(batch)
        self._check_saturation(run, batch)

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        phase = self._phases.get(batch.phase)
        if phase is None or not phase.due:
            return
        if phase.state is None or not phase.state.known:
            phase.state = state_of(batch)
        shown = sequences_of(batch)
        mask = mask_of(batch, shown)
        edges = edges_of(shown, mask)
        phase.learn(shown, mask)
        size = batch.batch_size or shown.batch_size or (None if batch.starts is None else len(batch.starts))
        state = phase.state
        if state.known and state.count != shown.seq_len:  # else the entering state was left out
            self._check_width(run, batch, phase, shown)
            if state.entering is None or not state.entering.any():
                if phase.adjacent is not None:
                    run.diagnosis.check("RNN201")
                self._check_reset(run, batch, phase, edges)
            elif size is not None and (rows := rows_of(state.entering, size)) is not None:
                self._check_entering(run, batch, phase, edges, rows)
        phase.rows += size or 0
        phase.before = Look(phase.serial, batch.index, edges, state.final, size)

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        for phase in self._phases.values():
            # The batches of a short epoch are all there is; then none of them may have gone on.
            if phase.leak.broken == phase.leak.batches:
                self._fire_leak(run, phase, phase.leak, f"entered batches of {phase.name} that followed others", 1)
            self._fire_reset(run, phase, WINDOW // 2)
            if phase.reset.went_on < phase.reset.rows:
                phase.reset.clear()
            if phase.name == TRAIN or TRAIN not in self._phases:
                known = phase.state is not None and phase.state.known
                for code in ("RNN201", "RNN202", "RNN203"):
                    run.diagnosis.cannot_check(code, NO_ORDER if known else NO_STATE)
        run.diagnosis.cannot_check("RNN407", "run.observe(hidden_states=...) of tanh units")

    def _check_entering(self, run: Run, batch: Batch, phase: Phase, edges: Edges | None, rows: Array) -> None:
        """A state that is not zero enters: whose it is, and whether its sequences go on."""
        found = None if all_alike(rows) else transition(phase, self._phases.values(), rows)
        if found is None:
            # A learned initial state, or one that is seen to be nobody's final state.
            if all_alike(rows) or (phase.adjacent is not None and phase.adjacent.final is not None):
                run.diagnosis.check("RNN201")
            return
        if found.other is None:
            phase.reset.clear()
            run.diagnosis.check("RNN203")
            # From one epoch to the next nothing goes on, and little is lost, unless they have one batch each.
            if batch.index == found.before.index + 1 or batch.index == found.before.index == 1:
                self._judge(run, batch, phase, edges, found, phase.leak)
        else:
            self._judge(run, batch, phase, edges, found, phase.leaks_from.setdefault(found.other, Tally()))

    def _judge(
        self, run: Run, batch: Batch, phase: Phase, edges: Edges | None, found: Transition, tally: Tally
    ) -> None:
        """Whether the sequences of a batch go on: by the loader's word, else by what they are."""
        source = "the batch before" if found.other is None else f"the phase {found.other}"
        where = f"enters batch {batch.index} of {phase.name}, and is what {source} ended with"
        phase.rms = found.rms
        starts = _starts(batch, len(found.rows))
        if starts is not None:
            run.diagnosis.check("RNN201")
            leaking = int((found.rows & starts).sum())
            if leaking and phase.serial >= phase.quiet_until:
                phase.quiet_until = phase.serial + WINDOW
                message = (
                    f"a state of RMS {found.rms:.3g} {where}, but by the loader's word {leaking} of {len(starts)} "
                    "sequences begin anew: zeros must enter these"
                )
                evidence = {"state_rms": found.rms, "expected_rms": 0.0, "leaking": leaking, "sequences": len(starts)}
                self.fire(run, Finding("RNN201", message, evidence, _severity(phase, found.other)))
            return
        if found.before.edges is None or edges is None:
            return
        order = continuation(found.before.edges, edges, phase.shift.steps)
        if not order.known.any() and getattr(batch.data, "starts", 0) is None:
            # A batch that could say which of its sequences begin, and does not, is one of the library: all of them do.
            order = Continuation(order.goes_on, ~order.known)
        if order.known.any():
            run.diagnosis.check("RNN201")
            tally.add(order, found.rows)
            wanted = FIRST_LEAK if found.other is None else 1
            self._fire_leak(run, phase, tally, where, wanted, _severity(phase, found.other))

    def _fire_leak(
        self, run: Run, phase: Phase, tally: Tally, where: str, wanted: int, severity: Severity | None = None
    ) -> None:
        within = phase.shift.share or 1.0
        if tally.broken < wanted or phase.serial < phase.quiet_until or not tally.cannot_be_a_stream(within):
            return
        message = (
            f"a state of RMS {phase.rms:.3g} {where}, but {tally.went_on} of {tally.rows} rows ({tally.share:.0%}) "
            f"begin where the same row ended a batch earlier; in a stream {within:.0%} do, and else zeros must enter"
        )
        evidence = {
            "state_rms": phase.rms,
            "expected_rms": 0.0,
            "share_that_goes_on": tally.share,
            "share_in_a_stream": within,
            "rows": tally.rows,
            "batches": tally.batches,
        }
        tally.clear()
        phase.quiet_until = phase.serial + WINDOW
        self.fire(run, Finding("RNN201", message, evidence, severity))

    def _check_reset(self, run: Run, batch: Batch, phase: Phase, edges: Edges | None) -> None:
        """Zeros enter a batch: whether it is one of a stream."""
        before = phase.adjacent
        if phase.name != TRAIN or before is None or before.edges is None or edges is None or batch.index == 1:
            return
        if batch.entering_state is not None or (before.final is not None and not before.final.any()):
            return  # zeros are what the batch before ended with: dead units
        order = continuation(before.edges, edges, phase.shift.steps)
        if order.ends is None:
            return
        run.diagnosis.check("RNN203")
        starts, every = _starts(batch, edges.batch_size), np.ones(edges.batch_size, dtype=np.bool_)
        all_anew = starts is not None and bool(starts.all())
        phase.told_anew = all_anew and (phase.told_anew or not phase.reset.rows)
        phase.reset.add(order, every if starts is None or all_anew else ~starts)
        self._fire_reset(run, phase, WINDOW)

    def _fire_reset(self, run: Run, phase: Phase, wanted: int) -> None:
        tally = phase.reset
        if tally.batches < wanted or not tally.cannot_be_chance():
            return
        message = (
            f"zeros enter each batch of {phase.name}, but all {tally.rows} rows of {tally.batches} batches begin where "
            "the same row ended a batch earlier: this is a stream, and what it said before is forgotten at each batch"
        )
        evidence = {"share_that_goes_on": 1.0, "rows": tally.rows, "batches": tally.batches, "state_rms": 0.0}
        tally.clear()
        self.fire(run, Finding("RNN203", message, evidence, "info" if phase.told_anew else None))

    def _check_width(self, run: Run, batch: Batch, phase: Phase, shown: Sequences) -> None:
        state = phase.state
        assert state is not None
        if state.entering is None:
            run.diagnosis.check("RNN202")
            if shown.inputs is not None and batch.batch_size not in shown.inputs.shape:
                wrong = f"was made for {batch.batch_size} sequences, and its inputs have the shape {shown.inputs.shape}"
                self._fire_width(run, batch, wrong, {"state_rms": 0.0, "batch_size": batch.batch_size or 0}, "info")
            return
        size = certain_size(batch, shown, state.entering)
        if size is None and state.following is None:
            return
        run.diagnosis.check("RNN202")
        found = wrong_width(state, size)
        if found is None:
            return
        severity: Severity | None = None
        if is_spread(state):
            before = phase.adjacent
            if not state.entering.any():
                severity = "info"
            elif before is None or not is_part_of(state.entering, before.final):
                return  # a learned initial state, one for all sequences
        evidence: Evidence = {"state_rms": root_mean_square(state.entering), "state_shape": str(state.entering.shape)}
        if size is not None:
            evidence["batch_size"] = size
        self._fire_width(run, batch, found, evidence, severity)

    def _fire_width(self, run: Run, batch: Batch, wrong: str, evidence: Evidence, severity: Severity | None) -> None:
        loudness = severity or "error"
        if self._told_width.get(loudness) != run.epoch:  # shapes say the same thing in each batch
            self._told_width[loudness] = run.epoch
            message = f"the state that enters batch {batch.index} of {batch.phase} {wrong}"
            self.fire(run, Finding("RNN202", message, evidence, severity))

    def _check_saturation(self, run: Run, batch: Batch) -> None:
        steps = steps_of(batch.observed.get("hidden_states"))
        if steps is None or batch.loss is None or not math.isfinite(batch.loss) or batch.skipped:
            return
        share, window = saturated_share(steps), self._saturation
        mean = None if share is None else window.add(share, batch.loss)
        if window.full:
            run.diagnosis.check("RNN407")
        if mean is None:
            return
        vocab_size = self._phases[TRAIN].vocab_size
        fault = window.is_fault(math.log(vocab_size) if vocab_size > 1 else None)
        began = window.first_share or 0.0
        since = "from the first batch on" if fault else f"{began:.0%} did at first, and the loss is {window.loss:.4g}"
        message = f"{mean:.0%} of the units lie beyond {SATURATED} in size, in {WINDOW} batches: {since}"
        evidence = {"saturated_share": mean, "healthy_share": 0.05, "first_share": began, "loss": window.loss}
        self.fire(run, Finding("RNN407", message, evidence, None if fault else "info"))


def _starts(batch: Batch, size: int) -> BoolArray | None:
    """Which sequences begin anew by the loader's word, if it has one for each."""
    starts = batch.starts
    return None if starts is None or starts.shape != (size,) else starts.astype(np.bool_, copy=False)


def _severity(phase: Phase, other: str | None) -> Severity | None:
    """What another phase leaves in a validation touches no parameter."""
    return "info" if other is not None and phase.name != TRAIN else None
