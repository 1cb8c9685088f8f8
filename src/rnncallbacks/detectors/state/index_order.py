"""Whether a loader that yields indices gives the same data in each pass, in an order that does not depend on them."""

from __future__ import annotations

import math
from statistics import fmean

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field


@attrs.frozen(kw_only=True)
class IndexOrderThresholds:
    """Sizes of the comparison. All numbers were chosen by eye."""

    compared: int = 200
    """Indices whose places in the first two passes are compared, or fewer at the end of the second pass."""
    fewest: int = 30
    """Fewest such indices."""
    most: int = 50_000
    """Indices of the first pass, above which nothing is known: a bound on the memory."""
    known_share: float = 0.9
    """Smallest share of the indices of the second pass that the first one had: a curriculum adds others."""
    standard_deviations: float = 3.0
    """Largest correlation of the places, in units of that by chance."""
    boundary_losses: int = 10
    """Last losses of a pass that are compared with as many first ones of the next."""
    rise: float = 2.0
    """Smallest rise between them, in standard errors over all passes, that harder data show."""


INDEX_ORDER = IndexOrderThresholds()


@attrs.define(eq=False)
class IndexOrder:
    """Compares the places of indices in the first pass with those in the second.

    Data that are sorted by difficulty have the same order in each pass. ``independent`` is True once the places are
    known not to be related, False if they are, or if that cannot be known; None before.

    A curriculum may change what is behind the indices from pass to pass: the loss then rises where one begins.

    Example
    -------
    >>> order, generator = IndexOrder(), np.random.default_rng(0)
    >>> for _ in range(3):
    ...     order.begin_pass()
    ...     for index in generator.permutation(100):
    ...         order.add(np.array([index]))
    >>> order.independent
    True
    """

    independent: bool | None = state_field(None)
    _passes: int = state_field(0)
    _batches: int = state_field(0)
    _second: int = state_field(0, saved=False)  # indices of the second pass
    _first: dict[int, int] = state_field(factory=dict, saved=False)
    _pairs: list[tuple[int, int]] = state_field(factory=list, saved=False)
    _losses: list[float] = state_field(factory=list, saved=False)  # of this pass, the last ones
    _before: list[float] = state_field(factory=list, saved=False)  # the last ones of the pass before
    _rises: list[float] = state_field(factory=list)  # from one pass to the next, in standard errors

    def begin_pass(self) -> None:
        """Begin a pass over the loader."""
        if self._passes == 2 and self.independent is None:
            self._decide()
        self._passes += 1
        self._batches = 0
        self._before, self._losses = self._losses[-INDEX_ORDER.boundary_losses :], []

    def add(self, indices: Array) -> None:
        """Add the indices of a batch."""
        if self.independent is not None:
            return
        self._batches += 1
        if self._passes <= 1:
            self._first.update(dict.fromkeys(indices.tolist(), self._batches))
        else:
            self._second += len(indices)
            known = [self._first[index] for index in indices.tolist() if index in self._first]
            self._pairs += [(place, self._batches) for place in known]
        if len(self._pairs) >= INDEX_ORDER.compared or len(self._first) > INDEX_ORDER.most:
            self._decide()

    def add_loss(self, loss: float) -> None:
        """Add the loss of the batch whose indices were added."""
        count, losses = INDEX_ORDER.boundary_losses, self._losses
        losses.append(loss)
        if len(losses) == len(self._before) == count:
            error = math.sqrt((np.var(losses) + np.var(self._before)) / (count - 1))
            rise = fmean(losses) - fmean(self._before)
            self._rises.append(rise / error if error else 0.0)
            self._before = []
        if len(losses) > 2 * count:
            del losses[:-count]

    @property
    def becomes_harder(self) -> bool:
        """Whether the loss rises where passes begin."""
        return sum(self._rises) > INDEX_ORDER.rise * math.sqrt(len(self._rises)) > 0.0

    def _decide(self) -> None:
        places = np.array(self._pairs, dtype=np.float64)
        self._first, self._pairs, self.independent = {}, [], False
        if len(places) < max(INDEX_ORDER.fewest, INDEX_ORDER.known_share * self._second):
            return
        centered = places - places.mean(axis=0)
        sizes = float(np.prod(np.square(centered).sum(axis=0)))
        correlation = abs(float(centered[:, 0] @ centered[:, 1])) / math.sqrt(sizes) if sizes else 1.0
        self.independent = correlation * math.sqrt(len(places)) < INDEX_ORDER.standard_deviations
