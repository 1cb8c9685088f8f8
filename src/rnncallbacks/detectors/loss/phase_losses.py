"""Sums over the batch losses of one pass through a phase, and over the lengths of its batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from rnncallbacks.core.plugin_state import state_field

LENGTH_NAMES = ("sequences", "steps", "tokens")
"""The lengths of a batch: its sequences, the time steps of each, and its tokens."""


@attrs.frozen(kw_only=True)
class LengthSums:
    r"""Sums over the batches of one of their lengths, with batch losses :math:`\ell_b` and lengths :math:`n_b`.

    ``losses_times_length`` is :math:`\sum_b \ell_b n_b`, ``losses_over_length`` is :math:`\sum_b \ell_b / n_b`, and
    ``total`` is :math:`\sum_b n_b`. ``largest`` is the largest :math:`n_b`. ``complete`` is True if the length of
    every batch is known; otherwise the sums cover only some of the batches.
    """

    losses_times_length: float
    losses_over_length: float
    total: int
    largest: int
    complete: bool

    @property
    def known_total(self) -> int | None:
        """``total``, None unless the length of every batch is known."""
        return self.total if self.complete and self.total else None


@attrs.define(eq=False)
class PhaseLosses:
    """The batch losses of one pass through a phase, as sums.

    ``expected`` is the number of batches of the loader, None if it is unknown.

    Example
    -------
    >>> losses = PhaseLosses()
    >>> losses.add(1.5, sequences=32)
    >>> losses.add(2.5, sequences=8)
    >>> losses.mean, losses.lengths["sequences"].known_total
    (2.0, 40)
    """

    expected: int | None = None
    batches: int = state_field(0)
    total: float = state_field(0.0)
    smallest: float = state_field(math.inf)
    largest: float = state_field(-math.inf)
    _loss_missing: bool = state_field(False)
    _discarded: bool = state_field(False)
    # The sum of the losses, and their number, for each triple of lengths: an epoch's batches have few different ones.
    _by_lengths: dict[tuple[int | None, ...], tuple[float, int]] = state_field(factory=dict)

    def add(
        self, loss: float | None, *, sequences: int | None = None, steps: int | None = None, tokens: int | None = None
    ) -> None:
        """Add a batch and its lengths, as far as they are known.

        The pass is discarded if the loss is not a finite number above 0, or if batches follow one without a loss.
        """
        if loss is None:
            self._loss_missing = True
            return
        self.batches += 1
        if self._loss_missing or not 0.0 < loss < math.inf:
            self._discarded = True
            return
        self.total += loss
        if loss < self.smallest:
            self.smallest = loss
        if loss > self.largest:
            self.largest = loss
        lengths = (sequences, steps, tokens)
        losses, count = self._by_lengths.get(lengths, (0.0, 0))
        self._by_lengths[lengths] = losses + loss, count + 1

    @property
    def has_equal_batches(self) -> bool:
        """Whether all of the batches so far had the same lengths."""
        return len(self._by_lengths) == 1

    @property
    def has_equal_batches_but_one(self) -> bool:
        """Whether all batches had the same lengths except for at most one, such as a smaller last one."""
        return len(self._by_lengths) == 1 or sorted(count for _, count in self._by_lengths.values())[:-1] == [1]

    def add_equal(self, losses: Sequence[float]) -> None:
        """Add batches with the lengths of those before, all of which were equal."""
        (lengths,) = self._by_lengths
        sequences, steps, tokens = lengths
        for loss in losses:
            self.add(loss, sequences=sequences, steps=steps, tokens=tokens)

    def discard(self) -> None:
        """Mark the pass as not comparable."""
        self._discarded = True

    @property
    def lengths(self) -> dict[str, LengthSums]:
        """The sums over each length of ``LENGTH_NAMES``."""
        sums = {}
        for position, name in enumerate(LENGTH_NAMES):
            every = [(lengths[position], losses, count) for lengths, (losses, count) in self._by_lengths.items()]
            known = [(length, losses, count) for length, losses, count in every if length is not None]
            sums[name] = LengthSums(
                losses_times_length=sum(losses * length for length, losses, _ in known),
                losses_over_length=sum(losses / length for length, losses, _ in known),
                total=sum(length * count for length, _, count in known),
                largest=max((length for length, _, _ in known), default=0),
                complete=len(known) == len(every),
            )
        return sums

    @property
    def mean(self) -> float:
        """The mean of the batch losses."""
        return self.total / self.batches

    @property
    def cut_short(self) -> bool:
        """Whether the loader has more batches than were added."""
        return self.expected is not None and self.batches < self.expected

    @property
    def is_comparable(self) -> bool:
        """Whether there is a batch, and each has a finite loss above 0."""
        return self.batches > 0 and not self._discarded
