"""Batches from streams of tokens, for truncated backpropagation through time.

The loader has the interface of those in :mod:`rnncallbacks.rnn.data.loaders`. It keeps the order of the stream, so all
iterations are the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rnncallbacks.errors import DataError, OptionError, ShapeError
from rnncallbacks.rnn.data.batches import SequenceBatch, next_tokens
from rnncallbacks.rnn.validation import IntArray, as_array, as_tokens, check_count, is_integer

# Tokens. Several small batches are cut from a read of this size, because NumPy's calls take longer than copying the
# tokens. Chosen by eye.
_TOKENS_PER_READ = 2**9


class StreamLoader:
    """A long stream of tokens, cut into contiguous batches for truncated backpropagation through time.

    The stream is cut into ``batch_size`` parts, one per row, whose lengths differ by at most one token. Each batch
    continues the rows of the batch before, so the final state of one batch is the initial state of the next: the first
    input of a row is the last target of the same row in the batch before. Each token but the last is an input exactly
    once, and each but the first is a target exactly once. If the lengths of the parts differ, the last batch has a
    mask. ``starts`` is True for all rows of the first batch and False for all later ones.

    With ``document_starts``, each row holds consecutive whole documents, distributed such that the number of batches is
    minimal. A chunk ends at the end of its document, and the rest of the row is masked. The next chunk begins the next
    document, and ``starts`` is True for that row. So a state that is reset where ``starts`` is True never leaves its
    document, and no token is predicted from another document: the first token of each is not a target, and the last is
    not an input. A batch is as long as its longest row. A row that has no documents left is fully masked.

    The stream is never copied as a whole, so it may be a memory map, and memory does not grow with its length. Each
    document takes two integers.

    Parameters
    ----------
    tokens:
        Token numbers, 0 or more, of shape (stream_len,).
    batch_size:
        Number of rows, 1 or more.
    seq_len:
        Steps per chunk, 1 or more. The last chunk of a document or of the stream may be shorter.
    document_starts:
        Increasing positions in the stream at which documents begin. Tokens before the first are a document too.
        Documents of a single token are left out. None: the stream is a single document, and is cut into rows anyway.
    drop_last:
        Leave out the last batch if it is shorter than ``seq_len`` or has a mask. With ``document_starts``: leave out
        the batches at the end in which a row has no document left.

    Raises
    ------
    ShapeError
        ``tokens`` or ``document_starts`` does not have exactly one axis.
    DataError
        Tokens are not integers or are negative, there are too few tokens or documents for the rows, or document starts
        do not increase or are out of range.
    OptionError
        ``batch_size`` or ``seq_len`` is not an integer of at least 1, or ``drop_last`` leaves no batch.

    Example
    -------
    >>> loader = StreamLoader(np.arange(9), batch_size=2, seq_len=3)
    >>> for batch in loader:
    ...     print(batch.inputs.T.tolist(), batch.targets.T.tolist(), batch.starts.tolist())
    [[0, 1, 2], [4, 5, 6]] [[1, 2, 3], [5, 6, 7]] [True, True]
    [[3], [7]] [[4], [8]] [False, False]

    Documents of 5, 2 and 3 tokens; masked positions hold 0:

    >>> loader = StreamLoader(np.arange(10, 20), batch_size=2, seq_len=3, document_starts=[0, 5, 7])
    >>> for batch in loader:
    ...     print(batch.inputs.T.tolist(), batch.targets.T.tolist(), batch.starts.tolist())
    [[10, 11, 12], [15, 0, 0]] [[11, 12, 13], [16, 0, 0]] [True, True]
    [[13, 0], [17, 18]] [[14, 0], [18, 19]] [False, True]

    Source: Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", Neural Computation 2 (1990).
    """

    def __init__(
        self,
        tokens: npt.ArrayLike,
        batch_size: int,
        seq_len: int,
        *,
        document_starts: npt.ArrayLike | None = None,
        drop_last: bool = False,
    ) -> None:
        self.tokens = as_tokens("tokens", tokens)
        self.batch_size = check_count("batch_size", batch_size)
        self.seq_len = check_count("seq_len", seq_len)
        self.drop_last = drop_last
        self._skipped = 0
        pairs = len(self.tokens) - 1
        if pairs < self.batch_size:
            raise DataError(
                f"tokens: {len(self.tokens)} tokens are too few for batch_size {self.batch_size}: each row needs an "
                f"input and a target, so at least {self.batch_size + 1} tokens",
                hint="use more text or a smaller batch_size",
            )
        self._whole_documents = document_starts is not None
        # The documents: where each begins, and its number of pairs of input and target. Row r holds the documents from
        # _rows[r] to _rows[r + 1]. Without document_starts, each row is treated as one document.
        self._begins: IntArray
        self._pairs: IntArray
        self._rows: IntArray
        if document_starts is None:
            cuts = np.arange(self.batch_size + 1) * pairs // self.batch_size
            self._begins, self._pairs = cuts[:-1], np.diff(cuts)
            self._rows = np.arange(self.batch_size + 1)
        else:
            self._begins, self._pairs = self._documents(document_starts)
            self._rows = _distribute(self._chunks(), self.batch_size)
        self._count = self._batch_count()
        if not self._count:
            raise OptionError(
                f"drop_last: no batch is left: {len(self.tokens)} tokens in {self.batch_size} rows do not fill one "
                f"chunk of seq_len {self.seq_len}",
                hint="choose a smaller seq_len or batch_size, or drop_last=False",
            )

    def __len__(self) -> int:
        return self._count

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: all iterations are the same."""

    def skip_batches(self, count: int) -> None:
        """Leave the first ``count`` batches out of the next iteration."""
        self._skipped = count

    def __iter__(self) -> Iterator[SequenceBatch]:
        skipped, self._skipped = self._skipped, 0
        return self._batches(skipped)

    def _batches(self, skipped: int) -> Iterator[SequenceBatch]:
        document, last = self._rows[:-1].copy(), self._rows[1:] - 1
        begins, left = self._begins[document], self._pairs[document]  # the position of each row, and its pairs left
        starts = np.ones(self.batch_size, dtype=np.bool_)
        most = max(1, _TOKENS_PER_READ // (self.batch_size * self.seq_len))
        remaining = self._count
        while remaining:
            # Either several batches in which no document ends, or a single one in which one does.
            # Batches that are skipped are not read.
            whole = int(left.min()) // self.seq_len
            count = max(1, min(whole, skipped or most, remaining))
            steps = min(count * self.seq_len, int(left.max()))
            if not skipped:
                inputs, targets, mask = next_tokens(self.tokens, begins, left, steps)
                if self._whole_documents and mask is not None:
                    inputs[~mask] = targets[~mask] = 0
                for begin in range(0, steps, self.seq_len):
                    chunk = slice(begin, begin + self.seq_len)
                    yield SequenceBatch(inputs[chunk], targets[chunk], mask, starts)
                    starts = np.zeros(self.batch_size, dtype=np.bool_)
            remaining -= count
            skipped -= min(count, skipped)
            begins += steps
            left -= steps
            starts = (left <= 0) & (document < last)
            document += starts
            begins[starts], left[starts] = self._begins[document[starts]], self._pairs[document[starts]]

    def _batch_count(self) -> int:
        if self.drop_last and not self._whole_documents:
            return int(self._pairs.min()) // self.seq_len
        per_row = np.add.reduceat(self._chunks(), self._rows[:-1])
        return int(per_row.min() if self.drop_last else per_row.max())

    def _chunks(self) -> IntArray:
        return -(-self._pairs // self.seq_len)

    def _documents(self, document_starts: npt.ArrayLike) -> tuple[IntArray, IntArray]:
        """The positions of the documents of two or more tokens, and their numbers of pairs of input and target."""
        starts = as_array("document_starts", document_starts)
        if starts.ndim != 1:
            raise ShapeError(f"document_starts: expected one axis of positions, got shape {starts.shape}")
        if starts.size and not is_integer(starts):
            raise DataError(f"document_starts: expected positions, which are integers, got {starts.dtype}")
        if np.any(starts[1:] <= starts[:-1]):
            where = int(np.argmax(starts[1:] <= starts[:-1]))
            raise DataError(
                f"document_starts: expected increasing positions, got {starts[where]} followed by "
                f"{starts[where + 1]} at index {where + 1}",
                hint="sort them and leave out empty documents",
            )
        outside = starts[(starts < 0) | (starts >= len(self.tokens))]
        if outside.size:
            raise DataError(
                f"document_starts: position {outside[0]} is out of range for a stream of {len(self.tokens)} tokens",
                hint="leave out the end of the last document",
            )
        bounds = np.concatenate([[0], starts.astype(np.intp), [len(self.tokens)]])
        pairs = np.diff(bounds) - 1
        begins, pairs = bounds[:-1][pairs > 0], pairs[pairs > 0]
        if len(pairs) < self.batch_size:
            raise DataError(
                f"document_starts: {len(pairs)} documents of two or more tokens are too few for batch_size "
                f"{self.batch_size}: each row holds whole documents",
                hint="choose a smaller batch_size, or leave out document_starts, so that documents may be cut",
            )
        return begins, pairs


def _distribute(chunks: IntArray, rows: int) -> IntArray:
    """The first document of each row, and the end of the last row, such that the longest row has the fewest chunks.

    This is the linear partition problem, solved by bisection of the capacity of a row.
    """
    sums = np.concatenate([[0], np.cumsum(chunks)])

    def filled(capacity: int) -> list[int]:
        cuts = [0]
        for _ in range(rows):
            cuts.append(int(np.searchsorted(sums, sums[cuts[-1]] + capacity, side="right")) - 1)
        return cuts

    total = int(sums[-1])
    enough = max(int(chunks.max()), -(-total // rows))
    enough = bisect_left(range(total), True, lo=enough, key=lambda capacity: filled(capacity)[-1] == len(chunks))
    # No row may be empty: the rows at the end take one document each from the rows before, which have several.
    latest = np.arange(len(chunks) - rows, len(chunks) + 1)
    return np.minimum(filled(enough), latest)
