"""Gradients beside the loss: right ones pass in every dtype and network, and each way of being wrong has its name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncallbacks.core.closure import ClosureError, evaluate_closure, restore_afterwards
from rnncallbacks.detectors.gradient.directional import DirectionalDerivatives
from rnncallbacks.detectors.gradient.gradient_error import classify_gradient, predicts_change
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel


def a_network(seed=0, *, hidden_size=16, seq_len=9, batch_size=4, dtype="float64", nonlinearity="tanh"):
    """A loss as a function without arguments, parameters, and gradients that may be spoilt."""
    generator = np.random.default_rng(seed)
    model = RecurrentModel(hidden_size, vocab_size=7, seed=seed, dtype=dtype, nonlinearity=nonlinearity)
    tokens = generator.integers(7, size=(seq_len + 1, batch_size))
    batch, state = SequenceBatch(tokens[:-1], tokens[1:]), model.zero_state(batch_size)
    loss, _ = model.forward(batch, state)
    gradients = {name: array.copy() for name, array in model.backward().items()}
    return lambda: model.reevaluate(batch, state), dict(model.parameters), gradients, loss


def error_of(closure, params, gradients, loss):
    before = {name: array.tobytes() for name, array in params.items()}
    error = classify_gradient(DirectionalDerivatives(closure, params, gradients, loss))
    assert {name: array.tobytes() for name, array in params.items()} == before
    return error


@settings(max_examples=40)
@given(
    st.integers(0, 1000),
    st.sampled_from([2, 16, 64]),
    st.integers(1, 30),
    st.integers(1, 8),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["tanh", "relu"]),
)
def test_right_gradients_are_never_called_wrong(seed, hidden_size, seq_len, batch_size, dtype, nonlinearity):
    network = a_network(
        seed,
        hidden_size=hidden_size,
        seq_len=seq_len,
        batch_size=batch_size,
        dtype=dtype,
        nonlinearity=nonlinearity,
    )
    assert error_of(*network).kind in ("correct", "inconclusive")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_gradient_is_called_right(dtype):
    assert error_of(*a_network(dtype=dtype)).kind == "correct"


@pytest.mark.parametrize("factor", [4.0, 20.0, 1 / 20, -1.0])
def test_one_factor_in_every_array_is_a_scale(factor):
    closure, params, gradients, loss = a_network()
    error = error_of(closure, params, {name: factor * one for name, one in gradients.items()}, loss)
    assert error.kind == "scaled"
    assert error.ratio == pytest.approx(1 / factor, rel=1e-3)


@pytest.mark.parametrize("name", ["rnn.weight_hh_l0", "rnn.weight_ih_l0", "head.weight"])
def test_a_wrong_array_is_named(name):
    closure, params, gradients, loss = a_network()
    gradients[name] = np.random.default_rng(1).permutation(gradients[name].ravel()).reshape(gradients[name].shape)
    error = error_of(closure, params, gradients, loss)
    assert (error.kind, error.array) == ("wrong", name)
    assert error.cosine < 0.99


def test_an_array_whose_gradient_is_zero_is_named():
    closure, params, gradients, loss = a_network()
    gradients["rnn.weight_hh_l0"] = np.zeros_like(gradients["rnn.weight_hh_l0"])
    error = error_of(closure, params, gradients, loss)
    assert (error.kind, error.array) == ("zero", "rnn.weight_hh_l0")


def test_a_factor_that_is_known_is_foreseen():
    closure, params, gradients, loss = a_network()
    assert predicts_change(DirectionalDerivatives(closure, params, gradients, loss))
    doubled = {name: 2.0 * one for name, one in gradients.items()}
    assert not predicts_change(DirectionalDerivatives(closure, params, doubled, loss))
    assert predicts_change(DirectionalDerivatives(closure, params, doubled, loss), 0.5)


def test_a_closure_that_does_not_see_the_parameters_cannot_be_asked():
    _closure, params, gradients, loss = a_network()
    with pytest.raises(ClosureError):
        classify_gradient(DirectionalDerivatives(lambda: loss, params, gradients, loss))


@pytest.mark.parametrize("answer", ["words", None, np.ones(3)])
def test_a_closure_that_gives_no_number_cannot_be_asked(answer):
    with pytest.raises(ClosureError, match="the closure failed"):
        evaluate_closure(lambda: answer)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_parameters_are_put_back_whatever_happens(error):
    weights = [np.array([1.0, -0.0, np.nan]), np.ones(2, dtype=np.float32)]
    before = [one.tobytes() for one in weights]

    def spoil():
        with restore_afterwards(weights):
            for one in weights:
                one[...] = 7.0
            raise error

    with pytest.raises(error):
        spoil()
    assert [one.tobytes() for one in weights] == before


def two_layers(*, uses_b1=True):
    """A tanh layer and a linear one with their gradients; without ``uses_b1`` the second bias stands for the first."""
    generator = np.random.default_rng(0)
    shapes = {"w1": (5, 4), "b1": (5, 1), "w2": (5, 5), "b2": (5, 1)}
    params = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    x, y = generator.normal(size=(4, 8)), 4.0 * generator.normal(size=(5, 8))

    def forward():
        h = np.tanh(params["w1"] @ x + params["b1" if uses_b1 else "b2"])
        return h, params["w2"] @ h + params["b2"] - y

    h, errors = forward()
    d = 2.0 * errors / errors.size
    z = params["w2"].T @ d * (1.0 - h**2)
    grads = {"w1": z @ x.T, "b1": z.sum(1, keepdims=True), "w2": d @ h.T, "b2": d.sum(1, keepdims=True)}
    return lambda: float((forward()[1] ** 2).mean()), params, grads, float((errors**2).mean())


def test_an_array_that_the_loss_never_reads_is_named_and_the_rest_is_checked():
    error = error_of(*two_layers(uses_b1=False))
    assert (error.kind, error.array, error.others, error.right) == ("unused", "b1", ("b2",), ("w1", "w2"))


@pytest.mark.parametrize("name", ["b1", "b2", "w1", "w2"])
def test_one_array_that_is_too_short_is_no_truncation(name):
    closure, params, gradients, loss = two_layers()
    gradients[name] = gradients[name] / 1.8
    error = error_of(closure, params, gradients, loss)
    assert (error.kind, error.array, error.others) == ("wrong", name, ())
    assert set(error.right) == set(params) - {name}
