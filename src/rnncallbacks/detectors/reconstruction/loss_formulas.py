"""Losses of a network's outputs, and their derivatives: cross-entropies and squared error, as mean or as sum."""

from __future__ import annotations

from functools import lru_cache

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array

EPSILONS = (0.0, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-15)
"""Numbers that scripts add to a probability before they take its logarithm."""


@attrs.frozen
class LossFormula:
    """A loss: the mean over all positions, with ``epsilon`` in the logarithm of a cross-entropy, times ``factor``.

    ``classes`` is true for the cross-entropy of a softmax, ``binary`` for that of sigmoids; else it is a squared error.
    ``signed`` is 1 or -1 for the mean of the errors themselves, by mistake.
    ``twice`` says that the softmax is applied to its own probabilities, by mistake, and ``brier`` that the loss is the
    squared error of the softmax against the one-hot target.
    ``factor_name`` names the count that the mean was multiplied or divided by.
    """

    classes: bool
    binary: bool = False
    signed: int = 0
    twice: bool = False
    brier: bool = False
    epsilon: float = 0.0
    factor_name: str = ""
    power: int = 1
    halved: bool = False

    def factor(self, outputs: Array) -> float:
        """The number by which the mean is multiplied, for outputs of shape (time, batch, outputs)."""
        counts = _counts(outputs.shape[0], outputs.shape[1], outputs.shape[2])
        count = counts[self.factor_name] ** self.power if self.factor_name else 1.0
        return count * (0.5 if self.halved else 1.0)

    def value(self, outputs: Array, targets: Array) -> float:
        """The loss of outputs (time, batch, outputs) for classes (time, batch), or numbers of the outputs' shape."""
        if self.binary:
            return self.factor(outputs) * float(np.mean(np.logaddexp(0.0, outputs) - targets * outputs))
        if self.signed:
            return self.signed * self.factor(outputs) * float(np.mean(outputs - targets))
        if not self.classes:
            return self.factor(outputs) * float(np.mean(np.square(outputs - targets)))
        if self.brier:
            errors = _one_hot_errors(outputs, targets)[targets >= 0]
            return self.factor(outputs) * float(np.mean(np.square(errors)))
        logarithms = _log_probabilities(_softmax(outputs) if self.twice else outputs, targets)
        if self.epsilon:
            logarithms = np.log(np.exp(logarithms) + self.epsilon)
        return -self.factor(outputs) * float(np.mean(logarithms[targets >= 0]))

    def derivative(self, outputs: Array, targets: Array) -> Array:
        """The derivative of the loss by the outputs."""
        if self.binary:
            probabilities = 0.5 * (np.tanh(0.5 * outputs) + 1.0)
            return np.asarray(self.factor(outputs) * (probabilities - targets) / outputs.size)
        if self.signed:
            return np.full(outputs.shape, self.signed * self.factor(outputs) / outputs.size)
        if not self.classes:
            return np.asarray(self.factor(outputs) * 2.0 * (outputs - targets) / outputs.size)
        if self.twice:
            first = _softmax(outputs)
            by_first = attrs.evolve(self, twice=False).derivative(first, targets)
            return np.asarray(first * (by_first - (first * by_first).sum(axis=-1, keepdims=True)))
        counted = targets >= 0
        scale = counted[..., None] * (self.factor(outputs) / np.count_nonzero(counted))
        errors = _one_hot_errors(outputs, targets)
        if self.brier:
            first = _softmax(outputs)
            by_first = 2.0 * errors / outputs.shape[-1]
            return np.asarray(first * (by_first - (first * by_first).sum(axis=-1, keepdims=True)) * scale)
        return np.asarray(errors * scale)


def matching_formula(outputs: Array, targets: Array, loss: float, tolerance: float) -> LossFormula | None:
    """The formula that gives this loss, within a relative tolerance; None if none does.

    Example
    -------
    >>> outputs, targets = np.zeros((3, 2, 5)), np.zeros((3, 2), dtype=int)
    >>> matching_formula(outputs, targets, 3 * np.log(5), tolerance=1e-9).factor_name
    'the number of time steps'
    """
    factors = formula_factors(*outputs.shape)
    if targets.dtype.kind not in "iu":
        return _squared_error_or_binary(outputs, targets, loss, tolerance, factors)
    counted = targets >= 0
    if not counted.any():
        return None
    probabilities = _softmax(outputs)
    logarithms = _log_probabilities(outputs, targets)[counted]
    unhalved = factors[: len(factors) // 2]
    found = _with_epsilon(logarithms, loss, tolerance, unhalved)
    if found is not None:
        return found
    twice = -float(np.mean(_log_probabilities(probabilities, targets)[counted]))
    found = _with_factor(twice, loss, tolerance, unhalved, LossFormula(classes=True, twice=True))
    if found is not None:
        return found
    squares = np.square(probabilities).sum(axis=-1)[counted] - 2.0 * np.exp(logarithms) + 1.0
    brier = float(np.mean(squares)) / outputs.shape[-1]
    return _with_factor(brier, loss, tolerance, factors, LossFormula(classes=True, brier=True))


def _squared_error_or_binary(
    outputs: Array, targets: Array, loss: float, tolerance: float, factors: Array
) -> LossFormula | None:
    squared = LossFormula(classes=False)
    found = _with_factor(squared.value(outputs, targets), loss, tolerance, factors, squared)
    unhalved = factors[: len(factors) // 2]
    if found is None:
        signed = LossFormula(classes=False, signed=1 if loss * float(np.mean(outputs - targets)) > 0.0 else -1)
        found = _with_factor(signed.value(outputs, targets), loss, tolerance, unhalved, signed)
    if found is not None or not ((targets == 0.0) | (targets == 1.0)).all():
        return found
    binary = LossFormula(classes=False, binary=True)
    return _with_factor(binary.value(outputs, targets), loss, tolerance, unhalved, binary)


def _with_epsilon(logarithms: Array, loss: float, tolerance: float, factors: Array) -> LossFormula | None:
    """The cross-entropy that gives this loss, with or without a number in the logarithm."""
    mean = -float(np.mean(logarithms))
    found = _with_factor(mean, loss, tolerance, factors, LossFormula(classes=True))
    if found is not None:
        return found
    # The mean falls as the number grows: between its values at the smallest and the largest, others may fit.
    probabilities = np.exp(logarithms)
    lowest, reach = -float(np.mean(np.log(probabilities + max(EPSILONS)))), tolerance * abs(loss)
    if not ((factors * lowest <= loss + reach) & (factors * mean >= loss - reach)).any():
        return None
    for epsilon in EPSILONS[1:]:
        mean = -float(np.mean(np.log(probabilities + epsilon)))
        found = _with_factor(mean, loss, tolerance, factors, LossFormula(classes=True, epsilon=epsilon))
        if found is not None:
            return found
    return None


def _with_factor(mean: float, loss: float, tolerance: float, factors: Array, plain: LossFormula) -> LossFormula | None:
    """The formula with the first of these factors that gives this loss; None if none does."""
    fitting = np.abs(mean * factors - loss) <= tolerance * abs(loss)
    if not fitting.any():
        return None
    name, power, halved = _VARIANTS[int(fitting.argmax())]
    return attrs.evolve(plain, factor_name=name, power=power, halved=halved)


@lru_cache(maxsize=64)
def formula_factors(steps: int, rows: int, outputs: int) -> Array:
    """The factors of all variants of a formula, those that halve it last."""
    counts = _counts(steps, rows, outputs)
    return np.array(
        [(counts[name] ** power if name else 1.0) * (0.5 if halved else 1.0) for name, power, halved in _VARIANTS]
    )


def _counts(steps: int, rows: int, outputs: int) -> dict[str, float]:
    return {
        "the number of time steps": float(steps),
        "the batch size": float(rows),
        "the positions of the batch": float(steps * rows),
        "the number of outputs": float(outputs),
        "the numbers of a step": float(rows * outputs),
        "all numbers of the batch": float(steps * rows * outputs),
    }


_VARIANTS = tuple(
    (name, power, halved)
    for halved in (False, True)
    for name in ("", *_counts(1, 1, 1))
    for power in ((1, -1) if name else (1,))
)
"""The name and power of a formula's factor, and whether it is halved."""


def _softmax(outputs: Array) -> Array:
    probabilities = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return np.asarray(probabilities / probabilities.sum(axis=-1, keepdims=True))


def _one_hot_errors(outputs: Array, targets: Array) -> Array:
    """The softmax minus the one-hot target, which is that of class 0 where there is none."""
    errors = _softmax(outputs)
    errors[_places(targets)] -= 1.0
    return errors


def _log_probabilities(outputs: Array, targets: Array) -> Array:
    """The logarithm of the softmax probability of each target; of class 0 where there is none."""
    highest = outputs.max(axis=-1)
    sums = np.exp(outputs - highest[..., None]).sum(axis=-1)
    return np.asarray(outputs[_places(targets)] - highest - np.log(sums))


def _places(targets: Array) -> tuple[Array, Array, Array]:
    """The indices of the targets' outputs: faster than ``np.take_along_axis``, which takes longer than the softmax."""
    steps, rows = targets.shape
    return np.arange(steps)[:, None], np.arange(rows), np.maximum(targets, 0)
