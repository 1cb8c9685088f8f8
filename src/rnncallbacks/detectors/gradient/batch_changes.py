r"""How the losses of batches that return change from one pass to the next, and what their gradients say of it.

A loader that yields the same index in two passes gives the same batch twice, with the loss :math:`L_a` and the gradient
:math:`g_a` at parameters :math:`\theta_a`, and :math:`L_b, g_b` at :math:`\theta_b`. On the line between them, the loss
is a function of one variable, whose derivatives at both ends are :math:`a = g_a \cdot \Delta\theta` and :math:`b = g_b
\cdot \Delta\theta`. The trapezoid rule gives its change,

.. math:: L_b - L_a = \frac{a + b}{2} - \frac{f'''(\xi)}{12},

and :math:`q = |b - a| / 2` is the part of the curvature, for which the rule is exact. However the parameters came to
:math:`\theta_b`, a right gradient leaves a remainder below :math:`q` unless the third derivative is six times the
second one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.gradient.decrease_regression import DECREASE_REGRESSION

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity


@attrs.frozen(kw_only=True)
class BatchChangeThresholds:
    """Thresholds of a remainder that no right gradient leaves.

    The healthy numbers are those of 52 pairs of passes of eight scripts.
    """

    fewest_batches: int = 16
    """Batches that have to return. Chosen by eye."""
    remainder: float = 1.25
    """Sum of the remainders / sum of the parts of the curvature, from which the loss falls less than predicted. Healthy
    ones were at most 0.4. Where batches are new in each pass, it is at most 1."""
    missing_share: float = 0.2
    """Sum of the remainders / predicted decrease of the loss, at the same time. Chosen by eye."""
    standard_errors: float = 5.0
    """Sum of the remainders in standard errors, at the same time: 2.1 in the healthy pair with the largest sum."""
    predicted_decrease: float = 0.02
    """Smallest predicted decrease of the loss relative to the loss. Chosen by eye."""
    slope: float = 5.0
    """Median, over the batches, of the smaller one of the slopes at both ends in units of the loss, from which they
    are not those of a loss. A parabola above 0 has at most 4; the healthy runs had 0.2, and 0.8 with a learning rate 30
    times too high."""
    same_batch_deviations: float = 2.5
    """Standard deviations above one half, by which the gradients of a batch in both passes are more often alike than
    those of two batches: the data return with their index. Chosen by eye."""
    same_batch_correlation: float = 0.5
    """Correlation of the losses of both passes that shows the same. Chosen by eye."""
    roughness: float = 1.0
    """Smallest mean square of the differences between successive losses / variance of the losses around a straight
    line: 2 for losses of independent batches, and 15 / n for n values of a running mean, a random walk. Chosen by
    eye."""
    share_without_array: float = 0.4
    """Remainder that another factor of one array leaves, or of all arrays, relative to that before, up to which it is
    named. Chosen by eye."""
    ratio: float = 0.5
    """Actual over predicted change that fits all batches, up to which all arrays are off by one factor. Chosen by
    eye."""
    share_without_factor: float = 0.25
    """Change that this factor leaves, relative to the whole change. Chosen by eye."""
    remainder_of_factor: float = 0.7
    """As ``remainder``, where it does. Chosen by eye, with the same healthy numbers."""


BATCH_CHANGES = BatchChangeThresholds()


class BatchChange(NamedTuple):
    """What changed from one visit to the next; the three arrays have an entry for each parameter array."""

    first_loss: float
    last_loss: float
    first_slopes: Array
    last_slopes: Array
    half_square_growth: Array
    is_alike: bool  # its two gradients, more than the last one and that of another batch


def compare_changes(
    names: Sequence[str], changes: Sequence[BatchChange], *, follows_gradient: bool = True
) -> Finding | None:
    """Compare what changed in a pair of passes with the gradients; a finding if it does not follow from them.

    It is RNN405 where one factor of all arrays explains the difference, an info unless ``follows_gradient`` says that
    the length of an update is that of the gradient; else RNN404.

    Parameters
    ----------
    names:
        The names of the parameter arrays.
    changes:
        One for each batch that returned, in the order of the second pass.
    """
    limits = BATCH_CHANGES
    if len(changes) < limits.fewest_batches:
        return None
    losses = np.array([(one.first_loss, one.last_loss) for one in changes])
    first, last, growth = (np.array([one[place] for one in changes], dtype=np.float64) for place in (2, 3, 4))
    with np.errstate(all="ignore"):
        if not np.isfinite(first + last + growth).all() or not _return_with_data(changes, losses):
            return None
        factors = _weight_decays((first + last) / 2.0, growth)
        slope = min(_slope(losses, first - factor * growth, last - factor * growth) for factor in factors)
        short = all(_falls_short(losses, first - factor * growth, last - factor * growth) for factor in factors)
    if not short and not (slope >= limits.slope and (losses > 0.0).all()):
        return None
    return _found(losses, (first + last) / 2.0, slope, names, short=short, follows_gradient=follows_gradient)


def _return_with_data(changes: Sequence[BatchChange], losses: Array) -> bool:
    """Whether the data of an index are the same in both passes, and losses those of single batches."""
    limits, count = BATCH_CHANGES, len(changes) - 1
    if not _roughness(losses[:, 1]) >= limits.roughness:  # in the order of the last pass
        return False
    alike = sum(one.is_alike for one in changes) - count / 2.0
    centered = losses - losses.mean(axis=0)
    correlation = float(centered[:, 0] @ centered[:, 1]) / math.sqrt(float(np.prod(np.square(centered).sum(0))))
    enough = alike >= limits.same_batch_deviations * math.sqrt(count) / 2.0
    return enough or correlation >= limits.same_batch_correlation


def _weight_decays(slopes: Array, growth: Array) -> tuple[float, ...]:
    """Factors of a decay that the gradients may contain and the loss not: none, common ones, and the one that fits."""
    common = DECREASE_REGRESSION.weight_decays
    fitted = _fit(slopes.sum(axis=1), growth.sum(axis=1))[0]
    return (0.0, *common, min(max(fitted, 0.0), common[-1]))


def _slope(losses: Array, first: Array, last: Array) -> float:
    """Median, over the batches, of the smaller one of the slopes at both ends in units of the loss."""
    slopes = np.minimum(np.abs(first.sum(axis=1)), np.abs(last.sum(axis=1)))
    return float(np.median(slopes / np.maximum(losses.max(axis=1), 1e-300)))


def _falls_short(losses: Array, first: Array, last: Array) -> bool:
    """Whether the losses of all batches together fell less than the slopes at both ends allow."""
    limits = BATCH_CHANGES
    start, end = first.sum(axis=1), last.sum(axis=1)
    predicted, curved = (start + end) / 2.0, np.abs(end - start) / 2.0
    remainder = losses[:, 1] - losses[:, 0] - predicted
    missing, decrease = float(remainder.sum()), -float(predicted.sum())
    least = limits.remainder_of_factor if _is_scaled(losses[:, 1] - losses[:, 0], predicted) else limits.remainder
    error = float(remainder.std()) * math.sqrt(len(remainder))
    return (
        decrease >= limits.predicted_decrease * float(losses[:, 0].sum()) > 0.0
        and missing >= limits.missing_share * decrease
        and missing >= least * float(curved.sum())
        and missing >= limits.standard_errors * error
    )


def _is_scaled(changes: Array, predicted: Array) -> bool:
    """Whether one factor below 1 turns the predicted changes into the actual ones."""
    factor, left = _fit(changes, predicted)
    limits = BATCH_CHANGES
    return 0.0 < factor <= limits.ratio and left <= limits.share_without_factor * _norm(changes)


def _found(
    losses: Array, predicted: Array, slope: float, names: Sequence[str], *, short: bool, follows_gradient: bool
) -> Finding:
    changes, total = losses[:, 1] - losses[:, 0], predicted.sum(axis=1)
    ratio = float(changes.sum() / total.sum())
    evidence: dict[str, float | int | str] = {"batches": len(changes), "expected": 1.0}
    if short:
        evidence["actual_to_predicted"] = ratio
        message = (
            f"the loss falls less than the gradients predict: that of {len(changes)} batches which returned in the "
            f"next pass fell by {ratio:.2g} of what the gradients in both passes say (expected 1)"
        )
    else:
        evidence["slope"] = slope
        message = (
            f"the gradients are not those of the loss: for {len(changes)} batches, they have slopes of {slope:.3g} "
            "times the loss on the way from one pass to the next, at both ends, and a parabola above 0 has at most "
            f"4; the losses changed by {float(np.median(np.abs(changes))):.3g}"
        )
    remainder, share = changes - total, BATCH_CHANGES.share_without_array
    before = _norm(remainder)
    of_arrays = [_fit(remainder + column, column) for column in predicted.T]
    place = min(range(len(of_arrays)), key=lambda one: of_arrays[one][1])
    array_ratio, left = of_arrays[place]
    factor, left_by_factor = _fit(changes, total)
    if short and _is_scaled(changes, total) and left_by_factor <= left:
        evidence["factor"] = 1.0 / factor
        severity: Severity | None = None if follows_gradient else "info"
        return Finding("RNN405", f"{message}; that is one factor for all arrays", evidence, severity)
    if left <= share * before:
        evidence |= {"array": names[place], "ratio": array_ratio}
        message += (
            f"; without the gradient of {names[place]!r}, of which {array_ratio:.2g} fits best, most of the "
            "difference is gone"
        )
    return Finding("RNN404", message, evidence, "warning")


def _fit(changes: Array, predicted: Array) -> tuple[float, float]:
    """The factor of a prediction that fits best, and the norm that it leaves."""
    ratio = float(changes @ predicted) / max(float(predicted @ predicted), 1e-300)
    return ratio, _norm(changes - ratio * predicted)


def _roughness(losses: Array) -> float:
    """Mean square of the differences between successive losses / variance of the losses around a straight line."""
    place = np.arange(len(losses)) - (len(losses) - 1) / 2.0
    centered = losses - losses.mean()
    around = centered - place * (place @ centered) / (place @ place)
    return float(np.square(np.diff(around)).mean() / around.var())


def _norm(vector: Array) -> float:
    return math.sqrt(float(vector @ vector))
