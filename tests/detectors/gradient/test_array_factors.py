"""Factors of single arrays: constant ones are named, and those of clipping, momentum and decay are not."""

import numpy as np
import pytest

from rnncallbacks.detectors.gradient.array_factors import ArrayFactors
from rnncallbacks.detectors.gradient.update_tracker import UpdateTracker

SHAPES = {"Wxh": (4, 3), "Whh": (4, 4), "Why": (3, 4), "b": (4,)}


def factors_of(update, updates=4, dtype=np.float64):
    """The factors of updates, by a function of the gradients, the number of the update and the parameters."""
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()}
    factors = ArrayFactors()
    for number in range(updates):
        grads = {name: rng.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()}
        before = {name: array.copy() for name, array in params.items()}
        for name, step in update(grads, number, params).items():
            params[name] -= step.astype(dtype)
        factors.add(before, params, grads)
    return factors


def scaled(grads, number, params):
    return {name: (0.05 if name == "Whh" else 0.1) / (1 + number) * grad for name, grad in grads.items()}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_array_whose_gradient_is_scaled_in_every_update_is_named(dtype):
    assert factors_of(scaled, dtype=dtype).uneven == {"Whh": pytest.approx(0.5, rel=1e-2)}
    assert "'Whh' with 0.5 times" in factors_of(scaled).doubts()["RNN404"]
    assert not factors_of(scaled, updates=1).uneven


def clipped_by_norm(grads, number, params):
    norm = np.sqrt(sum(np.vdot(grad, grad) for grad in grads.values()))
    return {name: 0.1 * min(1.0, 2.0 / norm) * grad for name, grad in grads.items()}


def clipped_each(grads, number, params):
    return {name: 0.1 * min(1.0, 2.0 / np.linalg.norm(grad)) * grad for name, grad in grads.items()}


HEALTHY = {
    "plain": lambda grads, number, params: {name: 0.1 * grad for name, grad in grads.items()},
    "norm": clipped_by_norm,
    "norm of each array": clipped_each,
    "entries": lambda grads, number, params: {name: 0.1 * np.clip(grad, -1, 1) for name, grad in grads.items()},
    "signs": lambda grads, number, params: {name: 0.1 * np.sign(grad) for name, grad in grads.items()},
    "decay": lambda grads, number, params: {name: 0.1 * (grad + 0.3 * params[name]) for name, grad in grads.items()},
    "frozen": lambda grads, number, params: {"Wxh": 0.1 * grads["Wxh"], "b": 0.1 * grads["b"]},
    "at rest": lambda grads, number, params: {},
    "sometimes": lambda grads, number, params: (
        scaled(grads, number, params) if number else HEALTHY["plain"](grads, 0, {})
    ),
}


@pytest.mark.parametrize("update", HEALTHY.values(), ids=HEALTHY)
def test_other_updates_have_no_factor_of_an_array(update):
    assert factors_of(update).uneven == {}


def test_an_array_with_a_factor_of_its_own_is_not_clipped():
    tracker, params = UpdateTracker(), {name: np.ones(shape) for name, shape in SHAPES.items()}
    for length in (0.1, 50.0):
        grads = {name: length * array for name, array in params.items()}
        tracker.keep(params, grads)
        for name, step in scaled(grads, 0, {}).items():
            params[name] = params[name] - step
        update = tracker.measure(params, learning_rate=0.1, max_norm=5.0)
    assert not update.scaled_down
