"""The gradients of a run's first batches, and whether each contains those before it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from statistics import median

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field


@attrs.frozen(kw_only=True)
class GradientHistoryThresholds:
    """Thresholds of successive gradients that are sums of all gradients before them.

    All were set so that none of 1152 healthy runs is reported; 54% of the runs without zeroing are.
    """

    checked_batches: tuple[int, ...] = (12, 14, 16)
    """Numbers of batches after which the norms are compared."""
    sampled_entries: int = 4_000
    """Entries that are compared, evenly spread over larger gradients."""
    unchanged_share: float = 0.02
    """Share of the nonzero entries that keep their exact value from one batch to the next."""
    unchanged_batches: int = 3
    """Successive batches in which they do."""
    moved_share: float = 0.5
    """Share of these entries whose parameter changed: the derivative of a penalty on a constant parameter is constant
    as well."""
    distinct_values: int = 10
    """Fewest different magnitudes among these entries: clipped entries are equal for another reason."""
    growth_per_batch: float = 0.2
    """Smallest growth of the norm per batch, in units of the first norm."""
    growing_share: float = 0.8
    """Smallest share of batches in which the norm grows."""
    cosine: float = 0.85
    """Smallest median cosine between successive gradients."""
    cosine_of_increments: float = -0.15
    """Smallest median cosine between successive increments."""
    size_of_increments: float = 0.5
    """Smallest median norm of the increments, in units of the first norm."""
    growth_of_increments: float = 3.0
    """Largest ratio of the median norms of the last and the first four increments: those of a run that diverges grow
    faster."""
    loss_rise: float = 1.5
    """Largest loss / first loss."""
    like_direction: float = 0.8
    """The same as ``cosine``, where increments are large and alike: sums turn where the run does.
    This and the next four numbers were set on four recurrent networks with four seeds each: the median cosine of
    successive increments was -0.46 at most without a sum, and 0.00 at least with one."""
    like_increments: float = -0.05
    """Smallest median cosine between successive increments that are gradients of one loss. Fresh gradients with
    independent noise have the cosine -1/2: each increment takes back the noise of the one before."""
    increment_of_norm: float = 0.2
    """Smallest median ratio of an increment to the norm of the gradient that it leads to, for these: fresh gradients
    that change smoothly have smaller ones."""
    growth_of_sum: float = 1.5
    """Smallest growth of the norm over that of the loss, for these."""
    growing_share_of_sum: float = 0.6
    """Smallest share of batches in which the norm grows, for these."""
    updated_share: float = 0.8
    """Smallest share of batches before which the parameters changed: a script with one update for several batches
    accumulates their gradients on purpose. Chosen by eye; with accumulation it is at most 1/2."""
    cosine_of_fresh: float = 0.3
    """Largest median cosine between successive gradients that are not sums. Sums of t independent gradients of one norm
    have the cosine sqrt((t - 1) / t), which is above 0.7. Chosen by eye."""
    zeroed_share: float = 0.02
    """Smallest share of nonzero entries that are exactly zero in the next gradient, if gradients are not sums: a sum
    keeps its entries. Chosen by eye."""
    zeroed_batches: int = 3
    """Fewest batches in which they are. Chosen by eye."""


GRADIENT_HISTORY = GradientHistoryThresholds()


@attrs.define(eq=False)
class GradientHistory:
    r"""Compares each gradient with the one before.

    If gradients are never zeroed, the script's gradient in batch t is :math:`G_t = G_{t-1} + g_t`. This shows in two
    ways. The norms grow in proportion to t, nearly in one direction, by increments :math:`g_t` that do not grow, while
    the loss does not rise. Or entries to which :math:`g_t` adds nothing, such as those of tokens that the batch does
    not contain, keep their exact value although the parameters change.

    Attributes
    ----------
    norms, losses:
        The norm of each gradient (of the sampled entries), and the loss of its batch.
    cosines, increment_norms, increment_cosines:
        From one gradient to the next: their cosine, the norm of the difference, and the cosine of successive
        differences.
    unchanged_batches, unchanged_share:
        Number of batches for which entries have kept their value, and their share in the last batch.
    zeroed_batches:
        Number of batches in which entries that were nonzero in the batch before are exactly zero.
    updated_batches:
        Number of batches before which the parameters changed, or may have changed.

    Example
    -------
    >>> history = GradientHistory()
    >>> for batch in range(1, 13):
    ...     history.add(loss=1.0, gradients=[batch * np.array([3.0, 4.0])])
    >>> history.contains_sums
    True
    """

    norms: list[float] = state_field(factory=list)
    losses: list[float] = state_field(factory=list)
    cosines: list[float] = state_field(factory=list)
    increment_norms: list[float] = state_field(factory=list)
    increment_cosines: list[float] = state_field(factory=list)
    unchanged_batches: int = state_field(0)
    unchanged_share: float = state_field(0.0)
    zeroed_batches: int = state_field(0)
    updated_batches: int = state_field(0)
    _last: Array | None = state_field(None)
    _increment: Array | None = state_field(None)
    _params: Array | None = state_field(None)

    def add(self, loss: float, gradients: Collection[Array], params: Collection[Array] = ()) -> None:
        """Add a batch. ``params`` are the arrays of the gradients, in the same order, or none if that is unknown."""
        with np.errstate(all="ignore"):  # of a run that diverges
            self._add(loss, sample_entries(gradients, GRADIENT_HISTORY.sampled_entries), params)

    def _add(self, loss: float, entries: Array, params: Collection[Array]) -> None:
        norm = _norm(entries)
        if self._last is not None and self._last.shape == entries.shape:
            self._compare(entries, norm, params)
        elif self.norms:  # the script gives other arrays than before
            self.norms, self.losses, self.cosines, self.increment_norms, self.increment_cosines = [], [], [], [], []
            self._increment, self.updated_batches = None, 0
        self.norms.append(norm)
        self.losses.append(loss)
        self._last, self._params = entries, sample_entries(params, GRADIENT_HISTORY.sampled_entries)

    @property
    def params_are_known(self) -> bool:
        """Whether the parameters of the last batch were given."""
        return self._params is not None and self._params.size > 0

    @property
    def is_updated(self) -> bool:
        """Whether the parameters changed, or may have changed, before nearly all batches."""
        return self.updated_batches >= GRADIENT_HISTORY.updated_share * (len(self.norms) - 1)

    @property
    def contains_sums(self) -> bool:
        """Whether each gradient is probably the sum of those before it."""
        limits = GRADIENT_HISTORY
        if self.unchanged_batches >= limits.unchanged_batches:
            return True
        return len(self.norms) in limits.checked_batches and self._norms_grow()

    @property
    def proof_of_fresh_gradients(self) -> str:
        """The evidence that gradients are not sums of earlier ones; empty if there is none."""
        limits = GRADIENT_HISTORY
        if self.zeroed_batches >= limits.zeroed_batches:
            return f"entries of {self.zeroed_batches} of {len(self.cosines)} gradients returned to exactly zero"
        cosine = _median(self.cosines)
        if cosine <= limits.cosine_of_fresh:
            return f"the median cosine of {len(self.cosines)} gradients with the one before is {cosine:.2f}"
        return ""

    def _compare(self, entries: Array, norm: float, params: Collection[Array]) -> None:
        assert self._last is not None
        limits = GRADIENT_HISTORY
        now = sample_entries(params, limits.sampled_entries)
        before = np.empty(0) if self._params is None else self._params
        known = now.size == before.size > 0
        self.updated_batches += not known or not np.array_equal(now, before)
        increment = entries - self._last
        size = _norm(increment)
        self.cosines.append(_cosine(entries, self._last, norm * self.norms[-1]))
        if self._increment is not None:
            self.increment_cosines.append(_cosine(increment, self._increment, size * self.increment_norms[-1]))
        self.increment_norms.append(size)
        self._increment = increment
        zeroed = np.count_nonzero((entries == 0.0) & (self._last != 0.0))
        self.zeroed_batches += bool(zeroed > limits.zeroed_share * np.count_nonzero(self._last))
        same = (entries == self._last) & (entries != 0.0)
        self.unchanged_share = int(np.count_nonzero(same)) / max(int(np.count_nonzero(entries)), 1)
        if self.unchanged_share < limits.unchanged_share:
            self.unchanged_batches = 0
            return
        known = known and now.size == entries.size
        moved = known and np.count_nonzero((now != before) & same) > limits.moved_share * np.count_nonzero(same)
        varied = moved and len(np.unique(np.abs(entries[same]))) >= limits.distinct_values
        self.unchanged_batches = self.unchanged_batches + 1 if varied else 0

    def _norms_grow(self) -> bool:
        """Whether the norms grow as those of a sum do."""
        limits = GRADIENT_HISTORY
        count, first = len(self.norms), self.norms[0]
        if first == 0.0 or len(self.increment_cosines) < 3:
            return False
        rise = max(self.losses) / self.losses[0] if self.losses[0] > 0.0 else np.inf
        growth, growing = self.norms[-1] / first / max(rise, 1.0), np.mean(np.diff(self.norms) > 0.0)
        increments, cosine, alike = self.increment_norms, _median(self.cosines[3:]), _median(self.increment_cosines)
        bounded = _median(increments[-4:]) <= limits.growth_of_increments * _median(increments[:4])
        if not (self.is_updated and bounded):
            return False
        if alike >= limits.like_increments and cosine >= limits.like_direction:
            share = _median([size / norm for size, norm in zip(increments, self.norms[1:], strict=True) if norm])
            if share >= limits.increment_of_norm and growing >= limits.growing_share_of_sum:
                return growth >= limits.growth_of_sum
        return bool(
            growth >= 1.0 + limits.growth_per_batch * (count - 1)
            and growing >= limits.growing_share
            and cosine >= limits.cosine
            and alike >= limits.cosine_of_increments
            and _median(increments) >= limits.size_of_increments * first
            and rise <= limits.loss_rise
        )


def sample_entries(arrays: Collection[Array], count: int = GRADIENT_HISTORY.sampled_entries) -> Array:
    """The entries of all arrays in one vector of float64, or about ``count`` of them, evenly spread.

    Example
    -------
    >>> sample_entries([np.array([1.0, 2.0]), np.array([[3.0]])])
    array([1., 2., 3.])
    """
    # An odd stride does not stay in one column of matrices with an even number of columns.
    stride = -(-sum(array.size for array in arrays) // count) | 1
    parts: Sequence[Array] = [array.reshape(-1)[::stride] for array in arrays]
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)


def _median(values: list[float]) -> float:
    """The median; NaN if a value is, or if there is none. NumPy's takes 10 ms at its first call in a process."""
    return median(values) if values and not any(map(math.isnan, values)) else math.nan


def _norm(entries: Array) -> float:
    return math.sqrt(float(entries @ entries))


def _cosine(one: Array, other: Array, product_of_norms: float) -> float:
    return float(one @ other) / product_of_norms if product_of_norms else 0.0
