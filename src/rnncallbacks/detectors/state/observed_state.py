"""The recurrent state that entered and left a batch, from the script or the run, and its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray, FloatArray, named_arrays, named_arrays_or_none
from rnncallbacks.detectors.sequences import hidden_states_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class StateMatchThresholds:
    """Tolerance of two states that are copies of each other."""

    largest_difference: float = 1e-5
    """Largest difference between two entries, relative to the larger of 1 and the entry: one of the copies may have
    been rounded to float32, whose precision is 1.2e-7. Chosen by eye."""


STATE_MATCH = StateMatchThresholds()


@attrs.frozen(eq=False)
class ObservedState:
    """The state of one batch, as far as it is seen.

    Parameters
    ----------
    known:
        Whether anything of the state is known.
    entering:
        The state that entered; None if ``run.hidden`` returned zeros, or if it is unknown.
    after_first_step, final:
        The state after the first and after the last time step, None if no hidden states were observed.
    count:
        The number of observed hidden states, 0 if the entering state was observed by itself.
    others:
        Further arrays of the entering state with as many axes as ``entering``, such as those of other layers. The
        hidden states may belong to one of them.
    other_finals:
        Further arrays of the state after the last time step, if each hidden state has several.
    """

    known: bool
    entering: Array | None = None
    after_first_step: Array | None = None
    final: Array | None = None
    count: int = 0
    others: tuple[Array, ...] = ()
    other_finals: tuple[Array, ...] = ()

    def shows_entering(self, seq_len: int | None) -> bool:
        """Whether the entering state is known: without it, there is one hidden state for each time step."""
        return self.known and self.count != seq_len


def first_array(state: Any) -> Array | None:
    """The first array of a state, which is h of an LSTM's (h, c); None if there is none."""
    if isinstance(state, np.ndarray):
        return state
    return next(iter((named_arrays_or_none(state) or {}).values()), None)


def hidden_state_steps(hidden_states: Any) -> list[Array] | Array | None:
    """Observed hidden states as one array a time step, the entering one first; None if they are something else.

    Example
    -------
    >>> [state.shape for state in hidden_state_steps([(np.zeros(2), np.zeros(2)), (np.ones(2), np.ones(2))])]
    [(2,), (2,)]
    """
    if isinstance(hidden_states, np.ndarray):
        return hidden_states if hidden_states.ndim > 1 and len(hidden_states) > 1 else None
    if not isinstance(hidden_states, list | tuple) or len(hidden_states) < 2:
        return None
    steps = [first_array(state) for state in hidden_states]
    return [step for step in steps if step is not None] if all(step is not None for step in steps) else None


def observed_state(batch: Batch) -> ObservedState:
    """The state that the script observed, else the state that ``run.hidden`` returned.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> state = observed_state(Batch(None, "train", 1, observed={"hidden_states": np.zeros((21, 50, 16))}))
    >>> state.entering.shape, state.count
    ((50, 16), 21)
    """
    entering = first_array(batch.observed.get("entering_state"))
    hidden_states = hidden_states_of(batch)
    steps = hidden_state_steps(hidden_states)
    if steps is None:
        if entering is not None:
            return ObservedState(True, entering)
        return ObservedState(batch.batch_size is not None, first_array(batch.entering_state))
    count = len(steps) if entering is None else 0
    others = _others(hidden_states[0] if entering is None else batch.observed["entering_state"])
    entering = steps[0] if entering is None else entering
    # The arrays may be buffers that the next forward pass overwrites.
    return ObservedState(True, entering.copy(), steps[1], steps[-1].copy(), count, others, _others(hidden_states[-1]))


def _others(state: Any) -> tuple[Array, ...]:
    """Copies of the further arrays of a state with as many axes as the first one."""
    if isinstance(state, np.ndarray):
        return ()
    first, *others = named_arrays(state, "state").values()
    return tuple(array.copy() for array in others if array.ndim == first.ndim)


def layers_of(state: Array, batch_size: int) -> list[Array]:
    """A state, and its layers if they are stacked along the first of its three axes.

    Example
    -------
    >>> [part.shape for part in layers_of(np.zeros((2, 50, 16)), batch_size=50)]
    [(2, 50, 16), (50, 16), (50, 16)]
    """
    stacked = state.ndim == 3 and 1 < len(state) != batch_size and batch_size in state.shape[1:]
    return [state, *state] if stacked else [state]


def state_rows(state: Array, batch_size: int) -> FloatArray | None:
    """The state as a matrix of shape (batch_size, units); None if no axis has the length of the batch.

    If two axes have that length, the batch axis is the one along which some entries are all zero.

    Example
    -------
    >>> state_rows(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), batch_size=2).tolist()
    [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]
    """
    axes = [axis for axis, length in enumerate(state.shape) if length == batch_size]
    if not axes:
        return np.reshape(state, (1, -1)) if batch_size == 1 and state.ndim == 1 else None
    matrices = [np.moveaxis(state, axis, 0).reshape(batch_size, -1) for axis in axes]
    for matrix in matrices[1:]:
        if not matrix.any(axis=1).all():
            return matrix
    return matrices[0]


def matching_rows(rows: FloatArray, others: FloatArray) -> BoolArray:
    """Mask of the rows of a state that equal the row of another state with the same number, within float32 rounding.

    Rows that the other state does not have do not match, nor do rows with NaN or infinite entries.

    Example
    -------
    >>> matching_rows(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [0.0, 4.0]])).tolist()
    [True, False]
    """
    if rows.shape == others.shape and np.array_equal(rows, others) and np.isfinite(rows).all():
        return np.ones(len(rows), dtype=np.bool_)
    matching = np.zeros(len(rows), dtype=np.bool_)
    if rows.shape[1:] == others.shape[1:]:
        common = min(len(rows), len(others))
        with np.errstate(all="ignore"):  # inf - inf of a diverged run is NaN, which compares as False
            difference = np.abs(rows[:common] - others[:common])
            allowed = STATE_MATCH.largest_difference * np.maximum(1.0, np.abs(others[:common]))
            matching[:common] = (difference <= allowed).all(axis=1)
    return matching


def rows_all_equal(rows: FloatArray) -> bool:
    """Whether two or more sequences enter with one and the same state, as with a learned initial state."""
    return len(rows) > 1 and bool((rows == rows[0]).all())


def state_rms(rows: FloatArray) -> float:
    """The root mean square (RMS) of the entries, computed in float64.

    Example
    -------
    >>> state_rms(np.array([[3.0, -4.0, 0.0, 0.0]]))
    2.5
    """
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(rows, dtype=np.float64))))
