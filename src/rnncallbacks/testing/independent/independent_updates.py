"""The optimizers of the independent scripts: each returns new arrays, which the script assigns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from rnncallbacks.arrays.containers import Array

OptimizerName: TypeAlias = Literal["sgd", "momentum", "adam", "adagrad", "rmsprop"]

BASE_RATES: Mapping[OptimizerName, float] = MappingProxyType(
    {"sgd": 0.3, "momentum": 0.05, "adam": 5e-3, "adagrad": 0.05, "rmsprop": 3e-3}
)
"""Learning rates with which most of the tasks are learned, chosen by eye."""


class IndependentOptimizer:
    """Computes the steps that an update subtracts from each array.

    Parameters
    ----------
    name:
        "sgd", "momentum", "adam", "adagrad" or "rmsprop".

    Attributes
    ----------
    updates:
        Number of updates so far.
    """

    def __init__(self, name: OptimizerName) -> None:
        self.name = name
        self._first: dict[str, Array] = {}
        self._second: dict[str, Array] = {}
        self.updates = 0

    def steps(self, grads: Mapping[str, Array], rate: float) -> dict[str, Array]:
        """The steps of one update, by the names of the gradients."""
        self.updates += 1
        return {name: self._step(name, grad, rate) for name, grad in grads.items()}

    def _step(self, name: str, grad: Array, rate: float) -> Array:
        first, second = self._first.get(name, np.zeros_like(grad)), self._second.get(name, np.zeros_like(grad))
        if self.name == "sgd":
            return rate * grad
        if self.name == "momentum":
            self._first[name] = 0.9 * first + grad
            return rate * self._first[name]
        if self.name == "adagrad":
            self._second[name] = second + grad**2
            return np.asarray(rate * grad / np.sqrt(self._second[name] + 1e-8))
        if self.name == "rmsprop":
            self._second[name] = 0.9 * second + 0.1 * grad**2
            return np.asarray(rate * grad / (np.sqrt(self._second[name]) + 1e-8))
        self._first[name] = 0.9 * first + 0.1 * grad
        self._second[name] = 0.999 * second + 0.001 * grad**2
        corrected = rate * math.sqrt(1 - 0.999**self.updates) / (1 - 0.9**self.updates)
        return np.asarray(corrected * self._first[name] / (np.sqrt(self._second[name]) + 1e-8))
