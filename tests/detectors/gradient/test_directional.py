"""Movements of parameters: what is measured, what is left out, and when nothing can be concluded."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.core.closure import ClosureError
from rnncallbacks.detectors.gradient.clipped import ClippingBounds
from rnncallbacks.detectors.gradient.directional import DirectionalDerivatives, is_matrix, perturbable_params
from rnncallbacks.detectors.gradient.gradient_error import classify_gradient

seeds = st.integers(0, 2**16)


def a_valley(seed=0, dtype="float64", penalty=0.0):
    """A smooth loss of two arrays, and its gradients with what a penalty adds to them."""
    generator = np.random.default_rng(seed)
    params = {"w": generator.normal(size=(6, 4)).astype(dtype), "b": generator.normal(size=4).astype(dtype)}
    scale = generator.normal(size=(6, 4))

    def loss():
        inside = np.tanh(params["w"]) * scale
        return 20.0 + float((inside.sum(axis=0) + params["b"]) @ np.sin(params["b"]))

    sines = np.sin(params["b"])
    gradients = {
        "w": (1 - np.tanh(params["w"]) ** 2) * scale * sines + penalty * params["w"],
        "b": sines + ((np.tanh(params["w"]) * scale).sum(axis=0) + params["b"]) * np.cos(params["b"]),
    }
    return loss, params, {name: gradient.astype(dtype) for name, gradient in gradients.items()}


@given(seeds, st.sampled_from(["float32", "float64"]))
def test_right_gradients_foresee_each_movement(seed, dtype):
    loss, params, gradients = a_valley(seed, dtype)
    derivatives = DirectionalDerivatives(loss, params, gradients, loss())
    comparison = derivatives.compare(derivatives.step_factors[0])
    assert comparison.confirms_gradients
    assert comparison.ratio == pytest.approx(1.0, abs=0.01)
    assert (
        not DirectionalDerivatives(loss, params, {"w": gradients["w"] * 1.3, "b": gradients["b"]}, loss())
        .compare(0.3)
        .confirms_gradients
    )


@given(seeds)
def test_movements_leave_no_trace(seed):
    loss, params, gradients = a_valley(seed)
    before = {name: array.tobytes() for name, array in params.items()}
    derivatives = DirectionalDerivatives(loss, params, gradients, loss())
    derivatives.compare(1.0)
    derivatives.along_params()
    assert {name: array.tobytes() for name, array in params.items()} == before


@given(seeds, st.floats(1e-4, 0.1))
def test_weight_decay_in_the_gradients_alone_is_no_error(seed, penalty):
    loss, params, gradients = a_valley(seed, penalty=penalty)
    assert classify_gradient(DirectionalDerivatives(loss, params, gradients, loss())).kind == "correct"


def test_entries_that_were_clipped_are_not_moved():
    loss, params, gradients = a_valley()
    bound = float(np.median(np.abs(gradients["w"])))
    clipped = {name: np.clip(gradient, -bound, bound) for name, gradient in gradients.items()}
    assert classify_gradient(DirectionalDerivatives(loss, params, clipped, loss())).kind != "correct"
    clipping = ClippingBounds(entries={name: np.abs(gradient) >= bound for name, gradient in clipped.items()})
    assert classify_gradient(DirectionalDerivatives(loss, params, clipped, loss(), clipping=clipping)).kind == "correct"


def test_where_the_loss_is_at_a_kink_nothing_is_concluded():
    params = {"w": np.zeros(50)}
    gradients = {"w": np.ones(50)}  # a subgradient of the sum of the positive parts

    def loss():
        return 1.0 + float(np.maximum(params["w"], 0.0).sum())

    assert not DirectionalDerivatives(loss, params, gradients, 1.0).compare(1.0).is_conclusive
    assert classify_gradient(DirectionalDerivatives(loss, params, gradients, 1.0)).kind == "inconclusive"


def test_gradients_of_zero_say_nothing():
    loss, params, gradients = a_valley()
    zeros = {name: np.zeros_like(gradient) for name, gradient in gradients.items()}
    assert classify_gradient(DirectionalDerivatives(loss, params, zeros, loss())).kind == "inconclusive"


def test_many_arrays_are_looked_at_in_groups_and_the_worst_is_named():
    generator = np.random.default_rng(0)
    params = {f"w{place}": generator.normal(size=(5, 5)) for place in range(20)}
    gradients = {name: 2.0 * array for name, array in params.items()}
    gradients["w13"] = gradients["w13"].T.copy()
    calls = 0

    def loss():
        nonlocal calls
        calls += 1
        return float(sum((array**2).sum() for array in params.values()))

    error = classify_gradient(DirectionalDerivatives(loss, params, gradients, loss()))
    assert (error.kind, error.array) == ("wrong", "w13")
    assert calls < 120


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([7.0], "the closure gives the loss 7, and run.backward was given 2"),
        ([math.nan], "the closure gives the loss nan"),
        ([7.0, 8.0], "another loss at each call"),
        ([2.0], "does not see run.params"),
    ],
)
def test_why_a_closure_cannot_be_asked(answers, words):
    params = {"w": np.ones(3)}

    def closure():
        return answers.pop(0) if len(answers) > 1 else answers[0]

    with pytest.raises(ClosureError, match=words):
        DirectionalDerivatives(closure, params, {"w": np.ones(3)}, 2.0).compare(1.0)


def test_half_precision_and_nothing_at_all_cannot_be_asked():
    with pytest.raises(ClosureError, match="half precision"):
        DirectionalDerivatives(lambda: 1.0, {"w": np.ones(3, np.float16)}, {"w": np.ones(3, np.float16)}, 1.0)
    with pytest.raises(ClosureError, match="same names"):
        DirectionalDerivatives(lambda: 1.0, {}, {}, 1.0)


def test_a_parameter_that_the_closure_does_not_see_is_named():
    loss, params, gradients = a_valley()
    copied = {**params, "b": params["b"].copy()}
    error = classify_gradient(DirectionalDerivatives(loss, copied, gradients, loss()))
    assert (error.kind, error.array) == ("unused", "b")


def test_arrays_that_cannot_be_moved_alone_are_left_out():
    shared = np.ones((4, 3))
    frozen = np.ones(5)
    frozen.flags.writeable = False
    buffer = np.ones((3, 8))
    params = {
        "embedding": shared,
        "head": shared.T,
        "frozen": frozen,
        "tokens": np.arange(7),
        "left": buffer[:, :4],
        "correct": buffer[:, 4:],
        "w": np.ones(2),
    }
    gradients = {name: np.zeros(array.shape) for name, array in params.items()}
    assert set(perturbable_params(params, gradients)) == {"left", "correct", "w"}


def test_columns_are_vectors():
    assert [is_matrix(np.ones(shape)) for shape in ((3,), (3, 1), (1, 3), (3, 2), ())] == [0, 0, 0, 1, 0]
