"""Batches of sequences, and the loaders that make them from lists of sequences and from arrays.

A loader can be iterated again and again and has a length. One that shuffles draws the order of its n-th iteration from
``np.random.default_rng([seed, n])``. Its attribute ``epoch`` is that n, counted from 0 and raised whenever an iteration
begins. A run sets it with ``set_epoch``, so that a resumed run goes on with the batches that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays import Array
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.checks import (
    BoolArray,
    IntArray,
    as_array,
    as_tokens,
    check_count,
    check_flags,
    check_layout,
    check_values,
    one_per_sequence,
)

# Sequences are sorted by length within pools of this many batches. Larger pools save little more padding, and smaller
# ones leave noticeably more.
_POOL_BATCHES = 100


@attrs.frozen(eq=False)
class SequenceBatch:
    """Some sequences of one length side by side, time first.

    Parameters
    ----------
    inputs:
        Token numbers of shape (seq_len, batch), or floats of shape (seq_len, batch, features).
    targets:
        One target per step: token numbers (seq_len, batch) or floats (seq_len, batch, out). One target per sequence:
        token numbers (batch,) or floats (batch, out).
    mask:
        Which positions count, of shape (seq_len, batch); None: all of them.
    starts:
        Which rows begin a new sequence and so need a fresh hidden state, of shape (batch,); None: all of them.

    Raises
    ------
    ShapeError
        Two of the arrays do not belong together, or one is empty.
    DataError
        Tokens are neither integers nor floats, a mask is not boolean, or a mask leaves no position.

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
            raise DataError("mask: no position counts, so the batch has no loss", hint="leave such a batch out")

    @property
    def last_step(self) -> bool:
        """Whether there is one target per sequence, for a head that reads the last step only."""
        return one_per_sequence(self.targets)

    @property
    def size(self) -> int:
        """Number of sequences."""
        return int(self.inputs.shape[1])

    @property
    def tokens(self) -> int:
        """Number of positions that count in the loss."""
        if self.last_step:
            return self.size
        if self.mask is not None:
            return int(np.count_nonzero(self.mask))
        return int(self.inputs.shape[0]) * self.size


class SequenceLoader:
    """Token sequences of various lengths, as padded batches in which each step's target is the next token.

    A sequence of n tokens gives n - 1 inputs and targets. Within a batch, shorter sequences are filled with zeros on
    the right, and the mask is False there; a batch without padding has no mask. Every row is a sequence of its own.

    Parameters
    ----------
    sequences:
        The sequences, each of at least 2 token numbers, which are 0 or more.
    batch_size:
        Sequences per batch, 1 or more. The last batch may be smaller.
    shuffle:
        Draw a new order for every iteration.
    bucket:
        Put sequences of similar length into the same batch, so that little is padded: the (shuffled) sequences are
        sorted by length within pools of 100 batches, and the batches (shuffled) are taken from the pools.
    seed:
        Of the shuffling, 0 or more.
    drop_last:
        Leave out the last batch when it is smaller than ``batch_size``. Which sequences are left out changes with
        every shuffling.

    Raises
    ------
    DataError
        There is no sequence, or one has fewer than 2 tokens, or tokens that are negative or no integers.
    ShapeError
        A sequence is not one-dimensional.
    OptionError
        ``batch_size`` or ``seed`` is out of range, or ``drop_last`` leaves no batch.

    Example
    -------
    >>> loader = SequenceLoader([[1, 2, 3, 4], [5, 6]], batch_size=2, shuffle=False, bucket=False)
    >>> batch, = loader
    >>> batch.inputs.T.tolist(), batch.targets.T.tolist()
    ([[1, 2, 3], [5, 0, 0]], [[2, 3, 4], [6, 0, 0]])
    >>> batch.mask.T.tolist()
    [[True, True, True], [True, False, False]]
    """

    def __init__(
        self,
        sequences: Sequence[npt.ArrayLike],
        batch_size: int,
        *,
        shuffle: bool = True,
        bucket: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if not len(sequences):
            raise DataError("sequences: expected at least one sequence, got none")
        checked = [as_tokens(f"sequence {number}", sequence) for number, sequence in enumerate(sequences)]
        for number, sequence in enumerate(checked):
            if len(sequence) < 2:
                raise DataError(
                    f"sequence {number}: expected at least 2 tokens, an input and its target, got {len(sequence)}",
                    hint="leave such sequences out, or end each with an end-of-sequence token",
                )
        self.batch_size = check_count("batch_size", batch_size)
        self.shuffle = shuffle
        self.bucket = bucket
        self.seed = check_count("seed", seed, minimum=0)
        self.drop_last = drop_last
        self.epoch = 0
        _check_batches(len(checked), self.batch_size, drop_last)
        sizes = np.array([len(sequence) for sequence in checked])
        self._tokens = np.concatenate(checked)
        self._begins = np.cumsum(sizes) - sizes
        self._lengths = sizes - 1

    def __len__(self) -> int:
        return _batch_count(len(self._lengths), self.batch_size, self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of an epoch, which a run counts from 1."""
        self.epoch = epoch - 1

    def __iter__(self) -> Iterator[SequenceBatch]:
        batches = self._rows(np.random.default_rng([self.seed, self.epoch]))
        self.epoch += 1
        return map(self._batch, batches)

    def _rows(self, generator: np.random.Generator) -> list[IntArray]:
        order = _order(len(self._lengths), self.shuffle, generator)
        # The odd sequences at the end are set aside before sorting: taken from a sorted pool, they would always be
        # its longest, so that the same sequences would be dropped, or weighted by a small batch, every time.
        whole = len(order) - len(order) % self.batch_size
        batches: list[IntArray] = []
        pool_size = _POOL_BATCHES * self.batch_size
        for begin in range(0, whole, pool_size):
            pool = order[begin : min(begin + pool_size, whole)]
            if self.bucket:
                pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches.extend(pool.reshape(-1, self.batch_size))
        if self.shuffle and self.bucket:
            batches = [batches[position] for position in generator.permutation(len(batches))]
        if whole < len(order) and not self.drop_last:
            batches.append(order[whole:])
        return batches

    def _batch(self, rows: IntArray) -> SequenceBatch:
        lengths = self._lengths[rows]
        inputs, targets, mask = next_tokens(self._tokens, self._begins[rows], lengths, int(lengths.max()))
        if mask is not None:
            inputs[~mask] = targets[~mask] = 0
        return SequenceBatch(inputs, targets, mask)


class ArrayLoader:
    """A dataset held in arrays, one sequence after the other, as time-major batches.

    Parameters
    ----------
    inputs:
        Floats of shape (sequences, seq_len, features), or token numbers of shape (sequences, seq_len).
    targets:
        One target per step: token numbers (sequences, seq_len) or floats (sequences, seq_len, out). One target per
        sequence: token numbers (sequences,) or floats (sequences, out).
    batch_size:
        Sequences per batch, 1 or more. The last batch may be smaller.
    mask:
        Booleans of shape (sequences, seq_len): which steps count. None: all of them.
    shuffle:
        Draw a new order for every iteration.
    seed:
        Of the shuffling, 0 or more.
    drop_last:
        Leave out the last batch when it is smaller than ``batch_size``.

    Raises
    ------
    ShapeError
        The arrays do not belong together; the message names both shapes.
    DataError
        There is no sequence, a value is NaN or infinite (masked or not), a token is negative, or a sequence is masked
        altogether.
    OptionError
        ``batch_size`` or ``seed`` is out of range, or ``drop_last`` leaves no batch.

    Example
    -------
    >>> inputs = np.zeros((10, 25, 3), dtype="float32")
    >>> labels = np.arange(10)
    >>> [(batch.inputs.shape, batch.targets.shape) for batch in ArrayLoader(inputs, labels, batch_size=6)]
    [((25, 6, 3), (6,)), ((25, 4, 3), (4,))]
    """

    def __init__(
        self,
        inputs: npt.ArrayLike,
        targets: npt.ArrayLike,
        batch_size: int,
        *,
        mask: npt.ArrayLike | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.inputs = as_array("inputs", inputs)
        self.targets = as_array("targets", targets)
        self.mask = None if mask is None else as_array("mask", mask)
        self.batch_size = check_count("batch_size", batch_size)
        self.shuffle = shuffle
        self.seed = check_count("seed", seed, minimum=0)
        self.drop_last = drop_last
        self.epoch = 0
        check_layout(self.inputs, self.targets, self.mask, time_axis=1)
        for name, array in (("inputs", self.inputs), ("targets", self.targets)):
            check_values(name, array)
        if self.mask is not None and not self.mask.any(axis=1).all():
            empty = int(np.argmin(self.mask.any(axis=1)))
            raise DataError(f"mask: no step of sequence {empty} counts", hint="leave such sequences out")
        _check_batches(len(self.inputs), self.batch_size, drop_last)

    def __len__(self) -> int:
        return _batch_count(len(self.inputs), self.batch_size, self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of an epoch, which a run counts from 1."""
        self.epoch = epoch - 1

    def __iter__(self) -> Iterator[SequenceBatch]:
        order = _order(len(self.inputs), self.shuffle, np.random.default_rng([self.seed, self.epoch]))
        self.epoch += 1
        return (self._batch(order[n * self.batch_size : (n + 1) * self.batch_size]) for n in range(len(self)))

    def _batch(self, rows: IntArray) -> SequenceBatch:
        targets = self.targets[rows] if one_per_sequence(self.targets) else _time_first(self.targets, rows)
        mask = None if self.mask is None else _time_first(self.mask, rows)
        return SequenceBatch(_time_first(self.inputs, rows), targets, mask)


def next_tokens(
    tokens: IntArray, begins: IntArray, lengths: IntArray, steps: int
) -> tuple[IntArray, IntArray, BoolArray | None]:
    """Inputs and next-token targets of one row per entry of ``begins``, and a mask where a row is shorter.

    Where a row is over, its neighbours' tokens stand in for padding.
    """
    # An index array, unlike ``take``, copies no stream whose entries do not follow each other in memory.
    positions = np.minimum(begins + np.arange(steps + 1)[:, None], len(tokens) - 1)
    found = tokens[positions].astype(np.intp, copy=False)
    return found[:-1], found[1:].copy(), (np.arange(steps)[:, None] < lengths) if lengths.min() < steps else None


def _time_first(array: Array, rows: IntArray) -> Array:
    return np.ascontiguousarray(array[rows].swapaxes(0, 1))


def _order(size: int, shuffle: bool, generator: np.random.Generator) -> IntArray:
    return generator.permutation(size) if shuffle else np.arange(size)


def _batch_count(sequences: int, batch_size: int, drop_last: bool) -> int:
    return sequences // batch_size if drop_last else -(-sequences // batch_size)


def _check_batches(sequences: int, batch_size: int, drop_last: bool) -> None:
    if not _batch_count(sequences, batch_size, drop_last):
        raise OptionError(
            f"drop_last leaves no batch: batch_size is {batch_size}, and there are {sequences} sequences",
            hint="choose a smaller batch_size, or drop_last=False",
        )
