"""The origin of a state that enters a batch: the final state of the batch before, or of another phase."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray, FloatArray
from rnncallbacks.detectors.state.inspected_batches import InspectedBatch, LatestBatch, PhaseHistory
from rnncallbacks.detectors.state.observed_state import (
    layers_of,
    matching_rows,
    rows_all_equal,
    state_rms,
    state_rows,
)


@attrs.frozen(eq=False)
class StateOrigin:
    """The earlier batch whose final state enters a batch.

    Parameters
    ----------
    earlier:
        That batch.
    other_phase:
        The name of its phase; None if it is the phase of the batch that its state enters.
    rows:
        Mask of the rows of the entering state that come from it, of shape (batch,).
    rms:
        The root mean square of these rows.
    """

    earlier: LatestBatch
    other_phase: str | None
    rows: BoolArray
    rms: float


def state_origin(current: InspectedBatch, phases: Iterable[PhaseHistory]) -> StateOrigin | None:
    """The origin of the state that enters a batch.

    None if zeros enter, if all sequences enter with the same state (a learned initial state), or if it is not the
    final state of an earlier batch: it was then set on purpose, as by an encoder. Each array and each layer of the
    state is judged by itself, as zeros may enter the first layer alone. The first one that an earlier batch ended with
    decides.
    """
    every = list(phases)
    for rows in current.entering_rows():
        origin = None if rows_all_equal(rows) else find_origin(current.phase, every, rows)
        if origin is not None:
            return origin
    return None


def find_origin(phase: PhaseHistory, phases: Iterable[PhaseHistory], entering: FloatArray) -> StateOrigin | None:
    """The batch whose final state enters the open batch of ``phase``, with ``entering`` of shape (batch, units)."""
    nonzero = entering.any(axis=1)
    candidates: list[tuple[LatestBatch | None, str | None, Array | None]] = [(phase.adjacent, None, phase.carried)]
    # Phases change where an epoch's batches begin, or within them; both are inspected there.
    # Elsewhere, saturated units may have the state of another phase by chance.
    if phase.index == 1 or phase.adjacent is not None:
        candidates += [(other.latest, other.name, None) for other in phases if other is not phase]
    for earlier, other_phase, carried in candidates:
        if earlier is not None:
            rows = nonzero & _rows_from(entering, earlier, carried)
            if rows.any():
                return StateOrigin(earlier, other_phase, rows, state_rms(entering[rows]))
    return None


def _rows_from(entering: FloatArray, earlier: LatestBatch, carried: Array | None) -> BoolArray:
    """Mask of the rows of the earlier final state, by the hidden states, else by the state that the run carried."""
    rows = np.zeros(len(entering), dtype=np.bool_)
    finals = [] if earlier.final_state is None else [earlier.final_state, *earlier.other_finals]
    size = earlier.batch_size or 0
    final_rows = [state_rows(layer, size) for state in finals for layer in layers_of(state, size)] if size else []
    for final in final_rows:
        rows |= False if final is None else matching_rows(entering, final)
    if any(final is not None for final in final_rows) and (earlier.ends is None or not earlier.ends.ends_early.any()):
        return rows
    # With padding, the state after the last time step is not that after a row's own last step.
    carried_rows = None if carried is None else state_rows(carried, len(entering))
    return rows if carried_rows is None else rows | matching_rows(entering, carried_rows)


def ended_another_row(entering: FloatArray, before: LatestBatch) -> bool:
    """Whether a row enters with the final state of another row of the batch before, as where rows are reordered."""
    if before.final_state is None or before.batch_size is None:
        return False
    final = state_rows(before.final_state, before.batch_size)
    if final is None or final.shape[1:] != entering.shape[1:]:
        return False
    ended = {row.tobytes() for row in final}
    return any(row.tobytes() in ended for row in entering if row.any())
