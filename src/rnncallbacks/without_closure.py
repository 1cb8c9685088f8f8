"""What losses, gradients and parameters alone tell of a backward pass: little, but enough where it is plainly wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.arrays import FlatArrays, lie_alike, named_arrays
from rnncallbacks.evidence import mask_of, sequences_of
from rnncallbacks.gradient_words import Found, words_of_promise, words_of_zeros
from rnncallbacks.loss_scale import counts_of
from rnncallbacks.neighbours import Neighbours
from rnncallbacks.pairing import parameters_of
from rnncallbacks.promises import Promises
from rnncallbacks.promises import Verdict as Fall
from rnncallbacks.updates import FOLLOWS

if TYPE_CHECKING:
    from rnncallbacks.gradients import Gradients
    from rnncallbacks.records import Batch

UNRELATED = 20
"""Batches within which it has to show that they are no pieces of a stream: else the next one's gradient praises what an
update learned of the passage at hand, and nothing of that lasts."""

ROUGHLY = 0.3
"""How near, in logarithms, a factor that follows from losses must lie to a count."""

ZEROS = 10
"""Batches in all of which a gradient is zero that is never anything else."""


@attrs.define(eq=False)
class WithoutClosure:
    """Follows the training batches of a run that come without a closure, until something is found or all is known.

    Call ``look`` with each of them, with raw gradients, before its update; it returns what was found. It looks for
    matrices of which no batch has a gradient, and, on batches that have nothing to do with one another, for a loss that
    does not fall as the gradients promise.
    """

    over: bool = attrs.field(default=False, init=False)
    _seen: int = attrs.field(default=0, init=False)
    _zeros: set[str] = attrs.field(factory=set, init=False)
    _neighbours: Neighbours = attrs.field(factory=Neighbours, init=False)
    _promises: Promises = attrs.field(factory=Promises, init=False)

    def look(self, batch: Batch, loss: float, grads: Gradients, params: object, follows: float) -> Found | None:
        """Take in a batch. ``follows`` is the cosine between the first update and its gradient, NaN if not known."""
        self._seen += 1
        found = self._look_for_zeros(grads) if self._seen <= ZEROS else None
        if found is None and not self._promises.over:
            found = self._follow(batch, loss, grads, params, follows)
        self.over = found is not None or (self._promises.over and self._seen >= ZEROS)
        return found

    def _look_for_zeros(self, grads: Gradients) -> Found | None:
        zeros = {name for name, gradient in grads.items() if not gradient.any()}
        self._zeros = zeros if self._seen == 1 else self._zeros & zeros
        # Where nothing reaches most of the network, units are dead, and the backward pass may be right.
        if self._seen < ZEROS or 2 * len(self._zeros) > len(grads):
            return None
        names = [name for name, gradient in grads.items() if name in self._zeros and gradient.ndim > 1]
        return ("RNN404", *words_of_zeros(names, ZEROS), "warning") if names else None

    def _follow(self, batch: Batch, loss: float, grads: Gradients, params: object, follows: float) -> Found | None:
        if not self._neighbours.unrelated:
            shown = sequences_of(batch)
            self._neighbours.add(shown, mask_of(batch, shown))
            unclear = self._seen >= UNRELATED and not self._neighbours.unrelated
            if params is None or self._neighbours.related or unclear:
                self._promises = Promises(over=True)  # without its copies
                return None
        if grads.flat is not None and isinstance(params, FlatArrays) and lie_alike(params, grads.flat):
            fall = self._promises.add(loss, grads.flat, params)
        else:
            fall = self._promises.add(loss, grads, parameters_of(grads, named_arrays(params)))
        return None if fall is None else _judge(batch, fall, follows)


def _judge(batch: Batch, fall: Fall, follows: float) -> Found:
    counts = counts_of(batch)
    off = {name: abs(math.log(max(fall.kept, 1e-9) * count)) for name, count in counts.items()}
    name = min(off, key=lambda one: off[one], default=None)
    if fall.alike and name is not None and off[name] < ROUGHLY:
        return "RNN405", *words_of_promise(fall, name, counts[name]), "info" if follows < FOLLOWS else None
    return "RNN404", *words_of_promise(fall), "warning"
