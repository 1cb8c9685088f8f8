"""Noise that a script adds to its gradients on purpose, told from a wrong backward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array


@attrs.frozen(kw_only=True)
class AddedNoiseThresholds:
    """When the difference of two gradients is noise."""

    fewest_arrays: int = 3
    """Arrays that must show the same deviation: mistakes leave some arrays right. Chosen by eye."""
    fewest_entries: int = 100
    """Entries of all arrays together. Chosen by eye."""
    standard_errors: float = 5.0
    """Standard errors by which a statistic of normal noise may differ from its expectation, as in a test at 6e-7."""


ADDED_NOISE = AddedNoiseThresholds()


def added_noise(computed: Mapping[str, Array], gradients: Mapping[str, Array]) -> float:
    r"""The standard deviation of the noise in gradients; 0 if they differ in another way, or do not differ.

    With :math:`d = g - g_{computed}`, noise has the same :math:`\sigma^2 = \operatorname{mean}(d^2)` in each array, a
    mean of 0, and no correlation with :math:`g_{computed}`. A mistake in a backward pass leaves some arrays right, or
    is as large as the gradient of each array.

    Source: Neelakantan et al., "Adding gradient noise improves learning for very deep networks" (2015), for scripts
    that add noise.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> right = {name: rng.normal(size=(9, 9)) for name in "abc"}
    >>> round(added_noise(right, {name: array + rng.normal(0.0, 0.5, (9, 9)) for name, array in right.items()}), 1)
    0.5
    >>> added_noise(right, {name: 1.5 * array for name, array in right.items()})
    0.0
    """
    limits = ADDED_NOISE
    differences = {name: (gradients[name] - array).astype(np.float64).ravel() for name, array in computed.items()}
    entries = sum(difference.size for difference in differences.values())
    squares = sum(float(difference @ difference) for difference in differences.values())
    if len(differences) < limits.fewest_arrays or entries < limits.fewest_entries or not 0.0 < squares < math.inf:
        return 0.0
    deviation = math.sqrt(squares / entries)
    for name, difference in differences.items():
        right, count = computed[name].astype(np.float64).ravel(), difference.size
        errors = (
            (float(difference @ difference) / deviation**2 - count) / math.sqrt(2 * count),
            float(difference.sum()) / deviation / math.sqrt(count),
            float(difference @ right) / deviation / max(float(np.linalg.norm(right)), 1e-300),
        )
        if not all(abs(error) <= limits.standard_errors for error in errors):
            return 0.0
    return deviation
