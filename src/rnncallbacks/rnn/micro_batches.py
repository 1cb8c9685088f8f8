"""Gradient accumulation: batches that need the memory of some of their rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from operator import itemgetter
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays import Array, FlatArrays, map_arrays, named_arrays
from rnncallbacks.errors import RnnCallbacksError
from rnncallbacks.rnn.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.states import check_state

Step = Callable[[SequenceBatch, Any, float], tuple[float, Any]]


class MicroBatches:
    r"""Works on a batch in slices of some rows, one after the other.

    .. math:: L = \sum_s \frac{n_s}{n} L_s, \qquad \nabla L = \sum_s \frac{n_s}{n} \nabla L_s

    with :math:`n_s` of the batch's n counted positions in slice s. So loss, gradients and final state are those of the
    whole batch up to rounding, and the activations in memory are those of one slice. A slice of which no position
    counts is left out, and its state stays as it is. Each slice is a forward pass of its own, with its own dropout. A
    batch of no more rows than a slice is worked on as it is.

    Parameters
    ----------
    model:
        The network.
    size:
        Rows in a slice, 1 or more; the last slice of a batch may have fewer. None: batches are not cut.

    Example
    -------
    >>> model = RecurrentModel(8, vocab_size=4, dtype="float64")
    >>> tokens = np.arange(60).reshape(6, 10) % 4
    >>> batch, state = SequenceBatch(tokens[:-1], tokens[1:]), model.zero_state(10)
    >>> whole, cut = (MicroBatches(model, size).learn(batch, state) for size in (None, 3))
    >>> bool(np.isclose(whole[0], cut[0]))
    True
    """

    def __init__(self, model: RecurrentModel, size: int | None) -> None:
        self.model = model
        self.size = size
        self._sum: Array | None = None

    def whole(self, batch: SequenceBatch) -> bool:
        """Whether a batch is worked on as it is."""
        return self.size is None or batch.size <= self.size

    def learn(self, batch: SequenceBatch, state: Any) -> tuple[float, Any, FlatArrays]:
        """The batch's loss, the state that leaves it, and the gradients, which are ``model.gradients``.

        Errors are those of ``model.forward``, with a note that says which rows the slice had.
        """
        model = self.model
        if self.whole(batch):
            loss, final = model.forward(batch, state)
            return loss, final, model.backward()
        if self._sum is None:
            self._sum = np.empty_like(model.gradients.flat)
        total = self._sum
        total.fill(0.0)

        def step(part: SequenceBatch, entering: Any, weight: float) -> tuple[float, Any]:
            loss, leaving = model.forward(part, entering)
            gradients = model.backward().flat
            with np.errstate(all="ignore"):
                np.multiply(gradients, weight, gradients)
                np.add(gradients, total, gradients)
            np.copyto(total, gradients)
            return loss, leaving

        return *self._one_by_one(batch, state, step), model.gradients

    def evaluate(self, batch: SequenceBatch, state: Any) -> tuple[float, Any]:
        """The batch's loss and the state that leaves it, as ``model.evaluate`` gives them."""
        if self.whole(batch):
            return self.model.evaluate(batch, state)
        return self._one_by_one(batch, state, lambda part, entering, _: self.model.evaluate(part, entering))

    def reevaluate(self, batch: SequenceBatch, state: Any) -> float:
        """The loss of the batch that ``learn`` had last, with the same dropout, at the parameters as they are now."""
        model = self.model
        if self.whole(batch):
            return model.reevaluate(batch, state)
        passes = count(int(model.passes) - len(list(self._parts(batch))) + 1)

        def step(part: SequenceBatch, entering: Any, weight: float) -> tuple[float, Any]:
            return model.reevaluate(part, entering, next(passes)), entering

        return self._one_by_one(batch, state, step)[0]

    def _one_by_one(self, batch: SequenceBatch, state: Any, step: Step) -> tuple[float, Any]:
        final = self.model.zero_state(batch.size)
        check_state(state, final)
        _put(final, slice(None), state)
        loss, tokens = 0.0, batch.tokens
        for rows, part in self._parts(batch):
            weight = part.tokens / tokens
            try:
                value, leaving = step(part, map_arrays(itemgetter(rows), state), weight)
            except RnnCallbacksError as error:
                error.add_note(f"in a slice of the batch, of the rows from {rows.start} on")
                raise
            loss += weight * value
            _put(final, rows, leaving)
        return loss, final

    def _parts(self, batch: SequenceBatch) -> Iterator[tuple[slice, SequenceBatch]]:
        assert self.size is not None
        for begin in range(0, batch.size, self.size):
            rows = slice(begin, begin + self.size)
            if batch.last_step or batch.mask is None or batch.mask[:, rows].any():
                yield (
                    rows,
                    attrs.evolve(
                        batch,
                        inputs=batch.inputs[:, rows],
                        targets=batch.targets[rows] if batch.last_step else batch.targets[:, rows],
                        mask=None if batch.mask is None else batch.mask[:, rows],
                        starts=None if batch.starts is None else batch.starts[rows],
                    ),
                )


def _put(state: Any, rows: slice, part: Any) -> None:
    """Write the state of some rows into that of all."""
    arrays, parts = named_arrays(state), named_arrays(part)
    for name, array in arrays.items():
        array[rows] = parts[name]
