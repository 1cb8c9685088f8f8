"""RNN202, hidden state and batch size do not match: compares the shape of the entering state."""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.alarms.catalogue import Severity
from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.state.inspected_batches import InspectedBatch
from rnncallbacks.detectors.state.observed_state import STATE_MATCH, ObservedState, state_rms


@attrs.define(eq=False)
class StateShapeDetector:
    """Finds RNN202 in inspected batches.

    The entering state must have the shape of the state after the first time step, and an axis of the batch's size. Each
    severity is reported once an epoch, because shapes are the same in every batch.
    """

    _reported: dict[Severity, int] = state_field(factory=dict)
    _compared: int = state_field(0)

    def check(self, current: InspectedBatch, epoch: int) -> CheckResult:
        """Compare the shapes of a batch of the given epoch."""
        if current.state.entering is None:
            found = _compare_requested_size(current)
        else:
            batch_size = certain_batch_size(current)
            if batch_size is None and current.state.after_first_step is None:
                return CheckResult()
            found = _compare_shapes(current, current.state.entering, batch_size)
        if found is not None:
            loudness: Severity = found.severity or "error"
            if self._reported.get(loudness) == epoch:
                found = None
            else:
                self._reported[loudness] = epoch
        self._compared += 1
        return CheckResult(
            finding=found, checked={"RNN202": f"the shape of the entering state in {self._compared} batches"}
        )


def _compare_requested_size(current: InspectedBatch) -> Finding | None:
    """The finding for zeros that run.hidden made for another batch size than that of the inputs."""
    batch, inputs = current.batch, current.sequences.inputs
    if inputs is None or batch.batch_size in inputs.shape:
        return None
    wrong = f"run.hidden made it for batch size {batch.batch_size}, but the inputs have shape {inputs.shape}"
    return _finding(current, wrong, {"state_rms": 0.0, "batch_size": batch.batch_size or 0}, "info")


def _compare_shapes(current: InspectedBatch, entering: Array, batch_size: int | None) -> Finding | None:
    state, before = current.state, current.before
    mismatch = shape_mismatch(state, batch_size)
    if mismatch is None:
        return None
    severity: Severity | None = None
    if is_broadcast(state):
        if not entering.any():
            severity = "info"
        elif before is None or not is_slice_of(entering, before.final_state):
            return None  # a learned initial state that all sequences share
    evidence: dict[str, float | int | str] = {"state_rms": state_rms(entering), "state_shape": str(entering.shape)}
    if batch_size is not None:
        evidence["batch_size"] = batch_size
    return _finding(current, mismatch, evidence, severity)


def _finding(
    current: InspectedBatch, wrong: str, evidence: dict[str, float | int | str], severity: Severity | None
) -> Finding:
    where = f"batch {current.batch.index} of {current.batch.phase}"
    return Finding("RNN202", f"the state that entered {where} does not fit the batch: {wrong}", evidence, severity)


def shape_mismatch(state: ObservedState, batch_size: int | None) -> str | None:
    """The mismatch of the entering state's shape, in words; None if there is none, or nothing to compare with.

    Example
    -------
    >>> shape_mismatch(ObservedState(True, np.zeros((50, 1)), np.zeros((50, 10))), batch_size=None)
    'it has shape (50, 1), but the state after the first time step has (50, 10)'
    """
    entering, following = state.entering, state.after_first_step
    if entering is None:
        return None
    layers = {layer.shape for layer in (entering, *state.others)}  # the hidden states are those of any one of them
    if following is not None and following.shape not in layers:
        return f"it has shape {entering.shape}, but the state after the first time step has {following.shape}"
    if batch_size is None or batch_size in entering.shape or (batch_size == 1 and entering.ndim == 1):
        return None
    return f"it has shape {entering.shape}, but no axis of the batch's size, {batch_size}"


def certain_batch_size(current: InspectedBatch) -> int | None:
    """The number of sequences, if it is certain which axis is the batch's."""
    batch, sequences, entering = current.batch, current.sequences, current.state.entering
    if batch.batch_size is not None or sequences.inputs is None:
        return batch.batch_size
    if sequences.inputs.dtype.kind == "f" and sequences.inputs.ndim == 2:
        return None  # the second axis may be that of features
    # If the state shares a length with the inputs, that axis may be the batch's, and the other one time.
    shared = entering is not None and set(sequences.inputs.shape) & set(entering.shape)
    return None if shared else sequences.batch_size


def is_broadcast(state: ObservedState) -> bool:
    """Whether the first time step broadcasts the entering state over the batch."""
    if state.entering is None or state.after_first_step is None:
        return False
    shape, following = state.entering.shape, state.after_first_step.shape
    if shape == following:
        return False
    try:
        return bool(np.broadcast_shapes(shape, following) == following)
    except ValueError:
        return False


def is_slice_of(entering: Array, final: Array | None) -> bool:
    """Whether a state equals the first entries along each axis of another state, within float32 rounding."""
    if final is None or entering.ndim != final.ndim:
        return False
    begin = final[tuple(slice(length) for length in entering.shape)]
    tolerance = STATE_MATCH.largest_difference
    return begin.shape == entering.shape and bool(np.allclose(entering, begin, rtol=tolerance, atol=tolerance))
