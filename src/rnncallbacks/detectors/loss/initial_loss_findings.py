"""The findings of RNN301, RNN302 and RNN303: headline, numbers and remedy."""

from __future__ import annotations

import math

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.detectors.loss.uniform_loss import UniformLoss

SOFTMAX_ONCE = "apply the softmax once: give the loss function the logits, or take the logarithm of the probabilities"
TYPICAL_WEIGHT_SCALE = 0.6
"""The scale of output weights from a uniform distribution on 1 / sqrt(inputs), rounded: see
:func:`~rnncallbacks.detectors.loss.output_weights.output_weight_scale`."""


def arithmetic_at_zero(at_zero: float, match: UniformLoss) -> str:
    """The comparison of the loss at zero parameters with a formula, in words."""
    factor = {"sum": f"{match.factor:g} x ", "divided twice": f"1/{match.factor:g} x "}.get(match.kind, "")
    return f"the loss with all parameters at zero is {at_zero:.6g} = {factor}{match.formula}"


def arithmetic_under_logits(loss: float, nll: float) -> str:
    """The comparison of the first loss with the likelihood under the observed logits, in words."""
    return f"the first loss is {loss:.6g}, the mean negative log-likelihood under the observed logits {nll:.6g}"


def arithmetic_of_first_loss(loss: float, match: UniformLoss) -> str:
    """The comparison of the first loss with the uniform loss, in words."""
    return f"the first loss is {loss:.4g} = {loss * match.factor / match.value:.3g} x {match.formula}"


def summed_at_zero(at_zero: float, match: UniformLoss) -> Finding:
    """RNN301 of a loss at zero parameters that is a sum."""
    numbers = {"loss_at_zero": at_zero, "factor": match.factor, "expected_factor": 1.0}
    arithmetic = f"with all parameters at zero it is {at_zero:.6g} = {match.factor:g} x {match.formula}"
    return summed(match.factor, match.count, arithmetic, numbers)


def summed_first_loss(loss: float, match: UniformLoss) -> Finding:
    """RNN301 of a first loss that is a sum."""
    mean = match.value / match.factor
    numbers = {"loss": loss, "expected": mean, "ratio": loss / mean, "factor": match.factor}
    arithmetic = f"the first loss is {loss:.4g} = {loss / mean:.4g} x {match.formula}"
    return summed(match.factor, match.count, arithmetic, numbers)


def summed_likelihood(loss: float, nll: float, factor: float, count: str) -> Finding:
    """RNN301 of a first loss that is a multiple of the mean negative log-likelihood under the observed logits."""
    numbers = {"loss": loss, "expected": nll, "factor": factor, "expected_factor": 1.0}
    arithmetic = f"it is {loss:.6g}, and the mean negative log-likelihood under the observed logits is {nll:.6g}"
    return summed(factor, count, arithmetic, numbers)


def divided_twice(at_zero: float, match: UniformLoss) -> Finding:
    """RNN301 of a loss at zero parameters that is divided once too often; it scales the gradients down."""
    arithmetic = f"with all parameters at zero it is {at_zero:.6g} = {match.formula} / {match.factor:g}"
    return _divided_twice(match.factor, match.count, arithmetic, {"loss_at_zero": at_zero})


def divided_twice_by_gradient(
    factor: float, ratio: float, count: float, name: str, unit: str, compared: str
) -> Finding:
    """RNN301 of a loss and a gradient that are both divided by a count once too often."""
    arithmetic = f"the first losses are {ratio:.3g} x {unit}; {compared}"
    return _divided_twice(count, name, arithmetic, {"ratio": ratio, "gradient_factor": factor})


def other_function_at_zero(at_zero: float, match: UniformLoss, classes: int) -> Finding:
    """RNN302 of a loss at zero parameters that is that of another function."""
    times = f"{match.factor:g} x " if match.count else ""
    over = f", summed over {match.count}" if match.count else ""
    arithmetic = f"with all parameters at zero it is {at_zero:.6g} = {times}{match.formula} with V = {classes}{over}"
    return _other_function(match.name, arithmetic, {"loss_at_zero": at_zero}, classes)


def other_function_of_first_losses(first: float, last: float, match: UniformLoss, classes: int) -> Finding:
    """RNN302 of first losses that are those of another function."""
    arithmetic = f"the first losses are {first:.4g} to {last:.4g}, near {match.value:.4g} = {match.formula}"
    return _other_function(match.name, arithmetic, {"loss": first}, classes)


def squared_error_under_logits(name: str, loss: float, error: float, nll: float, classes: int) -> Finding:
    """RNN302 of a loss that is a squared error of the observed logits, or of their softmax."""
    arithmetic = (
        f"it is {loss:.6g}, {loss / error:.4g} times that under the observed logits, {error:.6g}, and the mean "
        f"negative log-likelihood is {nll:.6g}"
    )
    return _other_function(name, arithmetic, {"loss": loss, "squared_error": error, "likelihood": nll}, classes)


def missing_probability(loss: float, missing: float, nll: float, classes: int) -> Finding:
    """RNN302 of one minus the probability of the target, half the absolute error of the softmax."""
    arithmetic = (
        f"it is {loss:.6g}, {loss / missing:.4g} times that under the observed logits, {missing:.6g}, and the mean "
        f"negative log-likelihood is {nll:.6g}"
    )
    numbers = {"loss": loss, "missing_probability": missing, "likelihood": nll}
    return _other_function("one minus the probability of the target", arithmetic, numbers, classes)


def negative_loss(loss: float, classes: int) -> Finding:
    """RNN302 of a loss below 0 with class targets."""
    name = "the negative probability of the target" if loss >= -1.0 else "the log-likelihood without its minus sign"
    return _other_function(f"below 0, as {name} is", f"the first loss is {loss:.6g}", {"loss": loss}, classes)


def second_softmax(loss: float, nll: float, twice: float) -> Finding:
    """RNN302 of a loss that applies a softmax to probabilities."""
    message = (
        f"the loss applies a softmax to probabilities: it is {loss:.6g}; the mean negative log-likelihood is {nll:.6g} "
        f"under the observed logits, and {twice:.6g} after a second softmax"
    )
    return Finding("RNN302", message, {"loss": loss, "expected": nll, "softmax_twice": twice}, remedy=SOFTMAX_ONCE)


def second_softmax_of_smoothed_labels(smoothing: float, losses: int) -> Finding:
    """RNN302 of a second softmax whose labels are smoothed."""
    message = (
        f"the loss applies a softmax to probabilities: with a share of {smoothing:.3g} of each target spread over all "
        f"classes, {losses} losses are those of a second softmax, and no share makes them those of the observed logits"
    )
    return Finding("RNN302", message, {"smoothing": smoothing, "losses": losses}, remedy=SOFTMAX_ONCE)


def second_softmax_by_gradient(factor: float, loss: float, classes: int, compared: str) -> Finding:
    """RNN302 of a second softmax, which divides the gradient of an untrained network by the number of classes."""
    floor = math.log1p((classes - 1) / math.e)
    message = (
        f"the loss applies a softmax to probabilities: {compared}; a second softmax has 1 / {classes} = "
        f"{1 / classes:.3g}, and its loss cannot fall below {floor:.4g}"
    )
    numbers = {"gradient_factor": factor, "expected_factor": 1.0, "loss": loss, "floor": floor, "classes": classes}
    return Finding("RNN302", message, numbers, remedy=SOFTMAX_ONCE)


def second_softmax_by_floor(loss: float, floor: float, losses: int, tolerance: float) -> Finding:
    """RNN302 of losses that have converged to the smallest loss of a second softmax, within a relative tolerance."""
    message = (
        f"the loss stays at {floor:.4g} = ln(1 + (V - 1) / e), as after a second softmax: the last {losses} losses lie "
        f"within {tolerance:.0%} of it and never below, the last one at {loss:.4g}"
    )
    return Finding("RNN302", message, {"loss": loss, "floor": floor, "losses": losses}, remedy=SOFTMAX_ONCE)


def large_initial_weights(loss: float, uniform_loss: float, weight_scale: float, origin: str) -> Finding:
    """RNN303; ``origin`` names the source of the uniform loss."""
    ratio = loss / uniform_loss
    message = (
        f"the first loss is {ratio:.3g} times that of a uniform prediction: "
        f"{loss:.4g} instead of {uniform_loss:.4g}, {origin}; the scale of the output weights is {weight_scale:.3g}, "
        f"typical is {TYPICAL_WEIGHT_SCALE:g}"
    )
    remedy = "draw orthogonal recurrent weights, and output weights of about 1 / sqrt(hidden_size)"
    excess = weight_scale / TYPICAL_WEIGHT_SCALE
    if excess >= 2.0:
        remedy += f": divide the output weights by about {excess:.2g}"
    numbers = {"loss": loss, "expected": uniform_loss, "ratio": ratio, "weight_scale": weight_scale}
    return Finding("RNN303", message, numbers, remedy=remedy)


def summed(factor: float, count: str, arithmetic: str, numbers: dict[str, float]) -> Finding:
    """RNN301 of a loss that is a sum; ``count`` names the number of its terms, and is empty if it is unknown."""
    name = f", and {factor:g} is {count}" if count else ""
    of = f", {count}" if count else ""
    message = f"the loss is {factor:g} times a mean{name}: {arithmetic}"
    return Finding("RNN301", message, numbers, remedy=f"divide the loss and its gradients by {factor:g}{of}")


def _other_function(name: str, arithmetic: str, numbers: dict[str, float], classes: int) -> Finding:
    expected = math.log(classes)
    message = f"the loss is {name}: {arithmetic}; a mean negative log-likelihood has ln {classes} = {expected:.4g}"
    remedy = (
        "average the negative logarithm of the softmax probability of each target; "
        f"untrained, it is about ln {classes} = {expected:.4g}"
    )
    return Finding("RNN302", message, {**numbers, "expected": expected, "classes": classes}, remedy=remedy)


def _divided_twice(count: float, name: str, arithmetic: str, numbers: dict[str, float]) -> Finding:
    return Finding(
        "RNN301",
        f"the loss is divided by {count:g}, {name}, once too often: {arithmetic}",
        {**numbers, "factor": count, "expected_factor": 1.0},
        cause="the loss is divided once too often",
        remedy=f"multiply the loss and its gradients by {count:g}: divide the sum by the number of its terms once",
        explains="RNN502 RNN601 RNN603",
    )
