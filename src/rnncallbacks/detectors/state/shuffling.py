"""Whether batches are shuffled, or neighbors belong together: pieces of a stream, sorted data, overlapping windows."""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.contiguity import ContiguityCounts
from rnncallbacks.detectors.state.continuation import compare_row_ends
from rnncallbacks.detectors.state.row_ends import RowEnds, row_ends
from rnncallbacks.detectors.state.target_shift import TargetShift


@attrs.frozen(kw_only=True)
class ShufflingThresholds:
    """Thresholds of neighboring batches that belong together. All numbers were chosen by eye."""

    contiguous_share: float = 0.5
    """Share of rows that continue the row before, above which batches are contiguous."""

    contiguous_batches: int = 5
    """Fewest batches with such rows."""

    token_classes: int = 64
    """Classes of token numbers, by their remainder, for the comparison of token frequencies."""

    largest_lag: int = 3
    """Largest distance, in batches, at which token frequencies are compared."""

    consecutive_batches: int = 40
    """First batches that are all compared. A bound on the cost, as the others of this class are."""

    period: int = 32
    """Later, the first ``batches_of_period`` batches of each period of this number are compared."""

    batches_of_period: int = 8
    """Batches of a period that are compared: enough for each lag."""

    permutations: int = 200
    """Random orders of the batches that the true order is compared with."""

    standard_deviations: float = 3.0
    """Standard deviations of the similarity in random orders, by which that in the true order exceeds their mean."""


SHUFFLING = ShufflingThresholds()


@attrs.define(eq=False)
class BatchOrder:
    """Compares each batch with the batches before it.

    ``shuffled`` is True once it is certain that rows do not continue those of the batch before, ``contiguous`` once
    they seem to. Both are False while too few batches are known, and remain False if the data do not show it.

    Example
    -------
    >>> tokens = np.random.default_rng(0).integers(0, 20, (6, 9, 8))
    >>> order = BatchOrder()
    >>> for chunk in tokens:
    ...     order.add(Sequences(chunk[:-1], chunk[1:], time_axis=0, vocab_size=20), None)
    >>> order.shuffled, order.contiguous
    (True, False)
    """

    shuffled: bool = state_field(False)
    contiguous: bool = state_field(False)
    _shift: TargetShift = state_field(factory=TargetShift)
    _counts: ContiguityCounts = state_field(factory=ContiguityCounts)
    _before: RowEnds | None = state_field(None)
    _batches: int = state_field(0)
    _numbers: list[int] = state_field(factory=list)  # of the batches with frequencies
    _frequencies: list[Array] = state_field(factory=list)

    @property
    def wants_next(self) -> bool:
        """Whether the next batch is compared with others: if not, :meth:`skip` may replace :meth:`add`."""
        limits, number = SHUFFLING, self._batches
        certain = self.shuffled or self.contiguous
        return not certain or number < limits.consecutive_batches or number % limits.period < limits.batches_of_period

    def skip(self) -> None:
        """Count a batch that is not compared."""
        self._batches += 1

    def add(self, sequences: Sequences, mask: Array | None) -> None:
        """Add a batch; ``mask`` has the layout of its inputs."""
        self._batches += 1
        if sequences.inputs is not None:
            self._numbers.append(self._batches)
            self._frequencies.append(_token_frequencies(sequences, SHUFFLING.token_classes))
        if self.shuffled or self.contiguous:
            return
        before, self._before = self._before, row_ends(sequences, mask)
        if self._before is None:
            return
        self._shift.learn(sequences, mask)
        if before is None:
            return
        found = compare_row_ends(before, self._before, self._shift.steps)
        counts = self._counts
        counts.add(found, found.known)
        self.shuffled = counts.cannot_be_contiguous(self._shift.agreement or 1.0)
        enough = counts.batches >= SHUFFLING.contiguous_batches
        self.contiguous = not self.shuffled and enough and counts.share > SHUFFLING.contiguous_share

    @property
    def neighbors_similar(self) -> bool:
        r"""Whether the token frequencies of neighboring batches are more similar than in random orders.

        Sorted and overlapping data are. The similarity of two batches with frequencies p and q is
        :math:`\sum_v (p_v - m_v)(q_v - m_v) / m_v`, where m are the mean frequencies. A permutation test over all
        batches so far; True if there are too few of them, or no tokens.
        """
        frequencies, numbers = np.array(self._frequencies), np.array(self._numbers)
        if len(frequencies) <= SHUFFLING.largest_lag or not frequencies.any():
            return True
        pairs = [np.nonzero(numbers[None, :] - numbers[:, None] == lag) for lag in range(1, SHUFFLING.largest_lag + 1)]
        mean = frequencies.mean(axis=0)
        scaled = (frequencies - mean) / np.sqrt(np.maximum(mean, 1e-12))
        similarity = scaled @ scaled.T
        generator = np.random.default_rng(0)
        count = len(frequencies)
        orders = [np.arange(count), *(generator.permutation(count) for _ in range(SHUFFLING.permutations))]
        found, *others = (
            sum(similarity[order[earlier], order[later]].mean() for earlier, later in pairs) for order in orders
        )
        return bool(found > np.mean(others) + SHUFFLING.standard_deviations * np.std(others))


def _token_frequencies(sequences: Sequences, classes: int) -> Array:
    """The share of each class of tokens in inputs and targets, of shape (2 * classes,); zeros for floats."""
    parts = []
    for array in (sequences.inputs, sequences.targets):
        if array is None or array.dtype.kind == "f":
            parts.append(np.zeros(classes))
        else:
            parts.append(np.bincount(array.ravel() % classes, minlength=classes) / max(array.size, 1))
    return np.concatenate(parts)
