r"""Finds the rows of a batch that continue the same row of the batch before, as in contiguous (stateful) batches.

The relation between inputs and targets within a batch also holds across the border of two contiguous batches. If the
target is the next input, the first input of a row is the last target of the same row one batch earlier. If the target
is the input of k steps ago, as in the echo task, the first k targets are the last k inputs. Float inputs without such a
shift continue if they do not jump.
"""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray
from rnncallbacks.detectors.state.row_ends import RowEnds
from rnncallbacks.detectors.state.target_shift import equal_tokens


@attrs.frozen(kw_only=True)
class ContinuationThresholds:
    """Thresholds of a smooth series that continues, of batches that overlap, and of targets. All were chosen by eye."""

    largest_jump: float = 2.0
    """Jump between two batches, in units of the largest change from step to step within them, above which a row does
    not continue. Between 1 and this, it is unknown."""

    agreeing_targets: float = 0.5
    """Share of targets that are the inputs of their row some steps later, below which they belong to other rows."""

    fewest_targets: int = 8
    """Fewest targets that are compared for that."""

    smallest_overlap: int = 2
    """Fewest time steps by which two batches overlap, in addition to half of the time steps of the first."""


CONTINUATION = ContinuationThresholds()


@attrs.frozen(eq=False)
class Continuation:
    """The rows of a batch that continue the row before.

    Parameters
    ----------
    continues:
        Truth values of shape (rows,).
    known:
        Mask of the rows for which it is known, of shape (rows,).
    ends, begins:
        The values that had to agree in each row, if tokens or vectors were compared; else None.
    """

    continues: BoolArray
    known: BoolArray
    ends: Array | None = None
    begins: Array | None = None


def compare_row_ends(before: RowEnds, after: RowEnds, shift: int | None) -> Continuation:
    """Compare the end of one batch with the beginning of the next.

    ``shift`` is the shift between inputs and targets in time steps, as found by
    :class:`~rnncallbacks.detectors.state.target_shift.TargetShift`; None if it is not known. Batches of different sizes
    are compared as far as both have rows. A row that the mask ends before the last time step is not continued.

    Example
    -------
    >>> from rnncallbacks.detectors.sequences import Sequences
    >>> from rnncallbacks.detectors.state.row_ends import row_ends
    >>> text = np.array([[0, 5], [1, 6], [2, 7], [3, 0], [4, 9]])
    >>> first, second = (Sequences(text[n : n + 2], text[n + 1 : n + 3], 0, None) for n in (0, 2))
    >>> compare_row_ends(row_ends(first), row_ends(second), shift=1).continues.tolist()
    [True, True]
    """
    rows = min(before.batch_size, after.batch_size)
    all_rows, ends_early = np.ones(rows, dtype=np.bool_), before.ends_early[:rows]
    by_value = _by_shift(before, after, shift, rows) or _by_sequence_target(before, after, rows)
    found = by_value or _by_smoothness(before, after, rows)
    if found is None:
        return Continuation(continues=~all_rows, known=ends_early)
    if by_value and not found.continues.all() and _batches_overlap(before, after):
        return Continuation(continues=all_rows, known=all_rows)
    return Continuation(found.continues & ~ends_early, found.known | ends_early, found.ends, found.begins)


def _by_shift(before: RowEnds, after: RowEnds, shift: int | None, rows: int) -> Continuation | None:
    if shift is None:
        return None
    last, first = (before.last_targets, after.first_inputs) if shift > 0 else (before.last_inputs, after.first_targets)
    if last is None or first is None or last.shape[2:] != first.shape[2:] or len(last) < abs(shift):
        return None
    ends = last[-abs(shift) :, :rows]
    begins = first[: len(ends), :rows]
    if _targets_are_others(before, shift, rows):
        return Continuation(np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.bool_))
    continues = np.asarray(equal_tokens(ends[: len(begins)], begins).all(axis=0))
    return Continuation(continues, np.ones(rows, dtype=np.bool_), ends[0], begins[0])


def _targets_are_others(ends: RowEnds, shift: int, rows: int) -> bool:
    """Whether few targets of a batch agree with the inputs of their own rows, and none shows what comes next."""
    inputs, targets = ends.last_inputs[:, :rows], ends.last_targets
    if shift < 1 or targets is None or targets.shape[2:] != inputs.shape[2:] or len(inputs) <= shift:
        return False
    agreeing = equal_tokens(targets[:-shift, :rows], inputs[shift:])
    return agreeing.size >= CONTINUATION.fewest_targets and float(agreeing.mean()) < CONTINUATION.agreeing_targets


def _by_sequence_target(before: RowEnds, after: RowEnds, rows: int) -> Continuation | None:
    """One target for a whole row is the row's next input if rows are windows of a stream; else rows are unrelated."""
    if before.sequence_targets is None or after.tokens is None:
        return None
    ends, begins = before.sequence_targets[:rows], after.first_inputs[0, :rows]
    continues = equal_tokens(ends, begins) if ends.ndim == begins.ndim == 1 else np.zeros(rows, dtype=np.bool_)
    return Continuation(continues, np.ones(rows, dtype=np.bool_), ends, begins)


def _by_smoothness(before: RowEnds, after: RowEnds, rows: int) -> Continuation | None:
    if before.largest_change is None or after.largest_change is None:
        return None
    last, first = before.last_inputs[-1, :rows], after.first_inputs[0, :rows]
    if last.shape != first.shape:
        return None
    with np.errstate(all="ignore"):
        jump = np.abs(first - last).reshape(rows, -1).max(axis=1)
    usual = np.maximum(before.largest_change[:rows], after.largest_change[:rows])
    continues = jump <= usual
    return Continuation(continues, continues | (jump > CONTINUATION.largest_jump * usual))


def _batches_overlap(before: RowEnds, after: RowEnds) -> bool:
    """Whether the second batch begins within the first, with an overlap of half of its time steps or more."""
    tokens, following = before.tokens, after.tokens
    if tokens is None or following is None or tokens.shape[1:] != following.shape[1:]:
        return False
    earliest = max(1, len(tokens) - len(following))
    latest = len(tokens) - max(CONTINUATION.smallest_overlap, len(tokens) // 2)
    if latest < earliest:
        return False
    same = tokens[earliest : latest + 1] == following[0]
    begins = earliest + same.all(axis=tuple(range(1, same.ndim))).nonzero()[0]
    return any(np.array_equal(tokens[begin:], following[: len(tokens) - begin]) for begin in begins)
