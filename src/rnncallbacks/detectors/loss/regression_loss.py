"""Identifies the loss of a regression by errors of the outputs, or by the loss of outputs that are 0."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import Array

LARGE_WEIGHTS = 3.0
"""Smallest scale of output weights that explains a high first loss: five times the typical 0.6; chosen by eye."""


@attrs.frozen(kw_only=True)
class RegressionLossThresholds:
    """Tolerances of the agreement of a loss with an error, and thresholds of a first loss that is too high."""

    match_tolerance: float = 2e-5
    """Largest relative difference between a loss and an exact error: rounding errors of sums in float32."""

    largest_mean_ratio: float = 7.0
    """Largest first loss of a healthy network in units of the mean squared target; measured."""

    smallest_summed_ratio: float = 8.0
    """Smallest first loss, in the same unit, of a sum that is near one of the counts, if the output weights are known
    to be small: 9.8 was measured."""

    summed_factor: float = 1.6
    """Largest ratio of such a loss to the count, and of the count to it: healthy first losses are 0.79 to 1.5."""

    smallest_faulty_ratio: float = 12.0
    """Smallest first loss, in the same unit, of sums and of networks with bad scales; measured."""

    weights_factor: float = 2.0
    """Largest mean square of healthy first outputs / squared scale of the output weights: 1 for independent states of 1
    or -1; chosen by eye. The targets of a first batch may be smaller than those to come, as in a series that grows."""


REGRESSION_LOSS = RegressionLossThresholds()


def check_regression_loss(
    loss: float,
    targets: Array,
    *,
    counts: Mapping[str, float],
    at_zero: float | None = None,
    outputs: Any = None,
    weight_scale: float = 0.0,
) -> CheckResult:
    """Check the first loss of a regression: RNN301, RNN302 and RNN303.

    Parameters
    ----------
    loss:
        The first loss.
    targets, outputs:
        Numbers of the same shape, in any order of the axes except the last; ``outputs`` is None if not observed.
    counts:
        The numbers of terms that the loss may be a sum over, by name.
    at_zero:
        The loss with all parameters at zero, and so with outputs of 0; None without a closure.
    weight_scale:
        The scale of the output weights.

    Example
    -------
    >>> targets = np.array([[1.0, -2.0], [0.5, 1.5]])
    >>> finding = check_regression_loss(40.0, targets, counts={"the batch size": 16.0}, at_zero=30.0).finding
    >>> print(finding.message)
    the loss is 16 times a mean, and 16 is the batch size:
    with all parameters at zero it is 30 = 16 x mean(y^2)
    """
    square = float(np.mean(np.square(targets, dtype=np.float64)))
    if not square or not math.isfinite(square):
        return CheckResult(cannot_tell=dict.fromkeys(("RNN301", "RNN302", "RNN303"), "all targets are 0"))
    errors = _aligned_errors(outputs, targets)
    height = {"RNN303": f"the first loss, {loss:.4g}, is {loss / square:.3g} times the mean squared target"}
    for value, differences, words in (
        (at_zero, targets, "with all parameters at zero it is"),
        (loss, errors, "the first loss is"),
    ):
        if value is None or differences is None:
            continue
        for formula, error, name, count in _errors(differences, counts, "y" if differences is targets else "error"):
            if abs(value - error) > REGRESSION_LOSS.match_tolerance * error:
                continue
            arithmetic = f"{words} {value:.6g} = {formula}"
            if name:
                return CheckResult(finding=_summed(count, name, arithmetic, loss), checked={"RNN302": arithmetic})
            high = loss / square >= REGRESSION_LOSS.smallest_faulty_ratio and not _targets_are_small(
                loss, square, weight_scale
            )
            finding = _large_outputs(loss, square, weight_scale) if high else None
            identified = {"RNN301": arithmetic, "RNN302": arithmetic}
            return CheckResult(finding=finding, checked=identified if finding else {**identified, **height})
    return _signed_error(targets, at_zero, errors, loss) or _by_height(
        loss, square, counts, weight_scale, height, closure=at_zero is not None
    )


def _signed_error(targets: Array, at_zero: float | None, errors: Array | None, loss: float) -> CheckResult | None:
    """RNN302 if the loss is the mean or the sum of the errors themselves, without a square or an absolute value."""
    for value, differences, what in ((at_zero, targets, "y"), (loss, errors, "error")):
        mean = 0.0 if differences is None else float(np.mean(differences, dtype=np.float64))
        if value is None or differences is None or not mean:
            continue
        for formula, error in ((f"mean({what})", mean), (f"the sum of {what}", mean * differences.size)):
            if math.isclose(abs(value), abs(error), rel_tol=REGRESSION_LOSS.match_tolerance):
                where = "with all parameters at zero it is" if what == "y" else "the first loss is"
                sign = "-" if value * error < 0.0 else ""
                finding = Finding(
                    "RNN302",
                    f"the loss is the mean of signed errors: {where} {value:.6g} = {sign}{formula}; it has no minimum",
                    {"loss": value, "expected": float(np.mean(np.square(differences, dtype=np.float64)))},
                    cause="errors of opposite signs cancel",
                    remedy="square the errors, or take their absolute values, before the mean",
                )
                return CheckResult(finding=finding)
    return None


def _by_height(
    loss: float,
    square: float,
    counts: Mapping[str, float],
    weight_scale: float,
    height: dict[str, str],
    *,
    closure: bool,
) -> CheckResult:
    """Check a first loss that no exact error explains."""
    ratio, evidence = loss / square, "pass closure= to run.backward, or run.observe(logits=...) with the outputs"
    unknown = dict.fromkeys(("RNN301", "RNN302"), evidence)
    if closure:
        unknown = dict.fromkeys(unknown, "the loss with outputs of 0 is no squared or absolute error of the targets")
    if ratio <= REGRESSION_LOSS.largest_mean_ratio:
        return CheckResult(
            checked=height, cannot_tell=unknown if closure else {}, not_checked={} if closure else unknown
        )
    near = {name: abs(math.log(ratio / count)) for name, count in counts.items()}
    name = min(near, key=near.__getitem__, default="")
    arithmetic = f"the first loss is {loss:.4g} = {ratio:.3g} x mean(y^2)"
    small = _targets_are_small(loss, square, weight_scale)
    summed = (
        not small
        and name
        and near[name] <= math.log(REGRESSION_LOSS.summed_factor)
        and 0.0 < weight_scale <= LARGE_WEIGHTS
    )
    if summed and ratio >= REGRESSION_LOSS.smallest_summed_ratio:
        return CheckResult(finding=_summed(counts[name], name, arithmetic, loss))
    if ratio < REGRESSION_LOSS.smallest_faulty_ratio:
        why = f"{height['RNN303']}, and healthy networks reach {REGRESSION_LOSS.largest_mean_ratio:g}"
        return CheckResult(cannot_tell=dict.fromkeys(("RNN301", "RNN302", "RNN303"), why))
    if small:
        why = f"{height['RNN303']}, as output weights of a scale of {weight_scale:.3g} explain"
        return CheckResult(cannot_tell=dict.fromkeys(("RNN301", "RNN302", "RNN303"), why))
    if not weight_scale:
        why = f"{height['RNN303']}, and no parameters show whether the output weights or a sum cause it"
        return CheckResult(cannot_tell=dict.fromkeys(("RNN301", "RNN302", "RNN303"), why))
    if weight_scale > LARGE_WEIGHTS or not name or near[name] > math.log(REGRESSION_LOSS.largest_mean_ratio):
        return CheckResult(finding=_large_outputs(loss, square, weight_scale))
    return CheckResult(finding=_summed(counts[name], name, arithmetic, loss))


def _targets_are_small(loss: float, square: float, weight_scale: float) -> bool:
    """Whether output weights that are not large explain a first loss far above the mean squared target."""
    return weight_scale <= LARGE_WEIGHTS and loss <= square + REGRESSION_LOSS.weights_factor * weight_scale**2


def _errors(differences: Array, counts: Mapping[str, float], what: str) -> Iterator[tuple[str, float, str, float]]:
    """Formula, value, and the name and number of terms, of means first and then of sums."""
    square = float(np.mean(np.square(differences, dtype=np.float64)))
    means = [
        (f"mean({what}^2)", square),
        (f"mean({what}^2) / 2", square / 2),
        (f"mean(|{what}|)", float(np.mean(np.abs(differences), dtype=np.float64))),
        (f"the root of mean({what}^2)", math.sqrt(square)),
    ]
    outputs = differences.shape[-1] if differences.ndim > 2 else 1
    for formula, value in means:
        yield formula, value, "", 1.0
        if outputs > 1:  # a sum over the outputs of one step is a convention
            yield f"{outputs} x {formula}", outputs * value, "", 1.0
    for formula, value in means:
        for name, count in counts.items():
            yield f"{count:g} x {formula}", count * value, name, count
            if outputs > 1:
                yield f"{count:g} x {outputs} x {formula}", count * outputs * value, name, count


def _aligned_errors(outputs: Any, targets: Array) -> Array | None:
    """Outputs minus targets; None if their shapes do not agree, up to the order of the first two axes."""
    try:
        found = np.asarray(outputs)
    except ValueError:  # rows of different lengths
        return None
    if found.dtype.kind != "f" or found.size != targets.size:
        return None
    ways = [found, found.swapaxes(0, 1)] if found.ndim > 1 else [found]
    ways = [one for one in ways if [n for n in one.shape if n > 1] == [n for n in targets.shape if n > 1]]
    if len(ways) != 1 and not (ways and np.array_equal(ways[0], ways[-1])):
        return None if not ways or min(found.shape[:2]) > 1 else found.reshape(targets.shape) - targets
    errors: Array = ways[0].reshape(targets.shape) - targets
    return errors


def _summed(count: float, name: str, arithmetic: str, loss: float) -> Finding:
    return Finding(
        "RNN301",
        f"the loss is {count:g} times a mean, and {count:g} is {name}: {arithmetic}",
        {"loss": loss, "factor": count, "expected_factor": 1.0},
        remedy=f"divide the loss and its gradients by {count:g}, {name}",
    )


def _large_outputs(loss: float, square: float, weight_scale: float) -> Finding:
    ratio = loss / square
    return Finding(
        "RNN303",
        f"the first loss is {ratio:.3g} times that of outputs of 0: {loss:.4g} instead of {square:.4g}, the mean "
        f"squared target; the scale of the output weights is {weight_scale:.3g}, typical is 0.6",
        {"loss": loss, "expected": square, "ratio": ratio, "weight_scale": weight_scale},
        remedy=f"divide the output weights by about {math.sqrt(ratio):.2g}, or scale the targets to a variance of 1",
    )
