"""Optimizers of the custom loop, written from scratch: each updates a dictionary of arrays in place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnncallbacks.testing.scratch_rnn import Params

Update = Callable[[Params, Params, float], None]


def make_update(optimizer: str, params: Params) -> Update:
    """A function of parameters, gradients and learning rate that makes one update and holds the optimizer's state.

    Raises
    ------
    KeyError
        There is no optimizer of this name.
    """
    first = {name: np.zeros_like(array) for name, array in params.items()}
    second = {name: np.zeros_like(array) for name, array in params.items()}
    steps = 0

    def sgd(params: Params, grads: Params, rate: float) -> None:
        for name, grad in grads.items():
            params[name] -= rate * grad

    def momentum(params: Params, grads: Params, rate: float) -> None:
        for name, grad in grads.items():
            first[name] = 0.9 * first[name] + grad
            params[name] -= rate * first[name]

    def adagrad(params: Params, grads: Params, rate: float) -> None:
        for name, grad in grads.items():
            second[name] += grad * grad
            params[name] -= rate * grad / np.sqrt(second[name] + 1e-8)

    def rmsprop(params: Params, grads: Params, rate: float) -> None:
        for name, grad in grads.items():
            second[name] = 0.99 * second[name] + 0.01 * grad * grad
            params[name] -= rate * grad / (np.sqrt(second[name]) + 1e-8)

    def adam(params: Params, grads: Params, rate: float) -> None:
        nonlocal steps
        steps += 1
        for name, grad in grads.items():
            first[name] = 0.9 * first[name] + 0.1 * grad
            second[name] = 0.999 * second[name] + 0.001 * grad * grad
            mean, square = first[name] / (1 - 0.9**steps), second[name] / (1 - 0.999**steps)
            params[name] -= rate * mean / (np.sqrt(square) + 1e-8)

    return {"sgd": sgd, "momentum": momentum, "adam": adam, "adagrad": adagrad, "rmsprop": rmsprop}[optimizer]
