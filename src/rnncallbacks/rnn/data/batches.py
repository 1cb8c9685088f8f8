"""Batches of sequences."""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray
from rnncallbacks.errors import DataError
from rnncallbacks.rnn.validation import IntArray, check_flags, check_layout, one_per_sequence


@attrs.frozen(eq=False)
class SequenceBatch:
    """Sequences of one length, with time on the first axis.

    Parameters
    ----------
    inputs:
        Token numbers of shape (seq_len, batch), or floats of shape (seq_len, batch, features).
    targets:
        One target per step: token numbers (seq_len, batch) or floats (seq_len, batch, out). One target per sequence:
        token numbers (batch,) or floats (batch, out).
    mask:
        Which positions contribute to the loss, booleans (seq_len, batch); None: all of them.
    starts:
        Which rows begin a new sequence and so need a zero hidden state, booleans (batch,); None: all of them.

    Raises
    ------
    ShapeError
        The shapes of the arrays do not match.
    DataError
        Inputs or targets are neither integers nor floats, the batch is empty, a mask is not boolean, or it masks all
        positions.

    Example
    -------
    >>> tokens = np.array([[1, 4], [2, 5], [3, 0]])
    >>> batch = SequenceBatch(tokens[:-1], tokens[1:], mask=np.array([[True, True], [True, False]]))
    >>> batch.size, batch.tokens
    (2, 3)
    """

    inputs: Array
    targets: Array
    mask: BoolArray | None = None
    starts: BoolArray | None = None

    def __attrs_post_init__(self) -> None:
        check_layout(self.inputs, self.targets, self.mask, time_axis=0)
        if self.starts is not None:
            check_flags("starts", self.starts, self.inputs.shape[1:2], self.inputs)
        if self.mask is not None and not self.mask.any():
            raise DataError("mask: all positions are masked, so the batch has no loss", hint="leave such a batch out")

    @property
    def last_step(self) -> bool:
        """Whether there is one target per sequence, for a model with ``output="last"``."""
        return one_per_sequence(self.targets)

    @property
    def size(self) -> int:
        """Number of sequences."""
        return int(self.inputs.shape[1])

    @property
    def tokens(self) -> int:
        """Number of positions that contribute to the loss."""
        if self.last_step:
            return self.size
        if self.mask is not None:
            return int(np.count_nonzero(self.mask))
        return int(self.inputs.shape[0]) * self.size


def next_tokens(
    tokens: IntArray, begins: IntArray, lengths: IntArray, steps: int
) -> tuple[IntArray, IntArray, BoolArray | None]:
    """Inputs and next-token targets (steps, rows), and a mask if a row is shorter.

    Row r begins at position ``begins[r]`` of ``tokens`` and has ``lengths[r]`` targets. Masked positions hold the
    tokens that follow the row.
    """
    # Unlike take, indexing with an array does not copy a stream that is not contiguous.
    positions = np.minimum(begins + np.arange(steps + 1)[:, None], len(tokens) - 1)
    found = tokens[positions].astype(np.intp, copy=False)
    return found[:-1], found[1:].copy(), (np.arange(steps)[:, None] < lengths) if lengths.min() < steps else None
