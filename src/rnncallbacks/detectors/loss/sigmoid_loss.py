r"""The loss of sigmoid outputs for targets of 0 and 1: exact values of the right function, and of common wrong ones.

For outputs z, :math:`p = \sigma(z)` and targets y of 0 and 1, the mean negative log-likelihood is

.. math:: -\frac{1}{N} \sum_n y_n \ln p_n + (1 - y_n) \ln (1 - p_n)

and :math:`\ln 2` at z = 0. A squared error of p, a likelihood without its logarithm and a sigmoid of p have other
values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.loss.initial_loss_findings import large_initial_weights, negative_loss, summed


@attrs.frozen(kw_only=True)
class SigmoidLossThresholds:
    """Tolerance between a loss and a formula, and the largest usual first loss."""

    match_tolerance: float = 2e-5
    """Largest relative difference between a loss and an exact value: rounding errors of sums in float32, and of
    logarithms that add 1e-8 to their argument."""

    largest_first_ratio: float = 1.5
    """Largest first loss in units of ln 2, as for the softmax: 1.3 was measured on small healthy networks."""


SIGMOID_LOSS = SigmoidLossThresholds()

SIGMOID_ONCE = "apply the sigmoid once: give the loss function the logits, or take the logarithm of the probabilities"
MEAN_LIKELIHOOD = "average -y ln(p) - (1 - y) ln(1 - p) over the targets y, with p = sigmoid(z)"


@attrs.frozen
class SigmoidLoss:
    """A function of sigmoid outputs and its value; ``wrong`` is empty for the mean negative log-likelihood."""

    formula: str
    value: float
    wrong: str = ""


def is_binary(targets: Array) -> bool:
    """Whether targets are zeros and ones, and both occur.

    Example
    -------
    >>> is_binary(np.array([0.0, 1.0])), is_binary(np.array([0.0, 0.5])), is_binary(np.array([1.0, 1.0]))
    (True, False, False)
    """
    ones = int(np.count_nonzero(targets == 1))
    return 0 < ones < targets.size and ones + int(np.count_nonzero(targets == 0)) == targets.size


def check_sigmoid_loss(
    loss: float,
    targets: Array,
    *,
    counts: Mapping[str, float],
    at_zero: float | None = None,
    outputs: Any = None,
    large_weights: float | None = None,
) -> CheckResult | None:
    """Check the first loss of binary targets (RNN301 to RNN303); None if no known function of sigmoid outputs gives it.

    Parameters
    ----------
    loss:
        The first loss.
    targets:
        Zeros and ones.
    counts:
        The numbers of terms that the loss may be a sum over, by name.
    at_zero:
        The loss with all parameters at zero; None without a closure.
    outputs:
        The observed outputs, logits or probabilities; None if they were not observed.
    large_weights:
        The scale of the output weights if they are large enough for a high first loss; else None.

    Example
    -------
    >>> targets = np.array([1.0, 0.0, 1.0, 1.0])
    >>> finding = check_sigmoid_loss(0.26, targets, counts={}, at_zero=0.25).finding
    >>> print(finding.message)
    the loss is the mean squared error of the sigmoid: with all parameters at zero it is 0.25 = mean((p - y)^2); a mean
    negative log-likelihood has ln 2 = 0.6931
    """
    logits = _logits(outputs, targets)
    ways = [(at_zero, np.zeros(targets.size), "with all parameters at zero it is"), (loss, logits, "the first loss is")]
    for value, scores, words in ways:
        if value is None or scores is None:
            continue
        found = _match(value, scores, targets.reshape(-1).astype(np.float64), counts)
        if found is None:
            continue
        one, name, count = found
        arithmetic = f"{words} {value:.6g} = {f'{count:g} x ' if name else ''}{one.formula}"
        if one.wrong:
            return CheckResult(finding=_other_function(one, arithmetic, value))
        if name:
            numbers = {"loss": value, "factor": count, "expected_factor": 1.0}
            return CheckResult(finding=summed(count, name, arithmetic, numbers), checked={"RNN302": arithmetic})
        checked = {"RNN301": arithmetic, "RNN302": arithmetic}
        height = f"the first loss, {loss:.4g}, is {loss / math.log(2):.3g} times that of a uniform prediction"
        if loss <= SIGMOID_LOSS.largest_first_ratio * math.log(2):
            checked["RNN303"] = height
        elif large_weights is not None:
            finding = large_initial_weights(loss, math.log(2), large_weights, "ln 2")
            return CheckResult(finding=finding, checked=checked)
        return CheckResult(checked=checked, cannot_tell={} if "RNN303" in checked else {"RNN303": height})
    # Neither a likelihood of zeros and ones nor an error of them is below 0.
    return CheckResult(finding=negative_loss(loss, 2)) if loss < 0.0 else None


def _match(
    value: float, scores: Array, targets: Array, counts: Mapping[str, float]
) -> tuple[SigmoidLoss, str, float] | None:
    """The function that gives a value, and the count that it is summed over; None if no function or two give it."""
    tolerance = SIGMOID_LOSS.match_tolerance
    functions = list(_functions(scores, targets))
    for name, count in {"": 1.0, **counts}.items():
        near = [one for one in functions if abs(value - count * one.value) <= tolerance * abs(count * one.value)]
        if near:
            ambiguous = len(near) > 1 or (near[0].wrong and _may_be_linear(value / count, scores, targets))
            return None if ambiguous else (near[0], name, count)
    return None


def _may_be_linear(value: float, scores: Array, targets: Array) -> bool:
    """Whether a value is also that of a squared or absolute error of linear outputs."""
    square, size = float(np.mean((scores - targets) ** 2)), float(np.mean(np.abs(scores - targets)))
    linear = (square, square / 2.0, size, math.sqrt(square))
    return any(abs(value - one) <= 10.0 * SIGMOID_LOSS.match_tolerance * one for one in linear)


def _functions(scores: Array, targets: Array) -> Iterator[SigmoidLoss]:
    p = 1.0 / (1.0 + np.exp(-np.clip(scores, -500.0, 500.0)))
    yield SigmoidLoss("ln 2" if not scores.any() else "mean(-ln p(y))", float(_likelihood(scores, targets)))
    square = float(np.mean((p - targets) ** 2))
    yield SigmoidLoss("mean((p - y)^2)", square, "the mean squared error of the sigmoid")
    yield SigmoidLoss("mean((p - y)^2) / 2", square / 2.0, "half the mean squared error of the sigmoid")
    right = float(np.mean(np.where(targets == 1.0, p, 1.0 - p)))
    yield SigmoidLoss("-mean(p(y))", -right, "the negative probability of the target, without its logarithm")
    yield SigmoidLoss("mean(1 - p(y))", 1.0 - right, "the probability of the wrong class, without a logarithm")
    yield SigmoidLoss("mean(-ln sigmoid(p)(y))", float(_likelihood(p, targets)), "that of a sigmoid of the sigmoid")


def _likelihood(scores: Array, targets: Array) -> float:
    """The mean negative log-likelihood of sigmoid outputs."""
    return float(np.mean(np.logaddexp(0.0, scores) - targets * scores))


def _logits(outputs: Any, targets: Array) -> Array | None:
    """The observed outputs in the order of the targets, as logits; None if the order is not certain."""
    try:
        found = np.asarray(outputs)
    except ValueError:
        return None
    if found.dtype.kind != "f" or found.size != targets.size:
        return None
    shape = [length for length in targets.shape if length > 1]
    if [length for length in found.shape if length > 1] != shape:
        if [length for length in found.shape if length > 1] != shape[::-1]:
            return None
        found = found.reshape(shape[::-1]).T
    return found.reshape(-1).astype(np.float64)


def _other_function(one: SigmoidLoss, arithmetic: str, value: float) -> Finding:
    expected = math.log(2.0)
    return Finding(
        "RNN302",
        f"the loss is {one.wrong}: {arithmetic}; a mean negative log-likelihood has ln 2 = {expected:.4g}",
        {"loss": value, "expected": expected},
        remedy=SIGMOID_ONCE if "sigmoid of" in one.wrong else MEAN_LIKELIHOOD,
    )
