"""Gradient accumulation over slices of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from operator import itemgetter
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, FlatArrays, map_arrays, named_arrays
from rnncallbacks.errors import RnnCallbacksError
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.validation import check_state

Step = Callable[[SequenceBatch, Any, float], tuple[float, Any]]


class MicroBatches:
    r"""Processes a batch in slices of some rows, one after the other.

    .. math:: L = \sum_s \frac{n_s}{n} L_s, \qquad \nabla L = \sum_s \frac{n_s}{n} \nabla L_s

    with :math:`n_s` of the batch's n unmasked positions in slice s. Loss, gradients and final state equal those of the
    whole batch up to rounding, and only the activations of one slice are in memory. A fully masked slice is left out,
    and its state is unchanged. Each slice is a forward pass with its own dropout. A batch with no more rows than a
    slice is processed as a whole.

    Parameters
    ----------
    model:
        The network.
    size:
        Rows per slice, 1 or more. The last slice of a batch may have fewer. None: batches are processed as a whole.

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
        """Whether a batch is processed without slices."""
        return self.size is None or batch.size <= self.size

    def learn(self, batch: SequenceBatch, state: Any) -> tuple[float, Any, FlatArrays]:
        """The loss of the batch, its final state, and the gradients, which are ``model.gradients``.

        Raises the errors of ``model.forward``, with a note that names the rows of the slice.
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

        return *self._accumulate(batch, state, step), model.gradients

    def evaluate(self, batch: SequenceBatch, state: Any) -> tuple[float, Any]:
        """The loss of the batch and its final state, as ``model.evaluate`` returns them."""
        if self.whole(batch):
            return self.model.evaluate(batch, state)
        return self._accumulate(batch, state, lambda part, entering, _: self.model.evaluate(part, entering))

    def reevaluate(self, batch: SequenceBatch, state: Any) -> float:
        """The loss of the latest batch of ``learn`` with the same dropout, at the current parameters."""
        model = self.model
        if self.whole(batch):
            return model.reevaluate(batch, state)
        passes = count(int(model.passes) - len(list(self._slices(batch))) + 1)

        def step(part: SequenceBatch, entering: Any, weight: float) -> tuple[float, Any]:
            return model.reevaluate(part, entering, next(passes)), entering

        return self._accumulate(batch, state, step)[0]

    def _accumulate(self, batch: SequenceBatch, state: Any, step: Step) -> tuple[float, Any]:
        final = self.model.zero_state(batch.size)
        check_state(state, final)
        _assign_rows(final, slice(None), state)
        loss, tokens = 0.0, batch.tokens
        for rows, part in self._slices(batch):
            weight = part.tokens / tokens
            try:
                value, leaving = step(part, map_arrays(itemgetter(rows), state), weight)
            except RnnCallbacksError as error:
                error.add_note(f"in the slice of the batch that begins with row {rows.start}")
                raise
            loss += weight * value
            _assign_rows(final, rows, leaving)
        return loss, final

    def _slices(self, batch: SequenceBatch) -> Iterator[tuple[slice, SequenceBatch]]:
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


def _assign_rows(state: Any, rows: slice, part: Any) -> None:
    """Write the state of some rows into the state of all rows."""
    arrays, parts = named_arrays(state), named_arrays(part)
    for name, array in arrays.items():
        array[rows] = parts[name]
