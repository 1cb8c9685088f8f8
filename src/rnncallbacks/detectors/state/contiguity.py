"""Statistical tests of contiguity: whether batches can be contiguous, and whether their agreement can be chance.

In a small vocabulary, rows agree by chance, so both tests use all rows of several batches.
"""

from __future__ import annotations

import math
from collections import Counter

import attrs

from rnncallbacks.arrays.containers import Array, BoolArray
from rnncallbacks.core.plugin_state import reset_state, state_field
from rnncallbacks.detectors.state.continuation import Continuation


@attrs.frozen(kw_only=True)
class ContiguityThresholds:
    """Levels of the two tests of contiguity. All were chosen by eye."""

    smallest_stream_share: float = 0.75
    """Smallest share of rows that continue in contiguous batches, relative to the share of targets that agree with the
    shift within batches: new documents may begin between two batches."""

    log_probability_not_contiguous: float = math.log(1e-4)
    """Natural logarithm of the probability, under contiguous batches, below which batches are not contiguous."""

    log_probability_not_chance: float = math.log(1e-9)
    """Natural logarithm of the probability, under shuffled rows, below which agreement is not chance."""

    chance_margin: float = 3.0
    """Standard errors that are added to the estimate of the chance agreement: it comes from the same rows."""


CONTIGUITY = ContiguityThresholds()


@attrs.define(eq=False)
class ContiguityCounts:
    """Counts the rows of several batches that continue the row before.

    ``rows`` are those for which it is known, ``continuing`` those that continue, and ``batches`` the number of batches
    with such rows. In ``broken_batches`` of them less than half of the rows continue.

    Example
    -------
    >>> import numpy as np
    >>> counts = ContiguityCounts()
    >>> for _ in range(3):
    ...     none, every = np.zeros(4, dtype=bool), np.ones(4, dtype=bool)
    ...     counts.add(Continuation(continues=none, known=every), rows=every)
    >>> counts.continuing, counts.rows, counts.cannot_be_contiguous()
    (0, 12, True)
    """

    rows: int = state_field(0)
    continuing: int = state_field(0)
    batches: int = state_field(0)
    broken_batches: int = state_field(0)
    _ends: Counter[object] = state_field(factory=Counter)
    _begins: Counter[object] = state_field(factory=Counter)

    def add(self, found: Continuation, rows: BoolArray) -> None:
        """Count a batch: of the given rows, those for which continuation is known."""
        counted = found.known & rows[: len(found.known)]
        count, continuing = int(counted.sum()), int((counted & found.continues).sum())
        if not count:
            return
        self.rows += count
        self.continuing += continuing
        self.batches += 1
        self.broken_batches += 2 * continuing < count
        if found.ends is not None and found.begins is not None:
            self._ends.update(_hashable(found.ends[counted]))
            self._begins.update(_hashable(found.begins[counted]))

    def clear(self) -> None:
        """Forget all batches."""
        reset_state(self)

    @property
    def share(self) -> float:
        """The share of rows that continue, between 0 and 1; NaN without rows."""
        return self.continuing / self.rows if self.rows else math.nan

    def cannot_be_contiguous(self, agreement: float = 1.0) -> bool:
        r"""Whether too few rows continue for contiguous batches.

        With n rows of which a share s continues, and q the share expected of contiguous batches, Chernoff's bound on
        the probability of s or less is :math:`\exp(-n\,\mathrm{KL}(s \,\|\, q))`.

        Parameters
        ----------
        agreement:
            The share of targets that agree with the shift within batches, between 0 and 1: noisy labels lower it, and
            the share of rows that continue with it.
        """
        expected = CONTIGUITY.smallest_stream_share * agreement
        bound = _log_probability_of_at_most(self.continuing, self.rows, expected) if self.rows else 0.0
        return bound < CONTIGUITY.log_probability_not_contiguous

    def are_contiguous(self, agreement: float = 1.0) -> bool:
        """Whether as many rows continue as in contiguous batches, and more than chance explains.

        ``agreement`` is that of :meth:`cannot_be_contiguous`.
        """
        if not self.rows or self.share < CONTIGUITY.smallest_stream_share * agreement:
            return False
        if not self._ends:  # noise does not jump either, so values without jumps do not prove a stream
            return False
        failing, by_chance = self.rows - self.continuing, 1.0 - self._chance_agreement()
        bound = _log_probability_of_at_most(failing, self.rows, by_chance)
        return bound < CONTIGUITY.log_probability_not_contiguous

    def cannot_be_chance(self) -> bool:
        """Whether all rows continue, and would not in random order.

        Where every row begins and ends with the same token, rows agree in any order, which proves nothing.
        """
        if not self.rows or self.continuing < self.rows or not self._ends:
            return False
        total = sum(self._ends.values())
        chance = self._chance_agreement()
        chance += CONTIGUITY.chance_margin * math.sqrt(chance * (1.0 - chance) / total) + 1.0 / total
        return chance < 1.0 and self.rows * math.log(chance) < CONTIGUITY.log_probability_not_chance

    def _chance_agreement(self) -> float:
        """The probability that the end of a row equals the beginning of another one."""
        total = sum(self._ends.values())
        return sum(count * self._begins[value] for value, count in self._ends.items()) / total**2


def _log_probability_of_at_most(successes: int, trials: int, probability: float) -> float:
    """Chernoff's bound on the log-probability of at most ``successes`` successes in independent trials."""
    share = successes / trials
    if share >= probability:
        return 0.0
    if probability >= 1.0:
        return -math.inf
    divergence = (1.0 - share) * math.log((1.0 - share) / (1.0 - probability))
    if share:
        divergence += share * math.log(share / probability)
    return -trials * divergence


def _hashable(values: Array) -> list[object]:
    return values.tolist() if values.ndim == 1 else [value.tobytes() for value in values]
