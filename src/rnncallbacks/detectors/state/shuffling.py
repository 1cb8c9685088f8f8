"""Whether batches have nothing to do with those before them, as far as their contents tell."""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.stream import Edges, Shift, Tally, continuation, edges_of

STREAM = 0.5
"""The share of rows that go on above which batches are pieces of a stream."""

BATCHES = 5
"""Batches after which that is believed."""

CLASSES, LAGS, ORDERS = 64, 3, 200
"""Tokens are put into so many classes; batches so near to one another are compared; and in so many other orders."""

ALIKE = 3.0
"""So many standard deviations of other orders above their mean, neighbours are more alike than by chance."""


@attrs.define(eq=False)
class Neighbours:
    """Compares each batch's rows with those of the batch before.

    ``unrelated`` is True once it is sure that they are not pieces of a stream, ``related`` once they seem to be. Both
    are False while too little is known, and stay so where the data do not tell. ``alike`` looks at all batches so far:
    data that are not shuffled may be sorted, or overlap.

    Example
    -------
    >>> tokens = np.random.default_rng(0).integers(0, 20, (6, 9, 8))
    >>> neighbours = Neighbours()
    >>> for chunk in tokens:
    ...     neighbours.add(Sequences(chunk[:-1], chunk[1:], time_axis=0, vocab_size=20), None)
    >>> neighbours.unrelated, neighbours.related
    (True, False)
    """

    unrelated: bool = state_field(False)
    related: bool = state_field(False)
    _shift: Shift = state_field(factory=Shift)
    _tally: Tally = state_field(factory=Tally)
    _before: Edges | None = state_field(None)
    _contents: list[Array] = state_field(factory=list)

    def add(self, shown: Sequences, mask: Array | None) -> None:
        """Take a batch in; ``mask`` is laid out as its inputs are."""
        self._contents += [_content(shown)] if shown.inputs is not None else []
        if self.unrelated or self.related:
            return
        before, self._before = self._before, edges_of(shown, mask)
        if self._before is None:
            return
        self._shift.learn(shown, mask)
        if before is None:
            return
        order = continuation(before, self._before, self._shift.steps)
        self._tally.add(order, order.known)
        self.unrelated = self._tally.cannot_be_a_stream(self._shift.share or 1.0)
        self.related = not self.unrelated and self._tally.batches >= BATCHES and self._tally.share > STREAM

    @property
    def alike(self) -> bool:
        """Whether neighbours are more alike than they would be if batches came in any other order."""
        contents = np.array(self._contents)
        if len(contents) <= LAGS or not contents.any():
            return True  # as far as anybody knows
        usual = contents.mean(axis=0)
        apart = (contents - usual) / np.sqrt(np.maximum(usual, 1e-12))
        likeness = apart @ apart.T
        generator = np.random.default_rng(0)
        orders = [np.arange(len(contents)), *(generator.permutation(len(contents)) for _ in range(ORDERS))]
        found, *others = (sum(likeness[one[:-lag], one[lag:]].mean() for lag in range(1, LAGS + 1)) for one in orders)
        return bool(found > np.mean(others) + ALIKE * np.std(others))


def _content(shown: Sequences) -> Array:
    """How often tokens of each class stand in inputs and targets, as shares; zeros for numbers that are no tokens."""
    parts = []
    for array in (shown.inputs, shown.targets):
        if array is None or array.dtype.kind == "f":
            parts.append(np.zeros(CLASSES))
        else:
            parts.append(np.bincount(array.ravel() % CLASSES, minlength=CLASSES) / max(array.size, 1))
    return np.concatenate(parts)
