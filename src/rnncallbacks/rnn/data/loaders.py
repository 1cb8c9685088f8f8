"""Loaders that make batches from lists of sequences and from arrays.

A loader can be iterated repeatedly and has a length. If it shuffles, it draws the order of its n-th iteration from
``np.random.default_rng([seed, n])``. The attribute ``epoch`` is n, which starts at 0 and grows by 1 with each
iteration. A run sets it with ``set_epoch``, so that a resumed run continues with the batches that the interrupted one
would have seen, and leaves out those of an epoch that it had seen with ``skip_batches``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays.containers import Array
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.data.batches import SequenceBatch, next_tokens
from rnncallbacks.rnn.validation import (
    IntArray,
    as_array,
    as_tokens,
    check_count,
    check_layout,
    check_values,
    one_per_sequence,
)

# Batches. Sequences are sorted by length within pools of this size. Larger pools save little more padding, smaller ones
# leave noticeably more. Chosen by eye.
_BATCHES_PER_POOL = 100


class SequenceLoader:
    """Padded batches of token sequences of different lengths. The target of each step is the next token.

    A sequence of n tokens gives n - 1 inputs and targets. Within a batch, shorter sequences are padded with zeros on
    the right, where the mask is False. A batch without padding has no mask.

    Parameters
    ----------
    sequences:
        The sequences, each of at least 2 token numbers, which are 0 or more.
    batch_size:
        Sequences per batch, 1 or more. The last batch may be smaller.
    shuffle:
        Draw a new order for each iteration.
    bucket:
        Put sequences of similar length into the same batch, which reduces padding. The sequences are sorted by length
        within pools of 100 batches. With ``shuffle``, sequences are shuffled before and batches after that.
    seed:
        Of the shuffling, 0 or more.
    drop_last:
        Leave out the last batch if it is smaller than ``batch_size``. With ``shuffle``, other sequences are left out in
        each iteration.

    Raises
    ------
    DataError
        There is no sequence, a sequence has fewer than 2 tokens, or a token is negative or not an integer.
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
                    hint="leave such sequences out, or append an end-of-sequence token to each",
                )
        self.batch_size = check_count("batch_size", batch_size)
        self.shuffle = shuffle
        self.bucket = bucket
        self.seed = check_count("seed", seed, minimum=0)
        self.drop_last = drop_last
        self.epoch = 0
        self._skipped = 0
        _check_batches(len(checked), self.batch_size, drop_last)
        sizes = np.array([len(sequence) for sequence in checked])
        self._tokens = np.concatenate(checked)
        self._begins = np.cumsum(sizes) - sizes
        self._lengths = sizes - 1

    def __len__(self) -> int:
        return _batch_count(len(self._lengths), self.batch_size, self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of this epoch, counted from 1."""
        self.epoch = epoch - 1

    def skip_batches(self, count: int) -> None:
        """Leave the first ``count`` batches out of the next iteration."""
        self._skipped = count

    def __iter__(self) -> Iterator[SequenceBatch]:
        batches = self._rows(np.random.default_rng([self.seed, self.epoch]))
        skipped, self._skipped = self._skipped, 0
        self.epoch += 1
        return map(self._batch, batches[skipped:])

    def _rows(self, generator: np.random.Generator) -> list[IntArray]:
        order = _order(len(self._lengths), self.shuffle, generator)
        # The sequences of the incomplete batch are removed before sorting. In a sorted pool they would always be the
        # longest, so the same sequences would be dropped, or weighted by a small batch, in each iteration.
        whole = len(order) - len(order) % self.batch_size
        batches: list[IntArray] = []
        pool_size = _BATCHES_PER_POOL * self.batch_size
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
    """Batches of a dataset held in arrays whose first axis is the sequence.

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
        Which positions contribute to the loss, booleans (sequences, seq_len); None: all of them.
    shuffle:
        Draw a new order for each iteration.
    seed:
        Of the shuffling, 0 or more.
    drop_last:
        Leave out the last batch if it is smaller than ``batch_size``.

    Raises
    ------
    ShapeError
        The shapes of the arrays do not match.
    DataError
        There is no sequence, a value is NaN or infinite (masked or not), a token is negative, or all steps of a
        sequence are masked.
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
        self._skipped = 0
        check_layout(self.inputs, self.targets, self.mask, time_axis=1)
        for name, array in (("inputs", self.inputs), ("targets", self.targets)):
            check_values(name, array)
        if self.mask is not None and not self.mask.any(axis=1).all():
            empty = int(np.argmin(self.mask.any(axis=1)))
            raise DataError(f"mask: all steps of sequence {empty} are masked", hint="leave such sequences out")
        _check_batches(len(self.inputs), self.batch_size, drop_last)

    def __len__(self) -> int:
        return _batch_count(len(self.inputs), self.batch_size, self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of this epoch, counted from 1."""
        self.epoch = epoch - 1

    def skip_batches(self, count: int) -> None:
        """Leave the first ``count`` batches out of the next iteration."""
        self._skipped = count

    def __iter__(self) -> Iterator[SequenceBatch]:
        order = _order(len(self.inputs), self.shuffle, np.random.default_rng([self.seed, self.epoch]))
        skipped, self._skipped = self._skipped, 0
        self.epoch += 1
        return (self._batch(order[n * self.batch_size : (n + 1) * self.batch_size]) for n in range(skipped, len(self)))

    def _batch(self, rows: IntArray) -> SequenceBatch:
        targets = self.targets[rows] if one_per_sequence(self.targets) else _time_first(self.targets, rows)
        mask = None if self.mask is None else _time_first(self.mask, rows)
        return SequenceBatch(_time_first(self.inputs, rows), targets, mask)


def _time_first(array: Array, rows: IntArray) -> Array:
    return np.ascontiguousarray(array[rows].swapaxes(0, 1))


def _order(size: int, shuffle: bool, generator: np.random.Generator) -> IntArray:
    return generator.permutation(size) if shuffle else np.arange(size)


def _batch_count(sequences: int, batch_size: int, drop_last: bool) -> int:
    return sequences // batch_size if drop_last else -(-sequences // batch_size)


def _check_batches(sequences: int, batch_size: int, drop_last: bool) -> None:
    if not _batch_count(sequences, batch_size, drop_last):
        raise OptionError(
            f"drop_last: no batch is left of {sequences} sequences with batch_size {batch_size}",
            hint="choose a smaller batch_size, or drop_last=False",
        )
