"""Guard: origin and width of the state that enters each batch, and saturation of its units."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks.arrays.containers import BoolArray, named_arrays
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.resting import SeenBatches
from rnncallbacks.core.run import TRAIN
from rnncallbacks.detectors.loss.layer_shapes import has_gates
from rnncallbacks.detectors.sequences import sequences_of
from rnncallbacks.detectors.state.entering import StateLeakDetector
from rnncallbacks.detectors.state.input_scale import check_input_scale
from rnncallbacks.detectors.state.inspected_batches import PhaseHistory
from rnncallbacks.detectors.state.observed_state import first_array
from rnncallbacks.detectors.state.predecessors import Predecessors
from rnncallbacks.detectors.state.saturation import SaturationDetector
from rnncallbacks.detectors.state.state_origin import state_origin
from rnncallbacks.detectors.state.state_shape import StateShapeDetector
from rnncallbacks.detectors.state.stream import ForgottenStreamDetector
from rnncallbacks.detectors.state.unseen_inputs import UnseenInputs

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

PASS_A_STATE = "call run.hidden(batch_size), or run.observe(hidden_states=...)"
PASS_THE_ENTERING_STATE = (
    "run.observe(entering_state=...), or put the state before the first time step first in hidden_states"
)
PASS_THE_ORDER = "run.observe(inputs=..., targets=...), or give batches an attribute starts"
THE_ORDER_IS_NOT_SEEN = "inputs, targets and states do not show the batch axis, or whether rows continue"


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class HiddenStateGuard(Guard):
    """Checks the state that enters each batch, and the states of its time steps.

    - RNN201: the final state of the batch before, or of another phase, enters a batch whose rows do not continue those
      of that batch. The loader's ``starts`` marks rows that begin a sequence. Without it, rows are compared: in
      contiguous batches, the first input of a row is the last target of the same row one batch earlier, or is related
      to it as inputs are to targets within a batch. Sequences that follow others than in the first epoch are also
      unrelated. A state that is not the final state of a batch, such as an encoder's or a learned initial state, is
      not reported. A training state in validation is an info, as it changes no parameter.
    - RNN603: where the state is carried, the last target of each row is the row's own first input: targets were rolled
      within the row. Whether rows continue is then not checked.
    - RNN202: the entering state has no axis of the batch's size, or another shape than the state after the first time
      step. Zeros that are broadcast over the batch are an info.
    - RNN203: zeros enter every training batch although all rows continue the row before, which chance cannot explain.
      An info if ``starts`` says that all rows begin new sequences.
    - RNN407: 30% of the tanh units or more have an absolute value above 0.99, from the first batch on. An info if half
      of them saturate during training, or if the loss is well below that of a uniform prediction. Also inputs that are
      so large that the initial input weights saturate the units.

    The state is the one given to ``run.observe(entering_state=..., hidden_states=...)``, else the one returned by
    ``run.hidden``.

    Options
    -------
    action:
        "warn" continues, "stop" ends the run, "raise" ends it with an error, "repair" leaves it to ``self_repair``.

    Example
    -------
    >>> HiddenStateGuard(action="stop")
    HiddenStateGuard(action='stop')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN201", "RNN202", "RNN203", "RNN407")

    _phases: dict[str, PhaseHistory] = state_field(factory=dict)
    _leak: StateLeakDetector = state_field(factory=StateLeakDetector)
    _predecessors: Predecessors = state_field(factory=Predecessors)
    _stream: ForgottenStreamDetector = state_field(factory=ForgottenStreamDetector)
    _shape: StateShapeDetector = state_field(factory=StateShapeDetector)
    _saturation: SaturationDetector = state_field(factory=SaturationDetector)
    _unseen_inputs: UnseenInputs = state_field(factory=UnseenInputs)
    _gated: bool | None = state_field(None)  # whether the cell has gates, by the shapes of the parameters
    _seen: SeenBatches = state_field(factory=SeenBatches)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._seen.start(run.step)

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        phase = self._phases.get(batch.phase)
        if phase is None:
            phase = self._phases[batch.phase] = PhaseHistory(batch.phase)
        if batch.phase == TRAIN:
            phase.skip(self._seen.see(run.step))
        compared = batch.phase == TRAIN and (self._predecessors.wants(run.epoch) or self._leak.is_undecided(phase))
        if phase.begin(batch.index, batch.count, compared=compared):
            phase.carried = first_array(run.hidden_states.carried().get(batch.phase))

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> None:
        phase = self._phases.get(batch.phase)
        if phase is None or not phase.inspected:
            return
        if batch.phase == TRAIN and run.step <= 1:
            self.conclude(run, check_input_scale(batch, named_arrays(run.params)))
        if batch.phase == TRAIN and run.params is not None and not self._unseen_inputs.over:
            self._check_unseen_inputs(run, batch, grads)
        # A validation within this batch may overwrite the arrays of its states later.
        phase.observe(batch)
        if self._gated is None:
            self._gated = has_gates(named_arrays(run.params), grads)
        self.conclude(run, self._saturation.check(batch, phase.vocab_size, gated=self._gated))

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        phase = self._phases.get(batch.phase)
        if phase is None:
            return
        moved = self._predecessors.add(batch, run.epoch, phase.batch_size) if batch.phase == TRAIN else None
        if phase.inspected:
            self._inspect(run, batch, phase, moved)
            phase.inspected = False  # the next batch may interrupt a rest without its on_batch_start
        if batch.phase == TRAIN and not self._predecessors.tracking and not self._leak.is_undecided(phase):
            self.due_step = self._seen.last + phase.batches_to_next

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        for phase in self._phases.values():
            self.conclude(run, self._leak.end_epoch(phase))
        self.conclude(run, self._stream.end_epoch())
        decisive = self._phases.get(TRAIN) or next(iter(self._phases.values()), None)
        if decisive is not None:
            for code in ("RNN201", "RNN202", "RNN203"):
                self._tell_missing(run, decisive, code)

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        run.diagnosis.cannot_check("RNN407", self._saturation.lacking)
        super().on_fit_end(run)

    def _check_unseen_inputs(self, run: Run, batch: Batch, grads: Gradients) -> None:
        unseen = self._unseen_inputs
        if sequences_of(batch).inputs is not None:
            unseen.over = True
        elif (finding := unseen.check(named_arrays(run.params), grads)) is not None:
            self.fire(run, finding)

    def _inspect(self, run: Run, batch: Batch, phase: PhaseHistory, moved: BoolArray | None) -> None:
        current = phase.inspect(batch)
        if current.state.shows_entering(current.sequences.seq_len):
            self.conclude(run, self._shape.check(current, run.epoch))
            origin = state_origin(current, self._phases.values())
            self.conclude(run, self._stream.check(current, origin))
            self.conclude(run, self._leak.check(current, origin, moved))
            if origin is not None and origin.other_phase is None and batch.phase == TRAIN:
                axis = current.sequences.time_axis
                self._predecessors.start(None if axis is None else 1 - axis)
            unrelated = current.zeros_enter and self._stream.is_excluded
            phase.settled = batch.phase == TRAIN and unrelated and "hidden_states" not in batch.observed
        elif batch.phase == TRAIN:
            self.conclude(run, self._leak.check_unseen(current, moved))
        phase.keep(current)

    def _tell_missing(self, run: Run, phase: PhaseHistory, code: str) -> None:
        """Record why a code of the entering state was not checked, unless it was checked before."""
        if phase.state is None or not phase.state.known:
            run.diagnosis.cannot_check(code, PASS_A_STATE)
        elif not phase.shows_entering:
            run.diagnosis.cannot_check(code, PASS_THE_ENTERING_STATE)
        elif not phase.shows_sequences:
            run.diagnosis.cannot_check(code, PASS_THE_ORDER)
        elif code not in run.diagnosis.cannot_tell:
            run.diagnosis.report_cannot_tell(code, THE_ORDER_IS_NOT_SEEN)
