"""Guard: the state that enters each batch, where it comes from, its width, and whether its units saturate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.contiguity import Continuation, Edges, Tally, continuation, edges_of, time_first
from rnncallbacks.evidence import Sequences, mask_of, sequences_of
from rnncallbacks.guarding import Guard
from rnncallbacks.hookspecs import hookimpl
from rnncallbacks.saturation import SATURATED, SaturationWindow, saturated_share
from rnncallbacks.states import (
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
from rnncallbacks.transitions import PERIOD, Look, Phase, Transition, transition

if TYPE_CHECKING:
    from rnncallbacks.catalogue import Severity
    from rnncallbacks.records import Batch
    from rnncallbacks.run import Run

WINDOW = 10
"""Batches that a finding rests on. A phase's first leak rests on ``FIRST_LEAK``, if these leave no doubt."""

FIRST_LEAK = 3

TRAIN = "train"
NO_STATE = "call run.hidden(batch_size), or run.observe(hidden_states=...)"
NO_ORDER = "run.observe(inputs=..., targets=...), or give batches an attribute starts"


@attrs.define(eq=False, kw_only=True)
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
    - RNN407: half of the tanh units or more lie beyond 0.99, over several batches. A note if the loss has fallen well
      below where it began.

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
    _phases: dict[str, Phase] = attrs.field(factory=dict, init=False, repr=False, metadata={"checkpoint": False})
    _saturation: SaturationWindow = attrs.field(factory=lambda: SaturationWindow(WINDOW), init=False, repr=False)
    _vocab_size: int = attrs.field(default=0, init=False, repr=False)
    _told_width: int = attrs.field(default=0, init=False, repr=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._phases.clear()
        if run.epoch == 0:
            self._saturation, self._vocab_size, self._told_width = SaturationWindow(WINDOW), 0, 0

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
        edges = edges_of(shown, mask_of(batch, shown))
        if phase.serial <= PERIOD:
            self._learn(phase, batch, shown)
        size = batch.batch_size or shown.batch_size or (None if batch.starts is None else len(batch.starts))
        state = phase.state
        if state.known and state.count != shown.seq_len:  # else the entering state was left out
            self._check_width(run, batch, phase, shown)
            if state.entering is None or not state.entering.any():
                run.diagnosis.check("RNN201")
                self._check_reset(run, batch, phase, edges)
            elif size is not None and (rows := rows_of(state.entering, size)) is not None:
                self._check_entering(run, batch, phase, edges, rows)
        phase.before = Look(phase.serial, batch.index, edges, state.final, size)

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        for phase in self._phases.values():
            # The batches of a short epoch are all there is; then none of them may have gone on.
            if phase.leak.broken == phase.leak.batches:
                self._fire_leak(
                    run, phase, phase.leak, f"entered batches of {phase.name} that it does not belong to", 1
                )
            self._fire_reset(run, phase, WINDOW // 2)
            if phase.reset.went_on < phase.reset.rows:
                phase.reset.clear()
            known = phase.state is not None and phase.state.known
            for code in ("RNN201", "RNN202", "RNN203"):
                run.diagnosis.cannot_check(code, NO_ORDER if known else NO_STATE)
        run.diagnosis.cannot_check("RNN407", "run.observe(hidden_states=...) of tanh units")

    def _learn(self, phase: Phase, batch: Batch, shown: Sequences) -> None:
        """The size of the vocabulary, and by how many steps targets run ahead of inputs."""
        if shown.targets is None or shown.time_axis is None:
            return
        if shown.targets.dtype.kind != "f" and shown.targets.size:
            self._vocab_size = max(self._vocab_size, shown.vocab_size or int(shown.targets.max()) + 1)
        x, y = time_first(shown)
        if y is not None:
            mask = mask_of(batch, shown)
            phase.shift.add(x, y, mask if mask is None or shown.time_axis == 0 else mask.T)

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
        starts = batch.starts
        if starts is not None and starts.shape == found.rows.shape:
            run.diagnosis.check("RNN201")
            leaking = int((found.rows & starts).sum())
            if leaking:
                message = (
                    f"a state of RMS {found.rms:.3g} {where}, but by the loader's word {leaking} of {len(starts)} "
                    "sequences begin anew: zeros must enter these"
                )
                evidence = {"state_rms": found.rms, "expected_rms": 0.0, "leaking": leaking, "sequences": len(starts)}
                self.fire(run, "RNN201", message, evidence, _severity(phase, found.other))
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
            wanted = 1 if found.other is not None else WINDOW if "RNN201" in phase.found else FIRST_LEAK
            self._fire_leak(run, phase, tally, where, wanted, _severity(phase, found.other))

    def _fire_leak(
        self, run: Run, phase: Phase, tally: Tally, where: str, wanted: int, severity: Severity | None = None
    ) -> None:
        within = phase.shift.share or 1.0
        if tally.broken < wanted or not tally.cannot_be_a_stream(within):
            return
        message = (
            f"a state of RMS {phase.rms:.3g} {where}, but {tally.went_on} of {tally.rows} rows ({tally.share:.0%}) begin "
            f"where the same row ended a batch earlier; in a stream {within:.0%} do, and elsewhere zeros must enter"
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
        phase.found.add("RNN201")
        self.fire(run, "RNN201", message, evidence, severity)

    def _check_reset(self, run: Run, batch: Batch, phase: Phase, edges: Edges | None) -> None:
        """Zeros enter a batch: whether it is one of a stream."""
        before = phase.adjacent
        if phase.name != TRAIN or before is None or before.edges is None or edges is None or batch.index == 1:
            return
        order = continuation(before.edges, edges, phase.shift.steps)
        if order.ends is None:
            return
        run.diagnosis.check("RNN203")
        rows = np.ones(edges.batch_size, dtype=np.bool_)
        if batch.starts is not None and batch.starts.shape == rows.shape and not batch.starts.all():
            rows = ~batch.starts
        phase.reset.add(order, rows)
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
        self.fire(run, "RNN203", message, evidence)

    def _check_width(self, run: Run, batch: Batch, phase: Phase, shown: Sequences) -> None:
        state = phase.state
        if state is None or state.entering is None:  # zeros that the run made for this very batch
            run.diagnosis.check("RNN202")
            return
        size = certain_size(batch, shown, state.entering)
        if size is None and state.following is None:
            return
        run.diagnosis.check("RNN202")
        wrong = wrong_width(state, size)
        if wrong is None or self._told_width == run.epoch:
            return
        severity: Severity | None = None
        if is_spread(state, size):
            before = phase.adjacent
            if not state.entering.any():
                severity = "info"
            elif before is None or not is_part_of(state.entering, before.final):
                return  # a learned initial state, one for all sequences
        self._told_width = run.epoch
        message = f"the state that enters batch {batch.index} of {phase.name} {wrong}"
        evidence: dict[str, float | int | str] = {"state_rms": root_mean_square(state.entering)}
        evidence["state_shape"] = str(state.entering.shape)
        if size is not None:
            evidence["batch_size"] = size
        self.fire(run, "RNN202", message, evidence, severity)

    def _check_saturation(self, run: Run, batch: Batch) -> None:
        steps = steps_of(batch.evidence.get("hidden_states"))
        if steps is None or batch.loss is None or not math.isfinite(batch.loss) or batch.skipped:
            return
        share, window = saturated_share(steps), self._saturation
        mean = None if share is None else window.add(share, batch.loss)
        if window.full:
            run.diagnosis.check("RNN407")
        if mean is None:
            return
        well = window.doing_well(math.log(self._vocab_size) if self._vocab_size > 1 else None)
        message = (
            f"{mean:.0%} of the units lie beyond {SATURATED} in size, over {WINDOW} batches, and pass no gradient on"
        )
        if well:
            message += f"; yet the loss has come down to {window.loss:.4g}"
        evidence = {"saturated_share": mean, "healthy_share": 0.05, "loss": window.loss}
        self.fire(run, "RNN407", message, evidence, "info" if well else None)


def _severity(phase: Phase, other: str | None) -> Severity | None:
    """What another phase leaves in a validation touches no parameter."""
    return "info" if other is not None and phase.name != TRAIN else None
