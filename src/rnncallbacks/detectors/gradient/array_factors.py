"""Factors of the updates of single arrays: an array that is updated with a multiple of its gradient in every batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, parameters_of
from rnncallbacks.core.plugin_state import state_field


@attrs.frozen(kw_only=True)
class ArrayFactorThresholds:
    """Thresholds of a factor that is the same in every update. Chosen by eye: the distances to 1 are for rounding."""

    smallest_cosine: float = 0.999
    """Cosine between an array's update and its gradient, below which the update is no multiple of it."""
    tolerance: float = 0.01
    """Relative difference of two factors up to which they are equal."""


ARRAY_FACTORS = ArrayFactorThresholds()


@attrs.define(eq=False)
class ArrayFactors:
    r"""Follows the factor :math:`f_a = \lVert \Delta\theta_a \rVert / \lVert g_a \rVert` of each array *a*.

    Under gradient descent, all arrays have one factor, the learning rate, and clipping by the norm scales all of them
    alike. A factor of its own that is the same in every update is either a learning rate of its own, or a gradient that
    was scaled after ``run.backward``, as by ``dWhh *= 0.5``.

    Example
    -------
    >>> factors, gradients = ArrayFactors(), {"Whh": np.array([4.0]), "Wxh": np.array([3.0]), "Why": np.array([5.0])}
    >>> for rate in (0.1, 0.05):
    ...     before = {name: np.ones(1) for name in gradients}
    ...     after = {name: 1.0 - (0.5 if name == "Whh" else 1.0) * rate * gradients[name] for name in gradients}
    ...     factors.add(before, after, gradients)
    >>> {name: round(factor, 3) for name, factor in factors.uneven.items()}, factors.updates
    ({'Whh': 0.5}, 2)
    """

    updates: int = state_field(0)
    _relative: Mapping[str, float] = state_field(factory=dict)
    _differ: bool = state_field(False)  # the factors of two updates are not in the same proportion

    @property
    def uneven(self) -> dict[str, float]:
        """The factors other than 1, relative to the median, that were the same in all of at least two updates."""
        return self._unequal if self.updates > 1 else {}

    @property
    def needs_another(self) -> bool:
        """Whether the first update has factors other than 1, which the next update has to confirm."""
        return self.updates == 1 and bool(self._unequal)

    @property
    def _unequal(self) -> dict[str, float]:
        if self._differ:
            return {}
        return {name: factor for name, factor in self._relative.items() if not _equal(factor, 1.0)}

    def add(self, before: Mapping[str, Array], after: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Add an update."""
        if self._differ:
            return
        factors = _factors(before, after, gradients)
        middle = float(np.median([*factors.values()])) if factors else 0.0
        if not middle > 0.0:
            self._differ = True
            return
        relative = {name: factor / middle for name, factor in factors.items()}
        if self.updates:
            same = relative.keys() == self._relative.keys()
            self._differ = not same or not all(_equal(relative[name], self._relative[name]) for name in relative)
        self._relative = relative
        self.updates += 1

    def doubts(self) -> dict[str, str]:
        """By code, the reason why a gradient that matches the loss does not prove the update right."""
        uneven = ", ".join(f"{name!r} with {factor:.2g} times" for name, factor in sorted(self.uneven.items()))
        if not uneven:
            return {}
        reason = (
            f"the gradients given to run.backward were compared, but {self.updates} of {self.updates} measured updates "
            f"changed {uneven} the rate of the median array; if this is no learning rate of its own, look for a "
            "gradient that is scaled after run.backward"
        )
        return dict.fromkeys(("RNN404", "RNN405"), reason)


def _factors(
    before: Mapping[str, Array], after: Mapping[str, Array], gradients: Mapping[str, Array]
) -> dict[str, float]:
    """The factor of each array that changed; empty if one of the updates is no multiple of its gradient."""
    found = {}
    starts, ends = parameters_of(gradients, before), parameters_of(gradients, after)
    with np.errstate(all="ignore"):  # parameters of a run that diverged may overflow
        tied = _tied(ends)
        for name in (starts.keys() & ends.keys()) - tied:
            gradient = gradients[name].astype(np.float64).ravel()
            decrease = np.subtract(starts[name], ends[name], dtype=np.float64).ravel()
            length, size = math.sqrt(float(gradient @ gradient)), math.sqrt(float(decrease @ decrease))
            if not length or not size:
                continue
            if not float(gradient @ decrease) >= ARRAY_FACTORS.smallest_cosine * length * size:
                return {}
            found[name] = size / length
    return found


def _tied(params: Mapping[str, Array]) -> set[str]:
    """The arrays that may share memory with another one: the gradients of both update them."""
    pairs = combinations(params.items(), 2)
    return {name for (one, first), (two, second) in pairs if np.may_share_memory(first, second) for name in (one, two)}


def _equal(first: float, second: float) -> bool:
    return abs(first - second) <= ARRAY_FACTORS.tolerance * second
