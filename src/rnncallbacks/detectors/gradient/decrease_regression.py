r"""The share of the predicted decrease of the loss that was achieved, estimated by least squares.

Update s changes the parameters of array p by :math:`\Delta\theta_{sp}`. To first order, the gradient
:math:`g_{sp}` predicts the decrease :math:`-g_{sp} \cdot \Delta\theta_{sp}` of the loss. The losses after the updates
are fitted by

.. math:: \ell_t = a - \sum_p \beta_p S_{tp} + e_t, \qquad S_{tp} = \sum_{s \le t} -g_{sp} \cdot \Delta\theta_{sp},

where :math:`\beta_p` is the ratio of the actual to the predicted decrease of array p: 1 for correct gradients of small
updates, more where the loss is convex along them.
"""

from __future__ import annotations

import math
from typing import Literal

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array


@attrs.frozen(kw_only=True)
class DecreaseRegressionThresholds:
    """Thresholds of an actual decrease clearly below the predicted one."""

    signal: float = 4.0
    """Sum of predicted decreases / root of the sum of their squares, from which it is not due to chance.
    Chosen by eye."""
    predicted_decrease: float = 0.15
    """Smallest predicted decrease, relative to the first loss, that is compared. Chosen by eye."""
    standard_errors: float = 3.5
    """Half-width of the confidence interval of a ratio, in standard errors. With 3, the correct gradients of 1 in 3,000
    simulated regressions were below."""
    ratio: float = 0.75
    """Actual over predicted decrease of all arrays together, below which the gradient is wrong. In 270 healthy runs the
    upper end of the confidence interval was 0.98 and more."""
    ratio_of_array: float = 0.2
    """The same for a single array, for which it was 0.77 and more."""
    standard_error_of_array: float = 0.3
    """Largest standard error of a single array's ratio: predicted decreases that rise together cannot be
    separated, and curvature then distorts one of them. Chosen by eye."""
    weight_decays: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    """Factors of weight decay in common use: gradients may contain it although the loss does not."""
    lags: int = 5
    """Updates within which residuals may be correlated. Chosen by eye."""
    largest_autocorrelation: float = 0.95
    """Bound of the estimated correlation between successive residuals. Chosen by eye."""
    separate_arrays: int = 6
    """Arrays with a ratio of their own, those with the largest predicted decrease; the others share one. Chosen by
    eye."""


DECREASE_REGRESSION = DecreaseRegressionThresholds()


@attrs.frozen(kw_only=True)
class DecreaseComparison:
    """The actual and the predicted decrease of the loss over a number of updates.

    Attributes
    ----------
    outcome:
        "below" or "reached" if the confidence interval excludes the other; otherwise "inconclusive".
    updates:
        The number of updates.
    predicted:
        The predicted decrease of all arrays, relative to the first loss.
    ratio:
        The actual over the predicted decrease; NaN if too little was predicted.
    array:
        The array with the smallest ratio, of those whose ratio is known well enough; empty if there is none.
    array_predicted, array_ratio:
        The same two numbers for this array.
    same_ratio:
        Whether two arrays or more are known to have the same ratio, as if the gradient were off by one factor.
    """

    outcome: Literal["below", "reached", "inconclusive"]
    updates: int
    predicted: float
    ratio: float
    array: str = ""
    array_predicted: float = math.nan
    array_ratio: float = math.nan
    same_ratio: bool = False


def compare_decreases(
    names: list[str], first_loss: float, losses: Array, predicted: Array, decay: Array
) -> DecreaseComparison:
    r"""Compare the losses after updates with the decreases that gradients predicted.

    The standard errors are the larger ones of two estimates: from residuals of equal variance with the correlation of
    an autoregressive process of first order, and from those of Newey and West, for residuals whose variance changes
    with the loss.

    Parameters
    ----------
    names:
        The names of the arrays.
    first_loss:
        The loss before the updates, above 0.
    losses:
        Shape (updates,): the loss after each update.
    predicted:
        Shape (updates, arrays): the decrease that each array's gradient predicted for each update.
    decay:
        Shape (updates, arrays): the decrease of :math:`\lVert\theta_p\rVert^2 / 2` by each update. Gradients that
        contain weight decay predict its decrease as well, so the outcome is "below" only if it remains so without
        weight decay of each usual factor.

    Example
    -------
    >>> predicted = np.full((40, 1), 0.02)
    >>> noise = 0.01 * np.random.default_rng(0).standard_normal(40)
    >>> compare_decreases(["w"], 2.0, 2.0 - np.arange(40) * 0.02 + noise, predicted, 0.0 * predicted).outcome
    'reached'
    >>> found = compare_decreases(["w"], 2.0, 2.0 - np.arange(40) * 0.006 + noise, predicted, 0.0 * predicted)
    >>> found.outcome, round(found.predicted, 2), round(found.ratio, 1)
    ('below', 0.4, 0.3)

    Source: Newey and West, "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
    covariance matrix", Econometrica 55 (1987).
    """
    found = _compare(names, first_loss, losses, predicted)
    if found.outcome != "below":
        return found
    without_decay = (
        _compare(names, first_loss, losses, predicted - factor * decay) for factor in DECREASE_REGRESSION.weight_decays
    )
    if all(one.outcome == "below" for one in without_decay):
        return found
    return attrs.evolve(found, outcome="inconclusive")


def exceeds_chance(predicted: Array, signal: float) -> Array:
    """Mask of the columns whose sum is at least ``signal`` times the root of their sum of squares.

    Example
    -------
    >>> exceeds_chance(np.array([[1.0, 1.0]] * 8 + [[1.0, -1.0]] * 8), 4.0)
    array([ True, False])
    """
    large: Array = predicted.sum(axis=0) >= signal * np.sqrt(np.square(predicted).sum(axis=0))
    return large & predicted.any(axis=0)


def _compare(names: list[str], first_loss: float, losses: Array, predicted: Array) -> DecreaseComparison:
    labels, single = _largest_columns(names, predicted, DECREASE_REGRESSION.separate_arrays)
    ratios, covariances = _fit(losses, np.cumsum(single, axis=0))
    sums = single.sum(axis=0)
    total = float(sums.sum())
    errors = np.sqrt(np.maximum(*map(np.diag, covariances)))
    smallest = DECREASE_REGRESSION.predicted_decrease * first_loss
    known = (
        exceeds_chance(single, DECREASE_REGRESSION.signal)
        & (sums >= smallest)
        & (errors < DECREASE_REGRESSION.standard_error_of_array)
    )
    upper = np.where(known, ratios + DECREASE_REGRESSION.standard_errors * errors, np.inf)
    worst = int(np.argmin(upper))
    weights = sums / total if total > 0.0 else np.full(len(sums), math.nan)
    ratio = float(weights @ ratios)
    half_width = DECREASE_REGRESSION.standard_errors * math.sqrt(
        max(0.0, *(float(weights @ one @ weights) for one in covariances))
    )
    comparable = total >= smallest and exceeds_chance(single.sum(axis=1)[:, None], DECREASE_REGRESSION.signal).all()
    total_below = comparable and ratio + half_width < DECREASE_REGRESSION.ratio
    below = total_below or upper[worst] < DECREASE_REGRESSION.ratio_of_array
    reached = total >= smallest and ratio - half_width > DECREASE_REGRESSION.ratio
    close = np.abs(ratios - ratio)[known] < DECREASE_REGRESSION.standard_errors * errors[known]
    return DecreaseComparison(
        outcome="below" if below else "reached" if reached else "inconclusive",
        updates=len(losses),
        predicted=total / first_loss,
        ratio=ratio if comparable else math.nan,
        array=labels[worst] if known[worst] else "",
        array_predicted=float(sums[worst]) / first_loss,
        array_ratio=float(ratios[worst]),
        same_ratio=bool(known.sum() >= 2 and close.all()),
    )


def _largest_columns(names: list[str], predicted: Array, count: int) -> tuple[list[str], Array]:
    """The columns with the largest sums and their names, and the sum of the other columns, whose name is empty."""
    order = np.argsort(-np.abs(predicted.sum(axis=0)))
    largest, others = order[:count], order[count:]
    labels = [names[place] for place in largest]
    if not len(others):
        return labels, predicted[:, largest]
    return [*labels, ""], np.column_stack([predicted[:, largest], predicted[:, others].sum(axis=1)])


def _fit(losses: Array, sums: Array) -> tuple[Array, tuple[Array, Array]]:
    """The coefficients of the sums, and two estimates of their covariance."""
    scale = np.abs(sums).max(axis=0)
    scale[scale == 0.0] = 1.0
    design = np.column_stack([-sums / scale, np.ones(len(losses))])
    solution = np.linalg.lstsq(design, losses, rcond=None)[0]
    residuals = losses - design @ solution
    inverse = np.linalg.pinv(design.T @ design)
    freedom = max(len(losses) - design.shape[1], 1)
    square = float(residuals @ residuals)
    correlation = float(residuals[1:] @ residuals[:-1]) / square if square else 0.0
    correlation = min(max(correlation, 0.0), DECREASE_REGRESSION.largest_autocorrelation)
    autoregressive = inverse * (square / freedom * (1.0 + correlation) / (1.0 - correlation))
    scores = design * residuals[:, None]
    spread = scores.T @ scores
    for lag in range(1, DECREASE_REGRESSION.lags + 1):
        shifted = scores[lag:].T @ scores[:-lag]
        spread += (1.0 - lag / (DECREASE_REGRESSION.lags + 1)) * (shifted + shifted.T)
    newey_west = len(losses) / freedom * inverse @ spread @ inverse
    unit = np.outer(scale, scale)
    return solution[:-1] / scale, (autoregressive[:-1, :-1] / unit, newey_west[:-1, :-1] / unit)
