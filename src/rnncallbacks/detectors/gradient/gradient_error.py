r"""Classifies the difference between gradients and those of the loss.

Along the reported gradient :math:`g`, the ratio of the measured to the reported directional derivative shows a wrong
length or sign. Along random signs :math:`s`, the error :math:`(\nabla f - g) \cdot s` shows a wrong direction, and an
array whose gradient is wrongly zero; the mean of its square is :math:`\lVert \nabla f - g \rVert^2`. Seven evaluations
of the loss confirm a correct gradient. Otherwise each array is compared separately.
"""

from __future__ import annotations

import math
from typing import Literal

import attrs

from rnncallbacks.detectors.gradient.array_errors import ARRAY_ERROR, ArrayError, array_errors
from rnncallbacks.detectors.gradient.central_difference import (
    DIRECTIONAL,
    DirectionalComparison,
    root_mean_square,
)
from rnncallbacks.detectors.gradient.directional import DirectionalDerivatives, is_matrix


@attrs.frozen(kw_only=True)
class GradientErrorThresholds:
    """Thresholds that separate the kinds of gradient errors."""

    smallest_factor_error: float = 0.25
    """Smallest distance of a common factor from 1: kinks, weight decay and truncation cause smaller ones.
    Chosen by eye."""
    random_error_of_scaled: float = 0.5
    """Largest root mean square error along random signs, relative to the change, that kinks can cause in a gradient
    that is only scaled. Chosen by eye."""
    guessed_scales: int = 3
    """Attempts to find the step size for gradients that are off by a large factor. Chosen by eye."""
    scale_bounds: tuple[float, float] = (1e-6, 1e6)
    """Range of the factor by which step sizes are adapted. Chosen by eye."""
    cosine_of_truncated: float = 0.9
    """Smallest cosine with the true gradient of one from truncated backpropagation. Chosen by eye."""
    ratios_of_truncated: tuple[float, float] = (0.9, 2.0)
    """Range of the directional derivative ratios of its arrays, each of which lacks a part. Chosen by eye."""
    rounding_errors_of_zero: float = 5.0
    """Change of the loss, in rounding errors, that shows that a gradient of zero is wrong. Chosen by eye."""
    shorter_step_of_zero: float = 0.3
    """Factor of the second step length, at which the change must be in proportion. Chosen by eye."""
    proportion_of_zero: tuple[float, float] = (0.8, 1.25)
    """Range of the ratio of the two changes to the ratio of the step lengths. Chosen by eye."""
    error_of_others: float = 0.1
    """Relative error / that of the worst array, above which an array lacks a part as well. Truncation shortens the
    gradient of every array before the recurrence, so that at least two lack one, one of them a matrix. Chosen by
    eye."""


GRADIENT_ERROR = GradientErrorThresholds()

Kind = Literal["correct", "scaled", "zero", "truncated", "unused", "wrong", "inconclusive"]


@attrs.frozen(kw_only=True)
class GradientError:
    """The difference between gradients and those of the loss.

    Attributes
    ----------
    kind:
        "correct"; "scaled": correct except for one factor; "zero": correct except for arrays whose gradient is zero;
        "truncated": those of truncated backpropagation; "unused": not zero for an array without effect on the
        loss; "wrong"; or "inconclusive".
    ratio:
        The true over the reported directional derivative along the reported gradient, 1 if correct.
    cosine:
        An estimate of the cosine between the reported and the true gradient, from -1 to 1.
    array:
        The name of the array with the largest relative error; empty if no array was compared alone.
    array_ratio:
        The ratio along this array's gradient.
    others:
        The names of the other arrays that are wrong.
    right:
        The names of the arrays that are right.
    """

    kind: Kind
    ratio: float = 1.0
    cosine: float = 1.0
    array: str = ""
    array_ratio: float = 1.0
    others: tuple[str, ...] = ()
    right: tuple[str, ...] = ()


def classify_gradient(derivatives: DirectionalDerivatives) -> GradientError:
    """Compare gradients with the changes of the loss, and classify the difference.

    Raises
    ------
    ClosureError
        The closure fails, or does not depend on the parameters.

    Example
    -------
    >>> import numpy as np
    >>> weights = {"w": np.array([1.0, 2.0])}
    >>> loss = lambda: float((weights["w"] ** 2).sum())
    >>> classify_gradient(DirectionalDerivatives(loss, weights, {"w": 2.0 * weights["w"]}, loss())).kind
    'correct'
    >>> error = classify_gradient(DirectionalDerivatives(loss, weights, {"w": weights["w"] / 3.0}, loss()))
    >>> error.kind, round(error.ratio, 3)
    ('scaled', 6.0)
    """
    if derivatives.norm_floor == 0.0:
        return GradientError(kind="inconclusive")
    first_factor = derivatives.step_factors[0]
    first = derivatives.compare(first_factor)
    if first.confirms_gradients:
        if _is_wrongly_zero(derivatives):
            return _locate(derivatives, first_factor, 1.0)
        return GradientError(kind="correct")
    if (ratio := _common_ratio(derivatives, first)) is not None:
        return GradientError(kind="scaled", ratio=ratio, array_ratio=ratio)
    # Where the loss changes much more than predicted, steps have to be shorter for the same curvature.
    scale = max(abs(first.ratio), 1.0) if math.isfinite(first.ratio) else 1.0
    earlier: list[tuple[float, DirectionalComparison]] = []
    for factor in derivatives.step_factors:
        same = (factor, scale) == (first_factor, 1.0)
        comparison = first if same else derivatives.compare(factor, scale)
        if not comparison.is_conclusive:
            continue
        if comparison.agrees() and _is_sharp(comparison, earlier):
            return GradientError(kind="correct")
        for earlier_factor, other in earlier:
            if other.is_reproduced_by(comparison):
                if _is_weight_decay(derivatives, other):
                    return GradientError(kind="correct")
                return _locate(derivatives, earlier_factor, scale)
        earlier.append((factor, comparison))
    return GradientError(kind="inconclusive")


def predicts_change(derivatives: DirectionalDerivatives, ratio: float = 1.0) -> bool:
    """Whether the gradients times ``ratio`` predict the change of the loss along themselves: two evaluations.

    Example
    -------
    >>> import numpy as np
    >>> weights = {"w": np.array([1.0, 2.0])}
    >>> loss = lambda: float((weights["w"] ** 2).sum())
    >>> derivatives = DirectionalDerivatives(loss, weights, {"w": weights["w"].copy()}, loss())
    >>> predicts_change(derivatives), predicts_change(derivatives, 2.0)
    (False, True)
    """
    if derivatives.norm_floor == 0.0:
        return False
    along = derivatives.along_gradient(list(derivatives.params), derivatives.step_factors[0], abs(ratio))
    return abs(along.error(ratio)) <= DIRECTIONAL.tolerance_along_gradient


def _common_ratio(derivatives: DirectionalDerivatives, comparison: DirectionalComparison) -> float | None:
    """The ratio that all arrays and directions share; None if there is none."""
    scale = 1.0
    for _ in range(GRADIENT_ERROR.guessed_scales):
        if not math.isfinite(comparison.ratio) or comparison.ratio == 0.0:
            return None
        if 0.5 < abs(comparison.ratio) / scale < 2.0:
            break
        lowest, highest = GRADIENT_ERROR.scale_bounds
        scale = min(max(abs(comparison.ratio), lowest), highest)
        comparison = derivatives.compare(derivatives.step_factors[0], scale)
    for factor in derivatives.step_factors:
        if factor != derivatives.step_factors[0]:
            comparison = derivatives.compare(factor, scale)
        if abs(comparison.ratio - 1.0) < GRADIENT_ERROR.smallest_factor_error:
            return None
        if comparison.is_conclusive and comparison.agrees(comparison.ratio):
            break
        errors = [one.error(comparison.ratio) for one in comparison.along_random]
        if root_mean_square(errors) > GRADIENT_ERROR.random_error_of_scaled:
            return None
    else:
        return None
    tolerance = 2.0 * DIRECTIONAL.tolerance_along_gradient
    large = [name for name in derivatives.params if derivatives.norms[name] > derivatives.norm_floor]
    alone = [derivatives.along_gradient([name], factor, scale) for name in large]
    shared = all(abs(one.change / one.predicted / comparison.ratio - 1.0) < tolerance for one in alone)
    return comparison.ratio if shared else None


def _is_wrongly_zero(derivatives: DirectionalDerivatives) -> bool:
    """Whether the loss changes with arrays whose gradient is zero: relative to the other arrays, that may be little."""
    zeros = [name for name, norm in derivatives.norms.items() if norm == 0.0]
    shorter, (lowest, highest) = GRADIENT_ERROR.shorter_step_of_zero, GRADIENT_ERROR.proportion_of_zero
    smallest = GRADIENT_ERROR.rounding_errors_of_zero * derivatives.rounding_error
    second_differences = DIRECTIONAL.second_differences
    for seed in range(DIRECTIONAL.random_directions if zeros else 0):
        one, other = (
            derivatives.along_random_signs(zeros, factor * derivatives.step_factors[0], 1.0, seed)
            for factor in (1.0, shorter)
        )
        clear = all(
            abs(change.change) > smallest + second_differences * abs(change.second_difference)
            for change in (one, other)
        )
        if clear and lowest < shorter * one.change / other.change < highest:
            return True
    return False


def _is_sharp(comparison: DirectionalComparison, earlier: list[tuple[float, DirectionalComparison]]) -> bool:
    """Whether kinks affect a comparison no more than the earlier ones, which it would otherwise outweigh."""
    smallest = DIRECTIONAL.tolerance_along_random
    return all(comparison.curvatures[1] <= max(2.0 * other.curvatures[1], smallest) for _, other in earlier)


def _is_weight_decay(derivatives: DirectionalDerivatives, comparison: DirectionalComparison) -> bool:
    """Whether the error is weight decay, which scripts add to gradients and leave out of the loss."""
    along = derivatives.along_params()
    for kind in (0, 1):  # of the matrices alone, then of all parameters
        if along.penalties[kind] > 0.0:
            factor = (along.predicted - along.change) / along.penalties[kind]
            if comparison.agrees(penalties=[factor * one.penalties[kind] for one in comparison.differences]):
                return True
    return False


def _locate(derivatives: DirectionalDerivatives, step_factor: float, scale: float) -> GradientError:
    """Compare each array alone, and classify the error."""
    errors = array_errors(derivatives, step_factor, scale)
    worst = max(errors, key=lambda one: (one.has_no_effect, one.relative_error))
    square = sum(one.norm**2 for one in errors)
    true_square = sum(one.true_norm**2 for one in errors)
    product = sum(one.ratio * one.norm**2 for one in errors)
    cosine = min(max(product / math.sqrt(square * true_square), -1.0), 1.0) if true_square else 0.0
    wrong = [one for one in errors if one.relative_error > ARRAY_ERROR.relative_error_of_array]
    kind: Literal["zero", "truncated", "unused", "wrong"] = "wrong"
    if worst.has_no_effect:
        kind = "unused"
    elif wrong and all(one.norm == 0.0 for one in wrong):
        kind = "zero"
    elif cosine > GRADIENT_ERROR.cosine_of_truncated and _all_lack_a_part(errors, worst, derivatives):
        kind = "truncated"
    return GradientError(
        kind=kind,
        ratio=product / square,
        cosine=cosine,
        array=worst.names[0],
        array_ratio=worst.ratio,
        others=tuple(name for one in wrong if one is not worst for name in one.names),
        right=tuple(name for one in errors if one is not worst and one not in wrong for name in one.names),
    )


def _all_lack_a_part(errors: list[ArrayError], worst: ArrayError, derivatives: DirectionalDerivatives) -> bool:
    """Whether the arrays before the recurrence lack a part of their gradient, and no array has another error."""
    lowest, highest = GRADIENT_ERROR.ratios_of_truncated
    if not all(one.norm > 0.0 and lowest < one.ratio < highest for one in errors):
        return False
    lacking = [one for one in errors if one.relative_error > GRADIENT_ERROR.error_of_others * worst.relative_error]
    names = [name for one in lacking for name in one.names]
    return len(names) > 1 and any(is_matrix(derivatives.params[name]) for name in names)
