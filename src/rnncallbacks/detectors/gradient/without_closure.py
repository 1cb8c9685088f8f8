"""What losses, gradients and parameters alone tell of a backward pass: little, but enough where it is plainly wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.arrays import Array, FlatArrays, lie_alike, named_arrays, parameters_of
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.accumulation import sample
from rnncallbacks.detectors.gradient.gradient_words import Found, words_of_promise, words_of_zeros
from rnncallbacks.detectors.gradient.predicted_decrease import Promises
from rnncallbacks.detectors.gradient.predicted_decrease import Verdict as Fall
from rnncallbacks.detectors.loss.summation_counts import summation_counts
from rnncallbacks.detectors.sequences import mask_of, sequences_of
from rnncallbacks.detectors.state.shuffling import BatchOrder
from rnncallbacks.detectors.update.metrics import is_proportional

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.gradients import Gradients

UNRELATED = 20
"""Batches within which it has to show that they are no pieces of a stream: else the next one's gradient praises what an
update learned of the passage at hand, and nothing of that lasts."""

ROUGHLY = 0.3
"""How near, in logarithms, a factor that follows from losses must lie to a count."""

ZEROS, PATIENCE = 10, 100
"""Updates before all of which a gradient is zero that is never anything else, and the batches that are waited for."""


@attrs.define(eq=False)
class WithoutClosure:
    """Follows the training batches of a run that come without a closure, until something is found or all is known.

    Call ``look`` with each of them, with raw gradients, before its update; it returns what was found. It looks for
    matrices of which no batch has a gradient, and, on batches that have nothing to do with one another, for a loss that
    does not fall as the gradients promise. ``over`` says that there is nothing more to look for.
    """

    _seen: int = state_field(0)
    _updates: int = state_field(0)
    _zeros: set[str] | None = state_field(None)
    _entries: Array | None = state_field(None)
    _norms: set[str] = state_field(factory=set)
    _order: BatchOrder = state_field(factory=BatchOrder)
    _promises: Promises = state_field(factory=Promises)

    @property
    def over(self) -> bool:
        """Whether all is known."""
        return self._promises.over and self._zeros is not None and not self._zeros

    def look(self, batch: Batch, loss: float, grads: Gradients, params: object, follows: float) -> Found | None:
        """Take in a batch. ``follows`` is the cosine between the first update and its gradient, NaN if not known."""
        self._seen += 1
        if self._zeros is None or self._zeros:
            found = self._look_for_zeros(batch, grads, params)
            if found is not None:
                return found
        return None if self._promises.over else self._follow(batch, loss, grads, params, follows)

    def _look_for_zeros(self, batch: Batch, grads: Gradients, params: object) -> Found | None:
        known = self._zeros
        # A column is a bias, or a state that sequences begin with.
        self._zeros = {
            name
            for name, gradient in grads.items()
            if (known is None or name in known) and gradient.ndim > 1 and min(gradient.shape) > 1 and not gradient.any()
        }
        if not self._zeros:
            return None
        entries, before = sample(named_arrays(params).values()), self._entries
        self._entries = entries
        # Output weights may begin at zero, and nothing passes them before the first update; nor does anything come from
        # the step before in sequences of one.
        moved = before is not None and before.shape == entries.shape and not np.array_equal(before, entries)
        self._updates += moved and not _single_steps(batch)
        if self._updates < ZEROS and self._seen < PATIENCE:
            return None
        # Where nothing reaches most of the network, units are dead, and the backward pass may be right.
        dead = 2 * sum(not gradient.any() for gradient in grads.values()) >= len(grads)
        names, self._zeros = [name for name in grads if name in self._zeros], set()
        return None if dead or self._updates < ZEROS else ("RNN404", *words_of_zeros(names, self._seen), "warning")

    def _follow(self, batch: Batch, loss: float, grads: Gradients, params: object, follows: float) -> Found | None:
        shown = sequences_of(batch)
        self._order.add(shown, mask_of(batch, shown))
        if self._seen <= UNRELATED:
            self._norms.add(f"{grads.norm:.5g}")
        unclear = self._seen >= UNRELATED and not self._order.shuffled
        # A gradient whose length is always the same was brought to that, and promises as much as that says.
        scaled = self._seen == UNRELATED and len(self._norms) == 1
        if params is None or self._order.contiguous or unclear or scaled:
            self._promises = Promises(over=True)  # without its copies
            return None
        if grads.flat is not None and isinstance(params, FlatArrays) and lie_alike(params, grads.flat):
            fall = self._promises.add(loss, grads.flat, params)
        else:
            fall = self._promises.add(loss, grads, _once(grads, parameters_of(grads, named_arrays(params))))
        return None if fall is None or self._order.neighbors_similar else _judge(batch, fall, follows)


def _single_steps(batch: Batch) -> bool:
    """Whether the sequences of a batch may have one step only."""
    shown = sequences_of(batch)
    if shown.seq_len is not None or shown.inputs is None:
        return shown.seq_len == 1
    return 1 in shown.inputs.shape[:2]


def _once(grads: Gradients, params: dict[str, Array]) -> dict[str, Array]:
    """Without tied arrays' second names, whose gradients are one and the same."""
    names = {id(grads[name]): name for name in params}
    single = {names.get(id(array)) for array in grads.arrays}
    return {name: array for name, array in params.items() if name in single}


def _judge(batch: Batch, fall: Fall, follows: float) -> Found:
    counts = summation_counts(batch)
    off = {name: abs(math.log(max(fall.kept, 1e-9) * count)) for name, count in counts.items()}
    name = min(off, key=lambda one: off[one], default=None)
    if fall.alike and name is not None and off[name] < ROUGHLY:
        return (
            "RNN405",
            *words_of_promise(fall, name, counts[name]),
            "info" if is_proportional(follows) is False else None,
        )
    return "RNN404", *words_of_promise(fall), "warning"
