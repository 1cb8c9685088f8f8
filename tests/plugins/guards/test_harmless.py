"""A guard never changes a run: random loops whose loss functions change things, with guards and without."""

import functools
import pickle
import random

import attrs
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncallbacks import Run, load_plugins
from rnncallbacks.config.configuration import GUARDS

STEPS, ROWS, CLASSES, HIDDEN = 4, 3, 5, 4
calls_of_the_script = {"forward": 0}


@attrs.frozen
class Traits:
    """How a script keeps its state."""

    seed: int
    buffers: bool  # the loss function fills gradient buffers that the layers own
    nested: bool  # parameters and gradients are nested
    clears: str  # what zero_grad does after the update: nothing, zeros, or an empty cache
    dropout: str  # whence the mask is drawn: nowhere, np.random, a Generator, random
    fresh_mask: bool  # a mask for each call, not one for each batch
    new_arrays: bool  # the update returns new arrays
    optimizer: str
    keeps: str  # what else a call leaves: nothing, lists, counters, global variables, class attributes
    carries: str  # by run.hidden and run.carry in the loss function, by the model, or not at all
    observes: bool  # by functions that run the backward pass
    single: bool  # float32
    closure: str  # a method, a lambda or an object that can be called


TRAITS = st.builds(
    Traits,
    seed=st.integers(0, 999),
    buffers=st.booleans(),
    nested=st.booleans(),
    clears=st.sampled_from(["", "zeros", "cache", "all"]),
    dropout=st.sampled_from(["", "np.random", "generator", "random"]),
    fresh_mask=st.booleans(),
    new_arrays=st.booleans(),
    optimizer=st.sampled_from(["sgd", "momentum", "adagrad"]),
    keeps=st.sampled_from(["", "lists", "counters", "globals", "class"]),
    carries=st.sampled_from(["", "run", "model"]),
    observes=st.booleans(),
    single=st.booleans(),
    closure=st.sampled_from(["method", "lambda", "object"]),
)


class Layer:
    """Arrays with gradient buffers of their own."""

    def __init__(self, rng, dtype, **shapes):
        self.params = {name: (0.4 * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}
        self.grads = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}


class Network:
    """A tanh RNN on class targets, as somebody wrote it."""

    forwards = 0

    def __init__(self, traits, run=None):
        rng, dtype = np.random.default_rng(traits.seed), np.float32 if traits.single else np.float64
        self.traits, self.rng, self.run = traits, np.random.default_rng(traits.seed + 1), run
        self.recurrent = Layer(rng, dtype, Wx=(CLASSES, HIDDEN), Wh=(HIDDEN, HIDDEN), bh=(HIDDEN,))
        self.head = Layer(rng, dtype, Wy=(HIDDEN, CLASSES), by=(CLASSES,))
        self.cache, self.mask, self.state = None, np.ones(HIDDEN, dtype), np.zeros((ROWS, HIDDEN), dtype)
        self.losses, self.calls, self.history = [], 0, {}
        self.moments = {name: np.zeros_like(array) for name, array in self.flat("params").items()}

    def zero_state(self, rows):
        return np.zeros((rows, HIDDEN), self.mask.dtype)

    def flat(self, what):
        return getattr(self.recurrent, what) | getattr(self.head, what)

    def container(self, what):
        parts = getattr(self.recurrent, what), getattr(self.head, what)
        return {"recurrent": parts[0], "head": list(parts[1].values())} if self.traits.nested else self.flat(what)

    def draw_mask(self):
        source = self.traits.dropout
        if source == "np.random":
            kept = np.random.rand(HIDDEN) < 0.8  # noqa: NPY002
        elif source == "generator":
            kept = self.rng.random(HIDDEN) < 0.8
        elif source == "random":
            kept = np.array([random.random() < 0.8 for _ in range(HIDDEN)])
        else:
            return
        self.mask = kept.astype(self.mask.dtype)

    def remember(self, loss):
        global calls_of_the_script
        keeps = self.traits.keeps
        if keeps == "lists":
            self.losses.append(loss)
            self.history.setdefault("losses", []).append(loss)
        elif keeps == "counters":
            self.calls += 1
        elif keeps == "globals":
            calls_of_the_script = {"forward": calls_of_the_script["forward"] + 1}
        elif keeps == "class":
            Network.forwards += 1

    def loss(self, x, y):
        """The loss; the gradients too, where the layers keep them."""
        traits = self.traits
        assert self.cache is not None or not self.calls or traits.clears not in ("cache", "all"), (
            "the model was cleared"
        )
        if traits.fresh_mask:
            self.draw_mask()
        p = self.flat("params")
        h = self.run.hidden(ROWS) if traits.carries == "run" else self.state
        states, errors, total = [h], [], 0.0
        for tokens, targets in zip(x, y, strict=True):
            h = np.tanh(p["Wx"][tokens] + h @ p["Wh"] + p["bh"])
            states.append(h)
            scores = (h * self.mask) @ p["Wy"] + p["by"]
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            total -= float(np.log(shares[np.arange(ROWS), targets]).sum())
            shares[np.arange(ROWS), targets] -= 1.0
            errors.append(shares / (STEPS * ROWS))
        self.cache = x, states, errors
        if traits.carries == "run":
            self.run.carry(h)
        elif traits.carries == "model":
            self.state = h
        loss = total / (STEPS * ROWS)
        self.remember(loss)
        if traits.buffers:
            self.backward()
        return loss

    def backward(self):
        p, g, (x, states, errors) = self.flat("params"), self.flat("grads"), self.cache
        if not self.traits.buffers:
            g = {name: np.zeros_like(array) for name, array in g.items()}
            self.recurrent.grads = {name: g[name] for name in self.recurrent.grads}
            self.head.grads = {name: g[name] for name in self.head.grads}
        for array in g.values():
            array[...] = 0.0
        dh, through_time = 0.0, []
        for t in reversed(range(STEPS)):
            g["Wy"] += (states[t + 1] * self.mask).T @ errors[t]
            g["by"] += errors[t].sum(axis=0)
            dh = (errors[t] @ p["Wy"].T) * self.mask + dh
            through_time.insert(0, dh)
            raw = dh * (1.0 - states[t + 1] ** 2)
            g["bh"] += raw.sum(axis=0)
            g["Wh"] += states[t].T @ raw
            np.add.at(g["Wx"], x[t], raw)
            dh = raw @ p["Wh"].T
        return through_time

    def zero_grad(self):
        if self.traits.clears in ("zeros", "all"):
            for array in self.flat("grads").values():
                array[...] = 0.0
        if self.traits.clears in ("cache", "all"):
            self.cache, self.calls = None, self.calls + 1

    def step(self, rate):
        for layer in (self.recurrent, self.head):
            for name, grad in layer.grads.items():
                moment, change = self.moments[name], grad
                if self.traits.optimizer == "momentum":
                    moment *= 0.9
                    moment += grad
                    change = moment
                elif self.traits.optimizer == "adagrad":
                    moment += grad**2
                    change = 0.1 * grad / np.sqrt(moment + 1e-8)
                if self.traits.new_arrays:
                    layer.params[name] = (layer.params[name] - rate * change).astype(grad.dtype)
                else:
                    layer.params[name] -= (rate * change).astype(grad.dtype)


class Loss:
    """A loss that can be called, and counts."""

    def __init__(self, network, x, y):
        self.network, self.batch, self.calls = network, (x, y), 0

    def __call__(self):
        self.calls += 1
        return self.network.loss(*self.batch)


def train(traits, plugins):
    """Everything that a run leaves behind."""
    global calls_of_the_script
    np.random.seed(traits.seed)  # noqa: NPY002
    random.seed(traits.seed)
    calls_of_the_script, Network.forwards = {"forward": 0}, 0
    network = Network(traits)
    tokens = np.random.default_rng(traits.seed).integers(0, CLASSES, (7, STEPS + 1, ROWS))
    left = []
    params = network.container("params")
    with Run(params, plugins=plugins, learning_rate=0.3, zeros=network.zero_state) as run:
        network.run = run
        for _ in run.epochs(2):
            for chunk in run.batches(tokens):
                x, y = chunk[:-1], chunk[1:]
                network.cache = network.cache or ()
                network.draw_mask()
                loss = network.loss(x, y)
                through_time = network.backward()
                if traits.observes:
                    run.observe(inputs=x, targets=y, hidden_gradients=network.backward)
                else:
                    run.observe(hidden_states=network.cache[1], hidden_gradients=through_time)
                closures = {
                    "method": Loss(network, x, y).__call__,
                    "lambda": lambda x=x, y=y: network.loss(x, y),
                    "object": Loss(network, x, y),
                }
                grads = run.backward(loss, network.container("grads"), closure=closures[traits.closure])
                left.append(pickle.dumps((loss, grads, np.random.get_state(), random.getstate())))  # noqa: NPY002
                network.step(run.learning_rate)
                network.zero_grad()
                if traits.new_arrays:
                    run.params = network.container("params")
                left.append(pickle.dumps(network.flat("params")))
    network.run = None
    left.append(pickle.dumps((vars(network), closures["object"].calls, Network.forwards, calls_of_the_script)))
    return left, run


@functools.cache
def plugins_of(preset):
    """The plugins of a preset, and those of them that may act: not the guards."""
    plugins = load_plugins({"preset": preset})
    acting = {name: plugin for name, plugin in plugins.items() if name not in GUARDS}
    return plugins, acting if preset == "recommended" else {}


@settings(max_examples=max(15, settings().max_examples // 3))  # each trains two networks
@given(traits=TRAITS, preset=st.sampled_from(["guards", "recommended"]))
def test_a_loop_with_guards_equals_the_loop_without_them_bit_for_bit(traits, preset):
    plugins, acting = plugins_of(preset)
    watched, run = train(traits, plugins)
    alone, _ = train(traits, acting)
    assert len(watched) == len(alone)
    assert [place for place, (one, other) in enumerate(zip(watched, alone, strict=True)) if one != other] == []
    if not traits.carries and not traits.fresh_mask:  # the closure gives the loss that the gradients belong to
        assert not {"RNN404", "RNN405", "RNN406"} & {alarm.code for alarm in run.alarms}


# --- the case that was reported ----------------------------------------------------------------------------------


class Dense:
    """A layer that keeps its input and its gradients, and adds to them until they are zeroed."""

    def __init__(self, rng, inputs, outputs):
        self.params = [rng.normal(size=(inputs, outputs)) / np.sqrt(inputs), np.zeros(outputs)]
        self.grads = [np.zeros_like(array) for array in self.params]

    def forward(self, x):
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, error):
        self.grads[0] += self.x.T @ error
        self.grads[1] += error.sum(axis=0)
        return error @ self.params[0].T


class Regression:
    """Two layers on a smooth function of the inputs; the loss function zeroes and fills the layers' gradients."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.layers = [Dense(rng, 3, 16), Dense(rng, 16, 1)]
        self.x = rng.normal(size=(32, 3))
        self.y = self.x @ rng.normal(size=(3, 1)) * 0.3

    @property
    def params(self):
        return [array for layer in self.layers for array in layer.params]

    @property
    def grads(self):
        return [array for layer in self.layers for array in layer.grads]

    def loss(self, x, y):
        for grad in self.grads:
            grad[...] = 0.0
        hidden = np.tanh(self.layers[0].forward(x))
        error = self.layers[1].forward(hidden) - y
        back = self.layers[1].backward(2.0 * error / len(x))
        self.layers[0].backward(back * (1.0 - hidden**2))
        return float((error**2).mean())


def regress(plugins):
    model, seen = Regression(), []
    with Run(model.params, plugins=plugins, learning_rate=0.2) as run:
        for _ in run.epochs(400):
            for _ in run.batches([model.x] * 10):
                loss = model.loss(model.x, model.y)
                before = [grad.copy() for grad in model.grads]
                run.backward(loss, model.grads, closure=lambda: model.loss(model.x, model.y))
                assert all(np.array_equal(*pair) for pair in zip(before, model.grads, strict=True))
                for param, grad in zip(model.params, model.grads, strict=True):
                    param -= run.learning_rate * grad
                seen.append(loss)
    return seen, pickle.dumps(model.params), run


def test_a_loss_function_that_fills_the_gradients_of_its_layers_is_no_harm():
    losses, params, run = regress(plugins_of("guards")[0])
    assert (losses, params) == regress({})[:2]
    assert losses[-1] < 2e-5
    assert run.alarms == []
    assert {"RNN404", "RNN405", "RNN406"} <= set(run.diagnosis.passed)
