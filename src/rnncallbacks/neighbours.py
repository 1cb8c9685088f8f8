"""Whether batches have nothing to do with those before them, as far as their contents tell."""

from __future__ import annotations

import attrs

from rnncallbacks.arrays import Array
from rnncallbacks.contiguity import Edges, Shift, Tally, continuation, edges_of, time_first
from rnncallbacks.evidence import Sequences

STREAM = 0.5
"""The share of rows that go on above which batches are pieces of a stream."""

BATCHES = 5
"""Batches after which that is believed."""


@attrs.define(eq=False)
class Neighbours:
    """Compares each batch's rows with those of the batch before.

    ``unrelated`` is True once it is sure that they are not pieces of a stream, ``related`` once they seem to be. Both
    are False while too little is known, and stay so where the data do not tell.

    Example
    -------
    >>> tokens = np.random.default_rng(0).integers(0, 20, (6, 9, 8))
    >>> neighbours = Neighbours()
    >>> for chunk in tokens:
    ...     neighbours.add(Sequences(chunk[:-1], chunk[1:], time_axis=0, vocab_size=20), None)
    >>> neighbours.unrelated, neighbours.related
    (True, False)
    """

    unrelated: bool = attrs.field(default=False, init=False)
    related: bool = attrs.field(default=False, init=False)
    _shift: Shift = attrs.field(factory=Shift, init=False, repr=False)
    _tally: Tally = attrs.field(factory=Tally, init=False, repr=False)
    _before: Edges | None = attrs.field(default=None, init=False, repr=False)

    def add(self, shown: Sequences, mask: Array | None) -> None:
        """Take a batch in; ``mask`` is laid out as its inputs are."""
        if self.unrelated or self.related:
            return
        before, self._before = self._before, edges_of(shown, mask)
        if self._before is None:
            return
        x, y = time_first(shown)
        if y is not None and not self._shift.settled:
            self._shift.add(x, y, mask if mask is None or shown.time_axis == 0 else mask.T)
        if before is None:
            return
        order = continuation(before, self._before, self._shift.steps)
        self._tally.add(order, order.known)
        self.unrelated = self._tally.cannot_be_a_stream(self._shift.share or 1.0)
        self.related = not self.unrelated and self._tally.batches >= BATCHES and self._tally.share > STREAM
