"""What a loss at zero parameters, or the first losses, say of the loss function and of the initial weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from rnncallbacks.detectors.finding import Finding
from rnncallbacks.detectors.loss.uniform_loss import Classes, Match, explain, explain_first, explain_low, explain_whole

TOO_HIGH = 1.5
"""A first loss of so many times ln V comes from initial weights that are too large; 1.3 is seen in small networks."""

LARGE_WEIGHTS = 3.0
"""Output weights that make such a first loss, in the measure of ``weight_scale``."""

HIGH_FOR_LARGE = 1.25
"""A first loss of so many times ln V is enough where the weights are that large too."""

ALL = ("RNN301", "RNN302", "RNN303")


@attrs.frozen
class Judgement:
    """What was found, which codes were passed, and why the others cannot be told; None if more losses may tell."""

    finding: Finding | None = None
    passed: tuple[str, ...] = ()
    unclear: str | None = ""
    divided: bool = False


def judge_zero(at_zero: float, loss: float, weights: float, classes: Classes, counts: Mapping[str, float]) -> Judgement:
    """Judge the loss with all parameters at zero, and the first loss beside it.

    ``weights`` is the measure of the output weights.

    Example
    -------
    >>> classes = Classes((36,), certain=True, regression=False, known=True)
    >>> print(judge_zero(71.6704, 71.9, 0.6, classes, {"the number of time steps": 20.0}).finding.message)
    with all parameters at zero, the loss is 71.6704 = 20 x ln 36, and 20 is the number of time steps: it is a sum
    """
    match = explain(at_zero, classes.sizes, counts) or (None if counts else explain_whole(at_zero, classes.sizes))
    if match is None or (match.kind == "other" and not classes.known):
        more = "" if classes.known else ": run.observe(inputs=..., targets=...)"
        return Judgement(
            unclear=f"the loss with all parameters at zero, {at_zero:.6g}, is that of no known scale{more}"
        )
    start = f"with all parameters at zero, the loss is {at_zero:.6g}"
    if match.kind == "other":
        size = classes.sizes[0]
        message = f"{start}, {match.form}; a mean negative log-likelihood is ln {size} = {math.log(size):.6g} there"
        numbers = {"loss_at_zero": at_zero, "expected": math.log(size), "classes": size}
        return Judgement(Finding("RNN302", message, numbers))
    factor = f"{match.factor:g}"
    numbers = {"loss_at_zero": at_zero, "factor": match.factor, "expected_factor": 1.0}
    if match.kind == "summed":
        message = f"{start} = {factor} x {match.form}, and {factor} is {match.count}: it is a sum"
        return Judgement(Finding("RNN301", message, numbers), ("RNN302",))
    if match.kind == "divided":
        message = f"{start} = {match.form} / {factor}, and {factor} is {match.count}: it is divided once too often"
        return Judgement(Finding("RNN301", message, numbers), ("RNN302",), divided=True)
    return _judge_height(loss, at_zero, weights, "with all parameters at zero")


def judge_first(
    loss: float, nll: float | None, weights: float, classes: Classes, counts: Mapping[str, float]
) -> Judgement:
    """Judge the first loss.

    ``nll`` is the true negative log-likelihood, if logits were observed; ``weights`` the measure of the output weights.
    """
    if nll is not None and nll > 0.0:
        for name, count in {"": 1.0, **counts}.items():
            if abs(loss / nll / count - 1.0) < 1e-3:
                return _judge_likelihood(loss, nll, count, name, weights, classes)
    if weights > LARGE_WEIGHTS and loss > HIGH_FOR_LARGE * math.log(max(classes.sizes)):
        return _large_weights(loss, max(classes.sizes), weights)
    match = explain_first(loss, classes.sizes, counts)
    if match is not None and match.kind == "right":
        return Judgement(passed=ALL)
    if loss < math.log(min(classes.sizes)):
        return Judgement(unclear=None)
    if match is None or not classes.known:
        return Judgement(unclear="pass closure= to run.backward, or run.observe(logits=...)")
    return _sum_of_first(loss, match)


def judge_low(losses: Sequence[float], sizes: tuple[int, ...]) -> Judgement:
    """Judge first losses below ln V: a squared error, or a network that was trained before."""
    match = explain_low(list(losses), sizes)
    if match is None:
        return Judgement(unclear="the first losses are low: pass closure= to run.backward, or run.observe(logits=...)")
    size = sizes[0]
    message = (
        f"the first losses, {losses[0]:.4g} to {losses[-1]:.4g}, lie at {match.expected:.4g}, {match.form}; "
        f"a mean negative log-likelihood begins at about ln {size} = {math.log(size):.4g}"
    )
    return Judgement(Finding("RNN302", message, {"loss": losses[0], "expected": math.log(size), "classes": size}))


def _judge_height(loss: float, even: float, weights: float, where: str) -> Judgement:
    passed = ("RNN301", "RNN302")
    if loss <= (HIGH_FOR_LARGE if weights > LARGE_WEIGHTS else TOO_HIGH) * even:
        return Judgement(passed=ALL)
    message = f"the first loss is {loss:.4g}, {loss / even:.3g} times the {even:.4g} that it is {where}"
    numbers = {"loss": loss, "expected": even, "ratio": loss / even, "weight_scale": weights}
    return Judgement(Finding("RNN303", message, numbers), passed)


def _judge_likelihood(loss: float, nll: float, count: float, name: str, weights: float, classes: Classes) -> Judgement:
    """The loss is the negative log-likelihood under the observed logits, times a count."""
    if name:
        message = (
            f"the first loss is {loss:.6g}, and the mean negative log-likelihood under the observed logits {nll:.6g}: "
            f"it is {count:g} times as much, a sum over {name}"
        )
        numbers = {"loss": loss, "expected": nll, "factor": count, "expected_factor": 1.0}
        return Judgement(Finding("RNN301", message, numbers), ("RNN302",))
    even = math.log(max(classes.sizes))
    if classes.certain or weights > LARGE_WEIGHTS:
        return _judge_height(loss, even, weights, f"for an even guess among {max(classes.sizes)} classes")
    return Judgement(passed=("RNN301", "RNN302"), unclear="pass closure= to run.backward")


def _large_weights(loss: float, size: int, weights: float) -> Judgement:
    even = math.log(size)
    message = (
        f"the first loss is {loss:.4g}, {loss / even:.3g} times ln {size} = {even:.4g}, and the output weights are "
        f"{weights:.3g} over the root of their number of inputs, customary is 0.6"
    )
    numbers = {"loss": loss, "expected": even, "ratio": loss / even, "weight_scale": weights}
    return Judgement(Finding("RNN303", message, numbers), unclear="the initial weights are too large")


def _sum_of_first(loss: float, match: Match) -> Judgement:
    once = match.expected / match.factor
    message = (
        f"the first loss is {loss:.4g}, {loss / once:.4g} times {match.form} = {once:.4g}, "
        f"and {match.factor:g} is {match.count}: it is a sum"
    )
    numbers = {"loss": loss, "expected": once, "ratio": loss / once, "factor": match.factor}
    return Judgement(Finding("RNN301", message, numbers), ("RNN302",))
