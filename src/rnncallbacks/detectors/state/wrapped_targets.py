"""RNN603, targets that wrap around: the last target of a row is an input of the row itself, not of the next row."""

from __future__ import annotations

import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import BoolArray
from rnncallbacks.detectors.state.contiguity import ContiguityCounts
from rnncallbacks.detectors.state.continuation import Continuation
from rnncallbacks.detectors.state.inspected_batches import InspectedBatch
from rnncallbacks.detectors.state.row_ends import RowEnds
from rnncallbacks.detectors.state.state_origin import StateOrigin
from rnncallbacks.detectors.state.target_shift import equal_tokens


def wrapping_rows(ends: RowEnds, shift: int = 1) -> BoolArray:
    """Mask of the rows whose last target is an input of their own, of shape (rows,), and not one of the next row.

    For targets that are ``shift`` steps ahead of the inputs, it is the input at that step, the first one for 1.

    A row that repeats itself a whole number of times has it in any case, and is none of them.

    Example
    -------
    >>> from rnncallbacks.detectors.sequences import Sequences
    >>> from rnncallbacks.detectors.state.row_ends import row_ends
    >>> tokens = np.array([[0, 5], [1, 6], [2, 7]])
    >>> wrapping_rows(row_ends(Sequences(tokens, np.roll(tokens, -1, axis=0), 0, None))).tolist()
    [True, True]
    >>> wrapping_rows(row_ends(Sequences(np.array([[0], [1], [0], [1]]), np.array([[1], [0], [1], [0]]), 0, None)))
    array([False])
    """
    if ends.last_targets is None or ends.last_targets.shape[2:] != ends.first_inputs.shape[2:]:
        return np.zeros(ends.batch_size, dtype=np.bool_)
    return equal_tokens(ends.last_targets[-1], ends.first_inputs[shift - 1]) & ~_repeating_rows(ends)


def _repeating_rows(ends: RowEnds) -> BoolArray:
    """Mask of the rows that repeat one piece of tokens twice or more."""
    repeating = np.zeros(ends.batch_size, dtype=np.bool_)
    steps = 0 if ends.tokens is None else len(ends.tokens)
    for period in range(1, steps // 2 + 1):
        if steps % period == 0 and ends.tokens is not None:
            same = equal_tokens(ends.tokens[period:], ends.tokens[:-period])
            repeating |= same.reshape(steps - period, ends.batch_size, -1).all(axis=(0, 2))
    return repeating


def count_wrapping(current: InspectedBatch, origin: StateOrigin, order: Continuation) -> int:
    """Number of rows that do not continue, and follow a row whose last target is an input of its own."""
    shift = current.phase.shift.steps
    if shift is None or shift < 1 or origin.earlier.ends is None:
        return 0
    wrapping = wrapping_rows(origin.earlier.ends, shift)[: len(order.known)]
    return int((wrapping & order.known & ~order.continues & origin.rows[: len(wrapping)]).sum())


def wrapped_targets(wrapping: int, counts: ContiguityCounts) -> Finding:
    """The finding for targets that were rolled within each row; whether rows continue is then not known."""
    message = (
        f"the last target of a row is an input of the row itself: in {wrapping} of {counts.rows} rows that carry "
        "the state on, so targets wrap around; take them from the stream, not from the row"
    )
    evidence = {"wrapping_rows": wrapping, "rows": counts.rows, "batches": counts.batches}
    return Finding(
        "RNN603",
        message,
        evidence,
        "warning",
        cause="targets wrap around at the end of each row",
        remedy="cut inputs and targets from one stream: the last target of a row is the first input of the next row",
    )
