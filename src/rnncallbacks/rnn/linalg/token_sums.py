"""Sums of the rows that belong to each token: the gradient of a lookup."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.linalg.products import add_product
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.validation import IntArray

# Multiplications. Up to here, a product with a one-hot matrix takes less time than the calls that sum token by token.
# The exact number is chosen by eye.
_MAX_ONE_HOT_MULTIPLICATIONS = 3 * 2**20

# Elements of the rows sorted at a time, 128 KiB in float32: they stay in the second-level cache until they are summed.
_SORTED_ELEMENTS = 2**15

# Rows. The rows of one token are sorted together up to this number, even if they have more elements than above. Chosen
# by eye.
_MAX_ROWS_OF_TOKEN = 256

# Rows. A product with ones sums at least this many in less time than numpy.add.reduce: 64 tokens of 64 rows each and 64
# columns in 153 instead of 210 microseconds. It calls a library for each token, which costs more for fewer rows.
_MIN_ROWS_FOR_PRODUCT = 6


def sum_by_token(work: Workspace, tokens: IntArray, values: FloatArray, out: FloatArray, is_first: bool) -> None:
    r"""Add the sum of each token's rows of ``values`` to ``out``, or overwrite ``out`` if this is the first summand.

    .. math:: \mathrm{out}_v = \sum_{n : \mathrm{token}_n = v} \mathrm{values}_n

    Uses the product with a one-hot matrix, or sums over the rows sorted by token, whichever is faster.

    Parameters
    ----------
    work:
        The workspace of temporary arrays.
    tokens:
        Token numbers, as many as ``values`` has rows.
    values:
        Rows (positions, size).
    out:
        Sums (vocab_size, size). May be a transposed view.
    is_first:
        Whether to overwrite ``out``.

    Example
    -------
    >>> out = np.empty((3, 1))
    >>> sum_by_token(Workspace("float64"), np.array([2, 0, 2]), np.array([[1.0], [2.0], [4.0]]), out, True)
    >>> out.T
    array([[2., 0., 5.]])
    """
    tokens = tokens.reshape(-1)
    positions, size = values.shape
    vocab_size = out.shape[0]
    if vocab_size * positions * size <= _MAX_ONE_HOT_MULTIPLICATIONS:
        one_hot = work.array("one_hot", (positions, vocab_size), fill=0.0)
        flat = one_hot.reshape(-1)
        indices = np.arange(0, positions * vocab_size, vocab_size) + tokens
        try:
            flat[indices] = 1.0
            if out.flags.c_contiguous:
                add_product(work, one_hot.T, values, out, is_first)
            else:
                add_product(work, values.T, one_hot, out.T, is_first)
        finally:
            # Also after Ctrl-C: a one left in the matrix would corrupt all later gradients.
            flat[indices] = 0.0
        return
    present, sums = _sums_of_present(work, tokens, values, vocab_size)
    if is_first:
        # The array in the order of its memory, which is faster to fill.
        (out if out.flags.c_contiguous else out.T).fill(0.0)
        out[present] = sums
    else:
        out[present] += sums


def _sums_of_present(
    work: Workspace, tokens: IntArray, values: FloatArray, vocab_size: int
) -> tuple[IntArray, FloatArray]:
    """The tokens that occur, in order of frequency, and the sums of their rows.

    The sums of all tokens with the same frequency are a single call.
    """
    size = values.shape[1]
    counts = np.bincount(tokens, minlength=vocab_size)
    by_count = np.argsort(counts, kind="stable")
    present = by_count[vocab_size - np.count_nonzero(counts) :]
    rank = np.empty(vocab_size, dtype=np.intp)
    rank[by_count] = np.arange(vocab_size)
    # NumPy sorts integers of 16 bits by radix, several times faster than longer ones.
    ranks = rank[tokens]
    order = np.argsort(ranks.astype(np.uint16) if vocab_size <= 2**16 else ranks, kind="stable")
    # In the memory of the table, which only the forward pass needs.
    sums = work.array("table", (len(present), size))
    # Rows are sorted in parts, because a copy of all of them would take as much memory as the gates. The number is a
    # power of two, so that few different shapes of work arrays occur.
    room = max(_SORTED_ELEMENTS // size, min(_MAX_ROWS_OF_TOKEN, 1 << int(counts.max() - 1).bit_length()))
    sorted_rows, ones = work.scratch((room, size)), work.array("ones", (room,), fill=1.0)
    begin = token = 0
    tokens_with_count = np.bincount(counts[present])
    for count in np.flatnonzero(tokens_with_count).tolist():
        end = token + int(tokens_with_count[count])
        while token < end:
            together = max(1, min(room // count, end - token))
            for first in range(0, together * count, room):
                rows = sorted_rows[: min(room, together * count - first)]
                values.take(order[begin : begin + len(rows)], axis=0, out=rows, mode="clip")
                begin += len(rows)
                if together > 1:
                    by_token, out = rows.reshape(together, count, size), sums[token : token + together]
                    if count < _MIN_ROWS_FOR_PRODUCT:
                        np.add.reduce(by_token, axis=1, out=out)
                    else:
                        np.matmul(ones[:count], by_token, out)
                elif first == 0:
                    ones[: len(rows)].dot(rows, sums[token])
                else:
                    sums[token] += ones[: len(rows)].dot(rows)
            token += together
    return present, sums
