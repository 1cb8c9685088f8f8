r"""The uniform loss: the loss of a network whose softmax is uniform, which identifies the loss function and its scale.

With all parameters at zero, every softmax is uniform. The mean negative log-likelihood over V classes is then exactly
:math:`\ln V`, for any initial weights; smoothed labels and penalties do not change it. A sum over T time
steps and B sequences is :math:`T \ln V`, :math:`B \ln V` or :math:`T B \ln V`, and squared errors have exact values
too. The first loss of a network with small initial weights is close to these values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

UniformLossKind: TypeAlias = Literal["mean", "sum", "divided twice", "other function", "undecided"]
"""The kind of a loss: a mean negative log-likelihood; a sum; a mean that is divided by a count once more; another
function, such as a squared error; or undecided, because log2 V is a whole number if V is a power of 2, and so are sums
of squared errors."""


@attrs.frozen(kw_only=True)
class UniformLossThresholds:
    """Tolerances of the agreement of a loss with a uniform loss."""

    match_tolerance: float = 2e-5
    """Largest relative difference at zero parameters: rounding errors of sums in float32."""

    whole_multiple_tolerance: float = 1e-7
    """Largest relative difference from a whole multiple of ln V if no count is known; sums in float64 are closer."""

    smallest_first_ratio: float = 0.9
    """Smallest first loss of an untrained network, in units of its uniform loss: 0.94 was measured."""

    largest_summed_ratio: float = 1.12
    """Largest first loss of a sum over c terms, in units of c ln V: 1.03 was measured on untrained networks."""

    largest_mean_ratio: float = 1.5
    """Largest first loss of a mean, in units of ln V: 1.3 was measured on small networks."""

    smallest_summed_count: int = 4
    """Smallest c of a sum that the first loss alone can show: large initial weights may double the loss of a mean."""

    low_loss_spread: float = 1.12
    """Largest ratio of the largest to the smallest of the first losses, if they are a squared error: it hardly moves in
    three batches, and small negative log-likelihoods differ from batch to batch. Chosen by eye."""

    squared_error_tolerance: float = 0.01
    """Largest relative difference of a first loss from a squared error, for many classes; chosen by eye."""

    squared_error_tolerance_of_few: float = 0.5
    """Addition to that tolerance for V classes, in units of V^-1.5. Chosen by eye."""


UNIFORM_LOSS = UniformLossThresholds()

KINDS: tuple[UniformLossKind, ...] = ("mean", "sum", "divided twice", "other function")
"""The kinds in the order in which they are tried."""


OF_SOFTMAX = "of softmax and one-hot target"


@attrs.frozen
class UniformLoss:
    """A uniform loss that a loss agrees with.

    Parameters
    ----------
    kind:
        The kind of the loss, one of ``UniformLossKind``.
    value:
        The uniform loss: that of the mean, times or over ``factor``.
    formula:
        The uniform loss of the mean as a formula, such as ``"ln 36"`` or ``"(V - 1) / V^2"``.
    factor:
        The number of terms of a sum, or the count of a mean that is divided twice; otherwise 1.
    count:
        The name of the count ``factor``; empty if it is unknown.
    name:
        The name of another function.
    """

    kind: UniformLossKind
    value: float
    formula: str
    factor: float = 1.0
    count: str = ""
    name: str = ""


@attrs.frozen
class SquaredError:
    """A squared error of a uniform softmax, or of outputs of 0, against one-hot targets."""

    name: str
    formula: str
    value: float


def squared_errors(classes: int) -> list[SquaredError]:
    """The squared errors of a uniform softmax, and of outputs of 0, for ``classes`` classes, and half of each.

    Example
    -------
    >>> print(*(f"{one.formula} = {one.value}" for one in squared_errors(4)[:4]), sep=", ")
    (V - 1) / V^2 = 0.1875, (V - 1) / V = 0.75, 1 / V = 0.25, 1 = 1.0
    """
    of_outputs = "of outputs and one-hot target"
    errors = [
        SquaredError(f"the mean squared error {OF_SOFTMAX}", "(V - 1) / V^2", (classes - 1) / classes**2),
        SquaredError(f"the summed squared error {OF_SOFTMAX}", "(V - 1) / V", (classes - 1) / classes),
        SquaredError(f"the mean squared error {of_outputs}", "1 / V", 1 / classes),
        SquaredError(f"the summed squared error {of_outputs}", "1", 1.0),
    ]
    halves = [SquaredError(f"half {one.name}", f"{one.formula} / 2", one.value / 2) for one in errors]
    return errors + halves


def match_loss_at_zero(loss: float, candidates: Sequence[int], counts: Mapping[str, float]) -> UniformLoss | None:
    """The uniform loss that a loss at zero parameters agrees with; None if there is none.

    ``candidates`` are possible numbers of classes, and ``counts`` the possible numbers of terms of a sum, by name.

    Example
    -------
    >>> found = match_loss_at_zero(20 * math.log(36), (36,), {"the number of time steps": 20.0, "the batch size": 16.0})
    >>> found.kind, found.factor, found.count
    ('sum', 20.0, 'the number of time steps')
    >>> match_loss_at_zero(35 / 36**2, (36,), {}).name
    'the mean squared error of softmax and one-hot target'
    """
    near = [
        one
        for one in _uniform_losses(candidates, counts)
        if abs(loss - one.value) <= UNIFORM_LOSS.match_tolerance * abs(one.value)
    ]
    found = next((one for kind in KINDS for one in near if one.kind == kind), None)
    other = next((one for one in near if one.kind == "other function"), None)
    if found is None or other is None or found is other or found.formula.startswith("ln"):
        return found
    if found.kind == "divided twice":  # bits are rare, and bits that are divided twice are rarer than squared errors
        return other
    return UniformLoss("undecided", loss, f"{found.formula} and of {other.formula}", name=other.name)


def match_whole_multiple(loss: float, candidates: Sequence[int]) -> UniformLoss | None:
    """A loss at zero parameters as a sum over an unknown number of terms; None if it is not one.

    Example
    -------
    >>> match_whole_multiple(112 * math.log(4), (4,)).factor
    112.0
    >>> match_whole_multiple(112.3 * math.log(4), (4,)) is None
    True
    """
    for classes in candidates:
        factor = loss / math.log(classes)
        if round(factor) > 1 and abs(factor - round(factor)) <= UNIFORM_LOSS.whole_multiple_tolerance * factor:
            return UniformLoss("sum", loss, f"ln {classes}", float(round(factor)))
    return None


def match_first_loss(loss: float, candidates: Sequence[int], counts: Mapping[str, float]) -> UniformLoss | None:
    """The mean, or the sum over one of the counts, that the first loss of an untrained network is near to; or None.

    Example
    -------
    >>> match_first_loss(19.6 * math.log(36), (36,), {"the number of time steps": 20.0}).kind
    'sum'
    """
    ratios = [(loss / math.log(classes), classes) for classes in candidates]
    for ratio, classes in ratios:
        if UNIFORM_LOSS.smallest_first_ratio <= ratio <= UNIFORM_LOSS.largest_mean_ratio:
            for count in counts.values():
                of_sum = (
                    UNIFORM_LOSS.smallest_first_ratio <= ratio * classes / count <= UNIFORM_LOSS.largest_summed_ratio
                )
                if of_sum and count != classes:
                    formula = f"ln {classes} and of {count:g} x ln {classes} / {classes}"
                    return UniformLoss("undecided", loss, formula)
            return UniformLoss("mean", math.log(classes), f"ln {classes}")
    for ratio, classes in ratios:
        for name, count in counts.items():
            of_sum = UNIFORM_LOSS.smallest_first_ratio <= ratio / count <= UNIFORM_LOSS.largest_summed_ratio
            if count >= UNIFORM_LOSS.smallest_summed_count and of_sum:
                return UniformLoss("sum", count * math.log(classes), f"ln {classes}", count, name)
    return None


def match_low_losses(losses: Sequence[float], candidates: Sequence[int]) -> UniformLoss | None:
    """The squared error that the first losses agree with; None if they may be those of a trained network.

    The squared error of an untrained network is closer to that of a uniform softmax the more classes there are.
    """
    if max(losses) > UNIFORM_LOSS.low_loss_spread * min(losses):
        return None
    for classes in candidates:
        tolerance = UNIFORM_LOSS.squared_error_tolerance + UNIFORM_LOSS.squared_error_tolerance_of_few / classes**1.5
        for one in squared_errors(classes):
            if "softmax" in one.name and abs(losses[0] / one.value - 1.0) <= tolerance:
                return UniformLoss("other function", one.value, one.formula, name=one.name)
    return None


def _uniform_losses(candidates: Sequence[int], counts: Mapping[str, float]) -> Iterator[UniformLoss]:
    for classes in candidates:
        for formula, value in ((f"ln {classes}", math.log(classes)), (f"log2 {classes}", math.log2(classes))):
            yield UniformLoss("mean", value, formula)
            yield UniformLoss("other function", -value, f"-{formula}", name="the log-likelihood without its minus sign")
            for name, count in counts.items():
                yield UniformLoss("sum", value * count, formula, count, name)
                yield UniformLoss("divided twice", value / count, formula, count, name)
                if count > classes:
                    over = f"{name} divided by that of classes"
                    yield UniformLoss("sum", value * count / classes, formula, count / classes, over)
                elif count < classes:
                    over = f"the number of classes divided by {name}"
                    yield UniformLoss("divided twice", value * count / classes, formula, classes / count, over)
            yield UniformLoss("divided twice", value / classes, formula, classes, "the number of classes")
        for one in [
            *squared_errors(classes),
            SquaredError(f"the mean absolute error {OF_SOFTMAX}", "2 (V - 1) / V^2", 2 * (classes - 1) / classes**2),
            SquaredError(f"the summed absolute error {OF_SOFTMAX}", "2 (V - 1) / V", 2 * (classes - 1) / classes),
            SquaredError("the negative probability of the target", "-1 / V", -1 / classes),
        ]:
            yield UniformLoss("other function", one.value, one.formula, name=one.name)
            for name, count in counts.items():
                yield UniformLoss("other function", one.value * count, one.formula, count, name, one.name)
