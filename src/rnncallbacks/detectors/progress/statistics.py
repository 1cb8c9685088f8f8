"""Robust statistics of a series of losses: trend, noise, effect size. Pure functions, without SciPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Series = Sequence[float] | npt.NDArray[np.floating]

ROUNDING = 1e-6
"""Relative difference between two numbers that may come from the rounding of float32."""

MAD_TO_STANDARD_DEVIATION = 1.4826
"""Standard deviation / median absolute deviation (MAD) of a normal distribution."""


def theil_sen_slope(values: Series) -> float:
    r"""The Theil-Sen estimate of the slope per position: the median of the slopes between all pairs of values.

    .. math:: \operatorname{median}_{i < j} \frac{x_j - x_i}{j - i}

    Its breakdown point is 29%: that share of the values may be outliers. 0 for fewer than two values. Takes memory
    quadratic in the number of values.

    Source: Sen, "Estimates of the regression coefficient based on Kendall's tau", Journal of the American Statistical
    Association 63 (1968).

    Example
    -------
    >>> theil_sen_slope([5.0, 4.0, 300.0, 2.0, 1.0])
    -1.0
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return 0.0
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((x[second] - x[first]) / (second - first)))


def mann_kendall_z(values: Series) -> float:
    r"""The standardized statistic of the Mann-Kendall trend test: positive for a rising series.

    .. math:: Z = \frac{S - \operatorname{sgn} S}{\sqrt{\operatorname{Var} S}}, \qquad
              S = \sum_{i < j} \operatorname{sgn}(x_j - x_i), \qquad
              \operatorname{Var} S = \frac{n (n - 1)(2 n + 5) - \sum_t t (t - 1)(2 t + 5)}{18}

    with t the sizes of the groups of tied values. About standard normal if there is no trend; 0 if all values are tied.
    It measures significance, not size: a loss that falls by a millionth in each epoch has a perfect trend.

    Source: Mann, "Nonparametric tests against trend", Econometrica 13 (1945); Kendall, "Rank correlation methods"
    (1975).

    Example
    -------
    >>> round(mann_kendall_z([1.0, 2.0, 3.0, 4.0]), 3)
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


def noise_deviation(values: Series) -> float:
    r"""The standard deviation of the noise around a trend, estimated by the MAD of the first differences.

    .. math:: \hat\sigma = \frac{1.4826}{\sqrt 2} \operatorname{median}_i |d_i - \operatorname{median}_j d_j|,
              \qquad d_i = x_{i+1} - x_i

    A smooth trend and a few jumps do not change it. 0 for fewer than three values.

    Source: Rousseeuw and Croux, "Alternatives to the median absolute deviation", Journal of the American Statistical
    Association 88 (1993), for the MAD as an estimate of scale.

    Example
    -------
    >>> noise_deviation([3.0, 2.0, 1.0, 0.0])
    0.0
    """
    differences = np.diff(np.asarray(values, dtype=np.float64))
    if len(differences) < 2:
        return 0.0
    mad = float(np.median(np.abs(differences - np.median(differences))))
    return MAD_TO_STANDARD_DEVIATION / math.sqrt(2) * mad


def von_neumann_ratio(values: Series) -> float:
    r"""The mean square of successive differences over the variance: 2 for independent values, near 0 for a slow trend.

    .. math:: \frac{\sum_{i=1}^{n-1} (x_{i+1} - x_i)^2 / (n - 1)}{\sum_{i=1}^{n} (x_i - \bar x)^2 / n}

    2 if the values differ by rounding errors only, or for fewer than two.

    Source: von Neumann, "Distribution of the ratio of the mean square successive difference to the variance", Annals of
    Mathematical Statistics 12 (1941).

    Example
    -------
    >>> von_neumann_ratio([1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    0.5714285714285714
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2 or np.ptp(x) <= ROUNDING * np.abs(x).max():
        return 2.0
    return float(np.mean(np.square(np.diff(x))) / x.var())


def probability_of_superiority(later: Series, earlier: Series) -> float:
    r"""Vargha and Delaney's effect size A: the share of pairs in which the later value is the higher one.

    .. math:: A = P(X_{later} > X_{earlier}) + \tfrac12 P(X_{later} = X_{earlier})

    0.5 if the two samples do not differ, 1 if every later value is higher than every earlier one. It assumes no
    distribution.

    Source: Vargha and Delaney, "A critique and improvement of the CL common language effect size statistics of McGraw
    and Wong", Journal of Educational and Behavioral Statistics 25 (2000).

    Example
    -------
    >>> probability_of_superiority([2.0, 3.0], [1.0, 2.0])
    0.875
    """
    ranked = np.sort(np.asarray(earlier, dtype=np.float64))
    values = np.asarray(later, dtype=np.float64)
    below = np.searchsorted(ranked, values, side="left") + np.searchsorted(ranked, values, side="right")
    return float(below.sum()) / (2 * len(values) * len(ranked))


def rise_in_standard_errors(values: Series, best: int, recent: int) -> tuple[float, float]:
    r"""The rise of the last ``recent`` values above those around position ``best``, and the rise in standard errors.

    .. math:: r = \operatorname{median}(x_{n - recent}, \ldots, x_{n-1})
                  - \operatorname{median}(x_{best-1}, x_{best}, x_{best+1}), \qquad
              z = \frac{r}{\hat\sigma} \Big/ \sqrt{\frac{\pi}{2} \left(\frac{1}{recent} + \frac{1}{3}\right)}

    with :math:`\hat\sigma` the :func:`noise_deviation`; :math:`\pi / 2` is the variance of a median of normal values
    relative to that of their mean. The best value is replaced by the median with its neighbors, as the minimum of a
    noisy series is biased. Infinite if the series has no noise.

    Example
    -------
    >>> rise_in_standard_errors([3.0, 2.0, 1.0, 2.0, 3.0, 4.0], best=2, recent=2)
    (1.5, inf)
    """
    x = np.asarray(values, dtype=np.float64)
    around = x[max(best - 1, 0) : best + 2]
    rise = float(np.median(x[-recent:]) - np.median(around))
    error = noise_deviation(x) * math.sqrt(math.pi / 2 * (1 / recent + 1 / len(around)))
    if error == 0.0:
        return rise, math.copysign(math.inf, rise) if rise else 0.0
    return rise, rise / error


def quantile(ranked: Sequence[float], share: float) -> float:
    """A quantile of sorted numbers, interpolated linearly; for short lists much faster than NumPy's.

    Example
    -------
    >>> quantile([1.0, 2.0, 4.0], 0.75)
    3.0
    """
    position = share * (len(ranked) - 1)
    below = int(position)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (position - below) * (ranked[above] - ranked[below])
