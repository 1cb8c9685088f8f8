"""Networks with an embedding table, stacked layers and other readouts; the losses are computed here by hand."""

import attrs
import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.reconstruction.layer_states import entering_states, zero_states
from rnncallbacks.detectors.reconstruction.recognized_network import recognized_networks
from rnncallbacks.detectors.reconstruction.truncated_pass import truncated_gradients

TOKENS, WIDTH, UNITS, OUTPUTS, STEPS, ROWS = 7, 4, 5, 3, 6, 2


def script(layers, embedded, readout, order="by layer", biases=True, outputs=OUTPUTS, twice=False, brier=False):
    """Arrays of a tanh network in row style, a batch (batch, time), and its mean loss."""
    generator = np.random.default_rng(0)
    draw = lambda *shape: generator.normal(0.0, 0.5, shape)  # noqa: E731
    stack, below, every = [], WIDTH if embedded else TOKENS, {}
    for number in range(layers):
        one = {f"W{number}": draw(below, UNITS), f"U{number}": draw(UNITS, UNITS)}
        one |= {f"b{number}": draw(UNITS)} if biases else {}
        stack.append(one)
        below = UNITS
    embedding = {"E": draw(TOKENS, WIDTH)} if embedded else {}
    head = {"V": draw(UNITS, outputs)} | ({"c": draw(outputs)} if biases else {})
    for one in [embedding, *stack, head]:
        every |= one
    if order == "by part":
        every = dict(sorted(every.items()))
    if order == "head first":
        every = head | {name: array for name, array in every.items() if name not in head}
    x = generator.integers(0, TOKENS, (ROWS, STEPS))
    states = [np.zeros((ROWS, UNITS))] * layers
    above = []
    for t in range(STEPS):
        below = embedding["E"][x[:, t]] if embedded else np.eye(TOKENS)[x[:, t]]
        for number in range(layers):
            z = below @ every[f"W{number}"] + states[number] @ every[f"U{number}"] + every.get(f"b{number}", 0.0)
            states[number] = below = np.tanh(z)
        above.append(below)
    used = {"each": np.stack(above, 1), "last": above[-1], "mean": np.mean(above, axis=0)}[readout]
    logits = used @ every["V"] + every.get("c", 0.0)
    y = generator.integers(0, max(outputs, 2), logits.shape[:-1])
    if twice:
        logits = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    if outputs == 1:
        loss = np.mean(np.log1p(np.exp(logits[..., 0])) - y * logits[..., 0])
    elif brier:
        loss = np.mean((np.exp(logits) / np.exp(logits).sum(-1, keepdims=True) - np.eye(outputs)[y]) ** 2)
    else:
        loss = np.mean(np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, y[..., None], -1)[..., 0])
    return every, Batch((x, y), "train", 1), float(loss)


@pytest.mark.parametrize(
    "what",
    [
        {"layers": 1, "embedded": True, "readout": "each"},
        {"layers": 1, "embedded": True, "readout": "mean", "order": "head first"},
        {"layers": 1, "embedded": False, "readout": "last", "outputs": 1},
        {"layers": 2, "embedded": False, "readout": "each", "order": "by part"},
        {"layers": 2, "embedded": True, "readout": "last", "biases": False},
        {"layers": 3, "embedded": True, "readout": "mean"},
        {"layers": 1, "embedded": False, "readout": "each", "twice": True},
        {"layers": 1, "embedded": False, "readout": "last", "brier": True},
    ],
    ids=lambda what: "-".join(map(str, what.values())),
)
def test_the_network_is_recognized_and_its_gradients_are_those_of_the_loss(what):
    arrays, batch, loss = script(**what)
    [network] = recognized_networks(arrays, batch, loss)
    assert len(network.roles.sizes.hidden) == what["layers"]
    assert network.key.readout == what["readout"]
    assert (network.roles.tokens is not None) == what["embedded"]
    zeros = zero_states(what["layers"])
    gradients = network.backward(network.evaluate(arrays, network.read(batch), zeros), arrays)
    generator = np.random.default_rng(1)
    for name, array in arrays.items():
        direction = generator.normal(size=array.shape)
        above, below = (
            network.evaluate(arrays | {name: array + step * direction}, network.read(batch), zeros).loss
            for step in (1e-5, -1e-5)
        )
        assert np.sum(gradients[name] * direction) == pytest.approx((above - below) / 2e-5, rel=1e-6, abs=1e-9)


def test_truncations_are_chunks_whose_entering_states_are_constants_and_windows_of_steps():
    arrays, batch, loss = script(layers=2, embedded=True, readout="each")
    network = next(recognized_networks(arrays, batch, loss))
    reading, entering, halves = network.read(batch), zero_states(2), []
    for start in (0, 3):
        half = attrs.evolve(reading, inputs=reading.inputs[start:][:3], targets=reading.targets[start:][:3])
        forward = network.evaluate(arrays, half, entering)
        halves.append(network.backward(forward, arrays))
        entering = forward.final
    whole = network.evaluate(arrays, reading, zero_states(2))
    found = list(truncated_gradients(network, whole, arrays))
    chunks = {name: (halves[0][name] + halves[1][name]) / 2.0 for name in arrays}
    for wanted in (chunks, network.backward(whole, arrays, "no recurrence")):
        assert any(all(np.allclose(one[name], wanted[name], atol=1e-12) for name in arrays) for one in found)
    right = network.backward(whole, arrays)
    assert not any(all(np.allclose(one[name], right[name], atol=1e-12) for name in arrays) for one in found)


def test_layers_of_different_widths_are_recognized():
    generator = np.random.default_rng(0)
    shapes = {"W": (6, 4), "U": (6, 6), "b": (6,), "W2": (5, 6), "U2": (5, 5), "b2": (5,), "V": (3, 5)}
    arrays = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    x, y = generator.normal(size=(7, 2, 4)), generator.normal(size=(7, 2, 3))
    h1, h2, errors = np.zeros((2, 6)), np.zeros((2, 5)), []
    for t in range(7):
        h1 = np.tanh(x[t] @ arrays["W"].T + h1 @ arrays["U"].T + arrays["b"])
        h2 = np.tanh(h1 @ arrays["W2"].T + h2 @ arrays["U2"].T + arrays["b2"])
        errors.append((h2 @ arrays["V"].T - y[t]) ** 2)
    [network] = recognized_networks(arrays, Batch((x, y), "train", 1), float(np.mean(errors)))
    assert network.roles.sizes.hidden == (6, 5)


@pytest.mark.parametrize("form", ["pairs", "by kind", "one array each"])
def test_states_of_stacked_layers_are_found_in_what_a_script_shows(form):
    hidden, cells = np.random.default_rng(0).normal(size=(2, 2, ROWS, UNITS))
    shown = {
        "pairs": [(hidden[0], cells[0]), (hidden[1], cells[1])],
        "by kind": (list(hidden), list(cells)),
        "one array each": (hidden, cells),
    }[form]
    batch = Batch(None, "train", 1)
    batch.observed.update(entering_state=shown)
    wanted = [hidden[0], cells[0], hidden[1], cells[1]]
    found = entering_states(batch, ROWS, (UNITS, UNITS))
    assert any(all(map(np.array_equal, [a for pair in states for a in pair], wanted)) for states in found)
