"""Whether a series of losses falls or rises, and by how much beside its own noise. Pure functions, without SciPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Series = Sequence[float] | npt.NDArray[np.floating]

MAD_TO_SIGMA = 1.4826
"""Of normal numbers, the standard deviation is this times the median absolute deviation."""


def theil_sen(values: Series) -> float:
    r"""The slope per position: the median of the slopes between all pairs.

    .. math:: \operatorname{median}_{i < j} \frac{x_j - x_i}{j - i}

    Up to 29% of the values may be anything. 0 for fewer than two values. Takes the square of their number in memory.

    Source: Sen, "Estimates of the regression coefficient based on Kendall's tau", Journal of the American Statistical
    Association 63 (1968).

    Example
    -------
    >>> theil_sen([5.0, 4.0, 300.0, 2.0, 1.0])
    -1.0
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return 0.0
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((x[second] - x[first]) / (second - first)))


def mann_kendall(values: Series) -> float:
    r"""How surely the values rise (above 0) or fall (below 0), as a standard normal number.

    .. math:: S = \sum_{i < j} \operatorname{sgn}(x_j - x_i), \qquad
              \operatorname{Var} S = \frac{n (n - 1)(2 n + 5) - \sum_t t (t - 1)(2 t + 5)}{18}

    with t the sizes of the groups of equal values, and 1 taken off the size of S. It says nothing of *how much* the
    values change: a hopeless run that falls by a millionth an epoch has a perfect trend. 0 where all are equal.

    Source: Mann, "Nonparametric tests against trend", Econometrica 13 (1945); Kendall, "Rank correlation methods"
    (1975).

    Example
    -------
    >>> round(mann_kendall([1.0, 2.0, 3.0, 4.0]), 3)
    1.698
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < 2:
        return 0.0
    first, second = np.triu_indices(n, 1)
    score = float(np.sign(x[second] - x[first]).sum())
    ties = np.unique(x, return_counts=True)[1].astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if variance <= 0.0 or score == 0.0:
        return 0.0
    return (score - math.copysign(1.0, score)) / math.sqrt(variance)


def noise(values: Series) -> float:
    r"""The standard deviation of the values around whatever curve they follow, by the steps between neighbours.

    .. math:: \frac{1.4826}{\sqrt 2} \operatorname{median}_i |d_i - \operatorname{median}_j d_j|,
              \qquad d_i = x_{i+1} - x_i

    A trend does not count, nor do a few jumps. 0 for fewer than three values.

    Example
    -------
    >>> noise([3.0, 2.0, 1.0, 0.0])
    0.0
    """
    steps = np.diff(np.asarray(values, dtype=np.float64))
    if len(steps) < 2:
        return 0.0
    return MAD_TO_SIGMA / math.sqrt(2) * float(np.median(np.abs(steps - np.median(steps))))


def share_above(later: Series, earlier: Series) -> float:
    r"""Of all pairs of a later and an earlier value, the share in which the later one is higher; ties count half.

    An effect size that knows no distribution: 0.5 for no difference, 1 if every later value is higher.

    Source: Vargha and Delaney, "A critique and improvement of the CL common language effect size statistics" (2000).

    Example
    -------
    >>> share_above([2.0, 3.0], [1.0, 2.0])
    0.875
    """
    ranked = np.sort(np.asarray(earlier, dtype=np.float64))
    values = np.asarray(later, dtype=np.float64)
    below = np.searchsorted(ranked, values, side="left") + np.searchsorted(ranked, values, side="right")
    return float(below.sum()) / (2 * len(values) * len(ranked))


def rise_in_noise(values: Series, best: int, recent: int) -> tuple[float, float]:
    r"""How far the last ``recent`` values lie above those around position ``best``: the rise, and its standard errors.

    .. math:: r = \operatorname{median}(\text{recent}) - \operatorname{median}(x_{best-1}, x_{best}, x_{best+1}),
              \qquad z = r \Big/ \sigma \sqrt{\frac{\pi}{2} \left(\frac{1}{n} + \frac{1}{3}\right)}

    with :math:`\sigma` the :func:`noise`. The neighbours of the best value stand in for it, as the best of many is
    lucky. Infinite where there is no noise.

    Example
    -------
    >>> rise_in_noise([3.0, 2.0, 1.0, 2.0, 3.0, 4.0], best=2, recent=2)
    (1.5, inf)
    """
    x = np.asarray(values, dtype=np.float64)
    around = x[max(best - 1, 0) : best + 2]
    rise = float(np.median(x[-recent:]) - np.median(around))
    error = noise(x) * math.sqrt(math.pi / 2 * (1 / recent + 1 / len(around)))
    if error == 0.0:
        return rise, math.copysign(math.inf, rise) if rise else 0.0
    return rise, rise / error
