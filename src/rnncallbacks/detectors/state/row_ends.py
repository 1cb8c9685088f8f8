"""The first and last time steps of a batch's rows, kept for the comparison with the next batch."""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray
from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.target_shift import TARGET_SHIFT


@attrs.frozen(eq=False)
class RowEnds:
    """Both ends of the rows of a batch, with time on the first axis.

    Parameters
    ----------
    first_inputs, last_inputs:
        The first and last time steps of the inputs, for the longest shift between inputs and targets.
    first_targets, last_targets:
        Those of the targets; None unless there is a target for each step.
    sequence_targets:
        The targets, if there is one for each row.
    ends_early:
        Mask of the rows that end before the last time step, of shape (batch,).
    largest_change:
        The largest change of float inputs from one time step to the next, of shape (batch,); None for tokens, and for
        rows of three steps or fewer.
    tokens:
        All inputs, if they are token numbers.
    """

    first_inputs: Array
    last_inputs: Array
    first_targets: Array | None
    last_targets: Array | None
    sequence_targets: Array | None
    ends_early: BoolArray
    largest_change: Array | None
    tokens: Array | None

    @property
    def batch_size(self) -> int:
        return int(self.first_inputs.shape[1])


def row_ends(sequences: Sequences, mask: Array | None = None) -> RowEnds | None:
    """Copies of the ends of a batch's rows; None if the axis of time is unknown.

    Example
    -------
    >>> tokens = np.arange(12).reshape(4, 3)
    >>> ends = row_ends(Sequences(tokens[:-1], tokens[1:], time_axis=0, vocab_size=None))
    >>> ends.first_inputs[0].tolist(), ends.last_targets[-1].tolist()
    ([0, 1, 2], [9, 10, 11])
    """
    if sequences.inputs is None or sequences.time_axis is None:
        return None
    inputs, targets = sequences.time_first()
    steps, batch_size = TARGET_SHIFT.longest_shift, inputs.shape[1]
    if mask is None:
        ends_early = np.zeros(batch_size, dtype=np.bool_)
    else:
        ends_early = ~(mask[-1] if sequences.time_axis == 0 else mask[:, -1])
    given = sequences.targets
    per_sequence = given is not None and not sequences.per_step and len(given) == batch_size
    return RowEnds(
        first_inputs=inputs[:steps].copy(),
        last_inputs=inputs[-steps:].copy(),
        first_targets=None if targets is None else targets[:steps].copy(),
        last_targets=None if targets is None else targets[-steps:].copy(),
        sequence_targets=np.array(given) if per_sequence else None,
        ends_early=ends_early,
        largest_change=_largest_change(inputs),
        tokens=None if inputs.dtype.kind == "f" else inputs.copy(),
    )


def _largest_change(inputs: Array) -> Array | None:
    if inputs.dtype.kind != "f" or len(inputs) <= 3:
        return None
    with np.errstate(all="ignore"):
        changes = np.abs(np.diff(inputs.reshape(*inputs.shape[:2], -1), axis=0)).max(axis=2)
    largest: Array = changes.max(axis=0)
    return largest
