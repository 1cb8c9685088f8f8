"""The step in JAX: one jitted function, with ``lax.scan`` over time and donated buffers.

Inputs are gathered from the transposed input weights before the scan. Parameters are stored transposed, as they are
multiplied. The fastest variants also compute the gradient of the recurrent weights outside the scan.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from speed.task import BETAS, EPS, LEARNING_RATE, MAX_NORM, Arrays, Task

State = tuple[Array, ...]
Params = dict[str, Array]

TRANSPOSED = ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight")
INPUT = ("rnn.weight_ih_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0")
HEAD = ("head.weight", "head.bias")


def vanilla(matrix: Array, state: State, entering: State) -> tuple[State, Array]:
    hidden = jnp.tanh(entering[0] + state[0] @ matrix)
    return (hidden,), hidden


def lstm(matrix: Array, state: State, entering: State) -> tuple[State, Array]:
    hidden, cell = state
    i, f, g, o = jnp.split(entering[0] + hidden @ matrix, 4, axis=1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    return (hidden, cell), hidden


def gru(matrix: Array, state: State, entering: State) -> tuple[State, Array]:
    """``entering[1]`` is the bias of the candidate's recurrent product."""
    (hidden,) = state
    size = hidden.shape[1]
    recurrent = hidden @ matrix
    r, z = jnp.split(jax.nn.sigmoid(entering[0][:, : 2 * size] + recurrent[:, : 2 * size]), 2, axis=1)
    n = jnp.tanh(entering[0][:, 2 * size :] + r * (recurrent[:, 2 * size :] + entering[1]))
    hidden = n + z * (hidden - n)
    return (hidden,), hidden


CELLS: dict[str, Callable[[Array, State, State], tuple[State, Array]]] = {"vanilla": vanilla, "lstm": lstm, "gru": gru}


class JaxStep:
    """``hoisted`` computes the gradient of the recurrent weights as one product after the backward scan."""

    def __init__(self, task: Task, *, hoisted: bool, unroll: int = 1) -> None:
        self.task, self.unroll = task, unroll
        self.parameters: Params = {name: jnp.asarray(_turned(name, one)) for name, one in task.parameters().items()}
        self.moments = tuple({name: jnp.zeros_like(one) for name, one in self.parameters.items()} for _ in range(2))
        self.count = jnp.zeros((), jnp.float32)
        self.tokens, targets = (jnp.asarray(tokens.astype(np.int32)) for tokens in task.tokens())
        self.targets = targets.reshape(-1)
        self._differentiated = self._hoisted if hoisted else jax.value_and_grad(self._loss)
        self._gradients = jax.jit(self._differentiated)
        self._step = jax.jit(self._update, donate_argnums=(0, 1, 2))

    def gradients(self) -> tuple[float, Arrays]:
        loss, gradients = self._gradients(self.parameters, self.tokens, self.targets)
        return float(loss), {name: _turned(name, np.asarray(one)) for name, one in gradients.items()}

    def step(self) -> float:
        results = self._step(self.parameters, self.moments, self.count, self.tokens, self.targets)
        self.parameters, self.moments, self.count, loss = jax.block_until_ready(results)
        return float(loss)

    def _entering(self, parameters: Params, tokens: Array) -> State:
        projected = parameters["rnn.weight_ih_l0"][tokens] + parameters["rnn.bias_ih_l0"]
        bias = parameters["rnn.bias_hh_l0"]
        if self.task.cell != "gru":
            return (projected + bias,)
        outer = 2 * self.task.hidden_size
        candidate = jnp.broadcast_to(bias[outer:], (*tokens.shape, self.task.hidden_size))
        return projected + bias.at[outer:].set(0.0), candidate

    def _zeros(self) -> State:
        zeros = jnp.zeros((self.task.batch_size, self.task.hidden_size), jnp.float32)
        return (zeros, zeros) if self.task.cell == "lstm" else (zeros,)

    def _scan(self, matrix: Array, entering: State) -> Array:
        return lax.scan(partial(CELLS[self.task.cell], matrix), self._zeros(), entering, unroll=self.unroll)[1]

    def _nll(self, head: Params, states: Array, targets: Array) -> Array:
        logits = states.reshape(-1, self.task.hidden_size) @ head["head.weight"] + head["head.bias"]
        likely = jnp.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - likely)

    def _loss(self, parameters: Params, tokens: Array, targets: Array) -> Array:
        states = self._scan(parameters["rnn.weight_hh_l0"], self._entering(parameters, tokens))
        return self._nll(parameters, states, targets)

    def _hoisted(self, parameters: Params, tokens: Array, targets: Array) -> tuple[Array, Params]:
        matrix = parameters["rnn.weight_hh_l0"]

        def loss(entering: State, head: Params) -> tuple[Array, Array]:
            states = self._scan(matrix, entering)
            return self._nll(head, states, targets), states

        inputs, head = ({name: parameters[name] for name in names} for names in (INPUT, HEAD))
        entering, back = jax.vjp(lambda given: self._entering(given, tokens), inputs)
        (value, states), (d_entering, d_head) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(entering, head)
        previous = jnp.concatenate([self._zeros()[0][None], states[:-1]]).reshape(-1, self.task.hidden_size)
        inner = d_entering[0]
        if self.task.cell == "gru":  # the reset gate acts between the candidate's product and its nonlinearity
            inner = jnp.concatenate([inner[..., : 2 * self.task.hidden_size], d_entering[1]], axis=2)
        d_matrix = previous.T @ inner.reshape(len(previous), -1)
        return value, {**back(d_entering)[0], **d_head, "rnn.weight_hh_l0": d_matrix}

    def _update(self, parameters: Params, moments: Any, count: Array, tokens: Array, targets: Array) -> Any:
        loss, gradients = self._differentiated(parameters, tokens, targets)
        norm = jnp.sqrt(sum(jnp.vdot(one, one) for one in gradients.values()))
        scale = jnp.minimum(1.0, MAX_NORM / norm)
        (beta1, beta2), count = BETAS, count + 1
        size, root = LEARNING_RATE / (1 - beta1**count), jnp.sqrt(1 - beta2**count)
        updated, first, second = {}, {}, {}
        for name, gradient in gradients.items():
            clipped = gradient * scale
            first[name] = beta1 * moments[0][name] + (1 - beta1) * clipped
            second[name] = beta2 * moments[1][name] + (1 - beta2) * clipped * clipped
            updated[name] = parameters[name] - size * first[name] / (jnp.sqrt(second[name]) / root + EPS)
        return updated, (first, second), count, loss


def _turned(name: str, array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.T) if name in TRANSPOSED else array


# Five time steps in one iteration of the loop pay off where a time step has little to compute.
WAYS = {
    "scan": partial(JaxStep, hoisted=False),
    "hoisted": partial(JaxStep, hoisted=True),
    "unrolled": partial(JaxStep, hoisted=True, unroll=5),
}
