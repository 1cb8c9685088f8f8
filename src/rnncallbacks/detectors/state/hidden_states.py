"""What recurrent states show: with which one a batch entered and ended, row by row, and how wide they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays import Array, FloatArray, named_arrays
from rnncallbacks.errors import ContainerError

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.detectors.sequences import Sequences

BoolArray = npt.NDArray[np.bool_]

SAME = 1e-5
"""How far, relatively, two copies of a state may lie apart: one may have gone through float32."""


def first_array(state: Any) -> Array | None:
    """The first array of a state, an LSTM's h; None if there is none."""
    if isinstance(state, np.ndarray):
        return state
    try:
        return next(iter(named_arrays(state, "state").values()), None)
    except ContainerError:
        return None


def steps_of(hidden_states: Any) -> list[Array] | Array | None:
    """Observed hidden states as one array a time step, the entering one first; None if they are nothing of the kind.

    Example
    -------
    >>> [state.shape for state in steps_of([(np.zeros(2), np.zeros(2)), (np.ones(2), np.ones(2))])]
    [(2,), (2,)]
    """
    if isinstance(hidden_states, np.ndarray):
        return hidden_states if hidden_states.ndim > 1 and len(hidden_states) > 1 else None
    if not isinstance(hidden_states, list | tuple) or len(hidden_states) < 2:
        return None
    steps = [first_array(state) for state in hidden_states]
    return [step for step in steps if step is not None] if all(step is not None for step in steps) else None


@attrs.frozen(eq=False)
class SeenState:
    """What is seen of the state of one batch.

    ``entering`` is None if zeros entered that the run handed out, and if nothing is ``known``. ``following`` is the
    state after the first time step, ``final`` that after the last one; ``count`` is how many states there are, the
    entering one among them unless it was left out.
    """

    known: bool
    entering: Array | None = None
    following: Array | None = None
    final: Array | None = None
    count: int = 0


def state_of(batch: Batch) -> SeenState:
    """What the script observed, else what the run handed out."""
    observed = first_array(batch.observed.get("entering_state"))
    steps = steps_of(batch.observed.get("hidden_states"))
    if steps is None:
        if observed is not None:
            return SeenState(True, observed)
        return SeenState(batch.batch_size is not None, first_array(batch.entering_state))
    entering = steps[0] if observed is None else observed
    count = len(steps) if observed is None else 0
    # The arrays may be buffers that the next forward pass writes into.
    return SeenState(True, entering.copy(), steps[1], steps[-1].copy(), count)


def rows_of(state: Array, batch_size: int) -> FloatArray | None:
    """The state as a matrix with a row for each sequence; None if no axis has the batch's length.

    Where two axes have it, the one along which some lines are zero is taken for the batch's.

    Example
    -------
    >>> rows_of(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), batch_size=2).tolist()
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


def same_rows(one: FloatArray, other: FloatArray) -> BoolArray:
    """Which rows of a state are those of another, as far as both have rows; the rest are not."""
    if one.shape == other.shape and np.array_equal(one, other) and np.isfinite(one).all():
        return np.ones(len(one), dtype=np.bool_)
    same = np.zeros(len(one), dtype=np.bool_)
    if one.shape[1:] == other.shape[1:]:
        both = min(len(one), len(other))
        with np.errstate(all="ignore"):  # of diverged states, where inf - inf is NaN, and the same as nothing
            apart = np.abs(one[:both] - other[:both])
            same[:both] = (apart <= SAME * np.maximum(1.0, np.abs(other[:both]))).all(axis=1)
    return same


def all_alike(rows: FloatArray) -> bool:
    """Whether several sequences enter with one and the same state, as with a learned initial state."""
    return len(rows) > 1 and bool((rows == rows[0]).all())


def root_mean_square(rows: FloatArray) -> float:
    """The root mean square of the entries."""
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(rows, dtype=np.float64))))


def wrong_width(state: SeenState, batch_size: int | None) -> str | None:
    """What is wrong with the width of the entering state, in words; None if nothing is, or nothing is known.

    Example
    -------
    >>> wrong_width(SeenState(True, np.zeros((50, 1)), np.zeros((50, 10))), batch_size=None)
    'has the shape (50, 1), and the state after the first time step (50, 10)'
    """
    entering, following = state.entering, state.following
    if entering is None:
        return None
    if following is not None and entering.shape != following.shape:
        return f"has the shape {entering.shape}, and the state after the first time step {following.shape}"
    if batch_size is None or batch_size in entering.shape or (batch_size == 1 and entering.ndim == 1):
        return None
    return f"has the shape {entering.shape}, and no axis of the batch's size, {batch_size}"


def certain_size(batch: Batch, shown: Sequences, entering: Array) -> int | None:
    """The number of sequences, if there is no doubt which axis is theirs."""
    if batch.batch_size is not None or shown.inputs is None:
        return batch.batch_size
    # If the state shares a length with the inputs, that one may be the batch's, and the other time.
    return None if set(shown.inputs.shape) & set(entering.shape) else shown.batch_size


def is_spread(state: SeenState) -> bool:
    """Whether the entering state is one for all sequences, which the first time step spreads over the batch."""
    if state.entering is None or state.following is None or state.entering.shape == state.following.shape:
        return False
    try:
        return bool(np.broadcast_shapes(state.entering.shape, state.following.shape) == state.following.shape)
    except ValueError:
        return False


def is_part_of(entering: Array, final: Array | None) -> bool:
    """Whether a state is the beginning of another, cut to some width."""
    if final is None or entering.ndim != final.ndim:
        return False
    begin = final[tuple(slice(length) for length in entering.shape)]
    return begin.shape == entering.shape and bool(np.allclose(entering, begin, rtol=SAME, atol=SAME))
