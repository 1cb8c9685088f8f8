"""The lengths of the sequences of a padded batch, and their reversal."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray
from rnncallbacks.rnn.validation import IntArray


def sequence_lengths(mask: BoolArray) -> IntArray:
    """The length of each row up to its last unmasked step; 0 if the row has none.

    Example
    -------
    >>> sequence_lengths(np.array([[True, False], [True, False], [False, False]])).tolist()
    [2, 0]
    """
    lengths: IntArray = np.where(mask.any(axis=0), mask.shape[0] - mask[::-1].argmax(axis=0), 0)
    return lengths


class Reversal:
    """Reverses the steps of each row up to its length. The padding after them stays where it is.

    Parameters
    ----------
    lengths:
        The length of each row; None: all rows are as long as the batch.
    seq_len:
        The length of the batch.
    """

    def __init__(self, lengths: IntArray | None, seq_len: int) -> None:
        self._order: IntArray | None = None
        if lengths is not None:
            step = np.arange(seq_len)[:, None]
            self._order = np.where(step < lengths, lengths - 1 - step, step)

    def __call__(self, array: Array) -> Array:
        """A reversed copy of an array (seq_len, batch, ...). Reversing it again restores the original."""
        if self._order is None:
            return np.ascontiguousarray(array[::-1])
        return array[self._order, np.arange(array.shape[1])]
