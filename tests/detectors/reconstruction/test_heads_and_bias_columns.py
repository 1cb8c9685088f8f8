"""Networks with a layer between state and outputs, and with biases that are columns of matrices.

Their gradients agree with those of the loss, which is computed here by hand and differentiated by complex steps.
"""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.reconstruction.layer_states import zero_states
from rnncallbacks.detectors.reconstruction.recognized_network import recognized_networks

INPUTS, UNITS, HEAD, OUTPUTS, STEPS, ROWS = 3, 5, 4, 2, 6, 3
ACTIVATIONS = {
    "relu": lambda z: np.where(z.real > 0.0, z, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-z)),
    "softplus": lambda z: np.log1p(np.exp(z)),
}
ONE = {
    "plain": {"Wx": (UNITS, INPUTS), "Wh": (UNITS, UNITS), "b": (UNITS,)},
    "x h 1": {"W": (UNITS, INPUTS + UNITS + 1)},
    "1 h x": {"W": (UNITS, 1 + UNITS + INPUTS)},
    "x 1, h": {"Wx": (UNITS, INPUTS + 1), "Wh": (UNITS, UNITS)},
}
TWO = {"Wx2": (UNITS, UNITS), "Wh2": (UNITS, UNITS), "b2": (UNITS,)}


def affine(weights, *columns):
    """The product of a matrix with stacked columns, a 1 among them."""
    return np.concatenate([np.ones((1, ROWS)) if one is None else one for one in columns]).T @ weights.T


def loss_of(arrays, x, y, form, activation):
    h, h2, errors = np.zeros((ROWS, UNITS)), np.zeros((ROWS, UNITS)), 0.0
    for t in range(STEPS):
        if form == "plain":
            z = x[t] @ arrays["Wx"].T + h @ arrays["Wh"].T + arrays["b"]
        elif form == "x h 1":
            z = affine(arrays["W"], x[t].T, h.T, None)
        elif form == "1 h x":
            z = affine(arrays["W"], None, h.T, x[t].T)
        else:
            z = affine(arrays["Wx"], x[t].T, None) + h @ arrays["Wh"].T
        h = top = np.tanh(z)
        if "Wx2" in arrays:
            h2 = top = np.tanh(h @ arrays["Wx2"].T + h2 @ arrays["Wh2"].T + arrays["b2"])
        if "D" in arrays and arrays["D"].shape[1] == UNITS + 1:
            top = ACTIVATIONS[activation](affine(arrays["D"], top.T, None))
        elif "D" in arrays:
            top = ACTIVATIONS[activation](top @ arrays["D"].T + arrays.get("d", 0.0))
        outputs = affine(arrays["V"], top.T, None) if "c" not in arrays else top @ arrays["V"].T + arrays["c"]
        errors = errors + ((outputs - y[t]) ** 2).sum()
    return errors / y.size


def case(form, layers=1, head="", activation="tanh", columns=False, tokens=False):
    generator = np.random.default_rng(3)
    shapes = dict(ONE[form]) | (TWO if layers == 2 else {})
    if head:
        shapes |= {"D": (HEAD, UNITS + 1)} if columns else {"D": (HEAD, UNITS)}
        shapes |= {"d": (HEAD,)} if head == "with bias" else {}
    below = HEAD if head else UNITS
    shapes |= {"V": (OUTPUTS, below + 1)} if columns else {"V": (OUTPUTS, below), "c": (OUTPUTS,)}
    arrays = {name: generator.normal(0.0, 0.6, shape) for name, shape in shapes.items()}
    x, y = generator.normal(size=(STEPS, ROWS, INPUTS)), generator.normal(size=(STEPS, ROWS, OUTPUTS))
    if tokens:
        x = np.eye(INPUTS)[generator.integers(0, INPUTS, (STEPS, ROWS))]
    return arrays, x, y, loss_of(arrays, x, y, form, activation)


def true_gradients(arrays, x, y, form, activation):
    found = {name: np.zeros(array.shape) for name, array in arrays.items()}
    for name, array in arrays.items():
        for place in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[place] += 1e-30j
            found[name][place] = loss_of(arrays | {name: moved}, x, y, form, activation).imag / 1e-30
    return found


@pytest.mark.parametrize(
    "what",
    [
        {"form": "plain", "head": "with bias", "activation": "relu"},
        {"form": "plain", "head": "with bias", "activation": "tanh"},
        {"form": "plain", "head": "no bias", "activation": "sigmoid"},
        {"form": "plain", "layers": 2, "head": "with bias", "activation": "relu"},
        {"form": "x h 1", "columns": True},
        {"form": "1 h x", "columns": False},
        {"form": "x 1, h", "columns": True},
        {"form": "x h 1", "columns": True, "head": "column", "activation": "relu"},
        {"form": "x h 1", "columns": True, "tokens": True},
        {"form": "x 1, h", "columns": True, "tokens": True},
    ],
    ids=lambda what: "-".join(map(str, what.values())),
)
def test_the_gradients_are_exact(what):
    arrays, x, y, loss = case(**what)
    batch = Batch((x.argmax(-1) if what.get("tokens") else x, y), "train", 1)
    network = next(recognized_networks(arrays, batch, loss))
    forward = network.evaluate(arrays, network.read(batch), zero_states(what.get("layers", 1)))
    found = network.backward(forward, arrays)
    wanted = true_gradients(arrays, x, y, what["form"], what.get("activation", "tanh"))
    for name, array in wanted.items():
        assert np.abs(found[name] - array).max() <= 1e-10 * np.abs(array).max()


def test_a_head_that_is_not_known_is_not_taken_for_another():
    arrays, x, y, loss = case("plain", head="with bias", activation="softplus")
    assert list(recognized_networks(arrays, Batch((x, y), "train", 1), loss)) == []
