r"""RNN302, a softmax of probabilities: by logits, by a loss that is bounded when parameters grow, or by absent classes.

With all parameters multiplied by a large factor, the logits of a wrong prediction are far apart, and its negative
log-likelihood grows with the factor. After a second softmax, each loss lies between :math:`\ln(1 + (V - 1) / e)` and
:math:`\ln(V - 1 + e)`, whatever the logits are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.closure import ClosureError, evaluate_closure, restore_afterwards
from rnncallbacks.detectors.loss.initial_loss_findings import SOFTMAX_ONCE, second_softmax
from rnncallbacks.detectors.loss.loss_at_zero import batch_loss_function

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class SecondSoftmaxThresholds:
    """Factors of the parameters, and tolerances of the loss."""

    factors: tuple[float, ...] = (30.0, 1000.0, 30_000.0, 1_000_000.0)
    """Factors of the parameters, tried until a loss exceeds the bound. Chosen by eye: with output weights of 1e-2,
    logits are about 1 at the first factor, and a second softmax is saturated at the last."""

    match_tolerance: float = 1e-5
    """Largest relative difference between a loss and that of a second softmax: rounding errors of float32."""

    gap_ratio: float = 0.1
    """Largest difference from the loss of a second softmax / that from the loss of one softmax. Chosen by eye."""

    absent_tolerance: float = 0.15
    """Largest relative difference between the gradient at absent classes and 1 / V^2. Chosen by eye."""
    absent_classes: int = 6
    """Fewest classes with this gradient, the largest one. Chosen by eye: of random frequencies that are not zero, so
    many are not so close to each other."""
    present_classes: int = 3
    """Fewest other classes: of V + 1 targets, each class may have one, and one class two. Chosen by eye."""
    present_gradient: float = 0.7
    """Gradient in units of 1 / V^2 that no other class exceeds. Chosen by eye."""
    absent_loss: float = 0.06
    """Largest relative distance of the loss from ln V. Chosen by eye."""

    tolerance: float = 0.02
    """Largest relative distance of a loss outside the bounds, and between the last two losses. Chosen by eye."""


SECOND_SOFTMAX = SecondSoftmaxThresholds()


def check_softmax_once(loss: float, nll: float, twice: float | None, counts: Mapping[str, float]) -> Finding | None:
    """RNN302 if the loss is that of a softmax of the probabilities, and not that of the observed logits.

    ``nll`` is the mean negative log-likelihood under the logits, and ``twice`` that with a second softmax.
    """
    if twice is None:
        return None
    for count in (1.0, *counts.values()):
        gap = abs(loss / count - twice)
        if gap < SECOND_SOFTMAX.match_tolerance * twice and gap < SECOND_SOFTMAX.gap_ratio * abs(loss / count - nll):
            return second_softmax(loss, nll, twice)
    return None


def check_bounded_loss(batch: Batch, loss: float, params: Mapping[str, Array], classes: int) -> CheckResult:
    """RNN302 if the loss stays within the bounds of a second softmax as the parameters grow.

    It is that of the closure, or of a recognized network. The parameters are restored bit for bit.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> w = np.array([0.3, -0.2, 0.1])
    >>> def softmax(z):
    ...     return np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    >>> batch = Batch(None, "train", 1, closure=lambda: float(-np.log(softmax(softmax(w))[1])))
    >>> check_bounded_loss(batch, 1.2, {"w": w}, classes=3).finding.evidence["bounded_loss"]
    1.55144
    """
    function = batch_loss_function(batch, loss)
    if function is None:
        return CheckResult()
    arrays = [array for array in params.values() if array.dtype.kind == "f"]
    lowest, highest = math.log1p((classes - 1) / math.e), math.log(classes - 1 + math.e)
    kept = [array.copy() for array in arrays]
    losses: list[float] = []
    try:
        with restore_afterwards(arrays), np.errstate(all="ignore"):
            for factor in SECOND_SOFTMAX.factors:
                for array, initial in zip(arrays, kept, strict=True):
                    np.multiply(initial, factor, out=array)
                losses.append(evaluate_closure(function))
                if not math.isfinite(losses[-1]) or losses[-1] > (1.0 + SECOND_SOFTMAX.tolerance) * highest:
                    break
    except ClosureError:
        return CheckResult()
    low, high = lowest * (1.0 - SECOND_SOFTMAX.tolerance), highest * (1.0 + SECOND_SOFTMAX.tolerance)
    if math.isnan(losses[-1]):  # an exponential overflows
        return CheckResult()
    bounded = [one for one in losses if low <= one <= high]
    if len(bounded) < len(SECOND_SOFTMAX.factors):
        grown = (
            f"with all parameters {SECOND_SOFTMAX.factors[len(losses) - 1]:,.0f} times as large it is {losses[-1]:.4g}"
        )
        return CheckResult(checked={"RNN302": f"{grown}, outside the bounds of a second softmax"})
    words = f"with all parameters {SECOND_SOFTMAX.factors[-1]:,.0f} times as large it is {losses[-1]:.4g}"
    if abs(losses[-1] / losses[-2] - 1.0) > SECOND_SOFTMAX.tolerance or abs(losses[-1] / loss - 1.0) < 1e-6:
        return CheckResult(withdrawn={"RNN302": f"{words}, as after a second softmax: run.observe(logits=...)"})
    return CheckResult(
        finding=Finding(
            "RNN302",
            f"the loss applies a softmax to probabilities: {words}, and a second softmax keeps it between {lowest:.4g} "
            f"and {highest:.4g}; a negative log-likelihood grows with the parameters",
            {"loss": loss, "bounded_loss": float(f"{losses[-1]:.6g}"), "floor": lowest, "bound": highest},
            remedy=SOFTMAX_ONCE,
        )
    )


def is_divided_at_absent_classes(gradient: Array, loss: float) -> bool:
    """Whether the classes that the first batch lacks have the gradient of a second softmax at the output bias.

    Example
    -------
    >>> of_mean = 1 / 10 - np.array([2, 0, 1, 0, 0, 0, 0, 0, 0, 1]) / 4
    >>> [is_divided_at_absent_classes(one, math.log(10)) for one in (of_mean, of_mean / 10)]
    [False, True]
    """
    limits, classes = SECOND_SOFTMAX, gradient.size
    entries = gradient.astype(np.float64) * classes**2
    absent = np.abs(entries - 1.0) <= limits.absent_tolerance
    return bool(
        abs(loss / math.log(classes) - 1.0) <= limits.absent_loss
        and absent.sum() >= limits.absent_classes
        and (~absent).sum() >= limits.present_classes
        and (entries[~absent] <= limits.present_gradient).all()
    )
