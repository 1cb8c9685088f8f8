"""Losses as scripts compute them, with their derivatives: correct ones, and common mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from rnncallbacks.arrays.containers import Array

LossWithDerivative: TypeAlias = Callable[[Array, Array], tuple[float, Array]]
"""From outputs and targets to the mean loss and its derivative with respect to the outputs. Classes are given as
one-hot vectors, so that both arguments have the same shape."""


def _softmax(values: Array) -> Array:
    e = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _through_softmax(p: Array, d_p: Array) -> Array:
    """The derivative with respect to the arguments of the softmax."""
    return np.asarray(p * (d_p - (d_p * p).sum(axis=-1, keepdims=True)))


def _positions(outputs: Array) -> int:
    return int(np.prod(outputs.shape[:-1]))


def negative_log_likelihood(outputs: Array, hot: Array) -> tuple[float, Array]:
    """The mean of -ln of the softmax probability of each target."""
    p = _softmax(outputs)
    return float(-np.sum(np.log(p + 1e-12) * hot) / _positions(outputs)), (p - hot) / _positions(outputs)


def mean_squared_error(outputs: Array, targets: Array) -> tuple[float, Array]:
    """The mean squared difference."""
    error = outputs - targets
    return float(np.mean(error**2)), 2.0 * error / error.size


def brier_score(outputs: Array, hot: Array) -> tuple[float, Array]:
    """The mean over positions of the summed squared differences of softmax probabilities and one-hot targets."""
    p = _softmax(outputs)
    value = float(np.sum((p - hot) ** 2) / _positions(outputs))
    return value, _through_softmax(p, 2.0 * (p - hot) / _positions(outputs))


def negative_likelihood(outputs: Array, hot: Array) -> tuple[float, Array]:
    """The mean of -p of each target: the logarithm is missing."""
    p = _softmax(outputs)
    return float(-np.sum(p * hot) / _positions(outputs)), _through_softmax(p, -hot / _positions(outputs))


def softmax_twice(outputs: Array, hot: Array) -> tuple[float, Array]:
    """The negative log-likelihood under the softmax of the softmax."""
    p = _softmax(outputs)
    value, d_p = negative_log_likelihood(p, hot)
    return value, _through_softmax(p, d_p)


def smoothed(share: float) -> LossWithDerivative:
    """The negative log-likelihood with a share of each target spread evenly over the classes."""

    def objective(outputs: Array, hot: Array) -> tuple[float, Array]:
        return negative_log_likelihood(outputs, (1.0 - share) * hot + share / hot.shape[-1])

    return objective


CORRECT: Mapping[str, LossWithDerivative] = MappingProxyType(
    {"classes": negative_log_likelihood, "real": mean_squared_error}
)
"""The loss of each kind of task."""
