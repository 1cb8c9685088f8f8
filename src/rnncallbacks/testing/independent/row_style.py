"""A network in the style of rows: arrays (batch, time, features), biases with one axis, parameters in a named tuple."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.testing.independent.styled_network import (
    Backpropagation,
    CellName,
    ForwardPass,
    Role,
    State,
    hidden_part,
)

GATE_COLUMNS: Mapping[CellName, int] = {"tanh": 1, "lstm": 4, "gru": 3}
"""Columns of the weight matrices, in units of the hidden size."""


class RowParams(NamedTuple):
    """Weights of inputs and states, their bias, and the output layer, for G gates of H units.

    The shapes are (X, GH), (H, GH), (GH,), (H, K) and (K,).
    """

    wx: Array
    wh: Array
    b: Array
    v: Array
    c: Array


def _logistic(values: Array) -> Array:
    return np.asarray(0.5 * (np.tanh(0.5 * values) + 1.0))


class RowNetwork:
    """Vanilla network, LSTM or GRU over arrays of rows; an update makes new arrays.

    The GRU's reset gate is applied after the recurrent matrix.

    Parameters
    ----------
    cell:
        "tanh", "lstm" or "gru".
    inputs, hidden, outputs:
        Numbers of features, units and outputs.
    generator:
        Draws the weights: orthogonal recurrent ones, the others uniform within 1 / sqrt(fan-in).
    """

    representatives: Mapping[Role, str] = {
        "input": "0",
        "recurrent": "1",
        "bias": "2",
        "output": "3",
        "output bias": "4",
    }

    def __init__(self, cell: CellName, inputs: int, hidden: int, outputs: int, generator: np.random.Generator) -> None:
        self.cell, self.hidden_size = cell, hidden
        gates = GATE_COLUMNS[cell]
        bound_h, bound_x = 1.0 / np.sqrt(hidden), 1.0 / np.sqrt(inputs)
        orthogonal = [np.linalg.qr(generator.normal(size=(hidden, hidden)))[0] for _ in range(gates)]
        bias = np.zeros(gates * hidden)
        if cell == "lstm":
            bias[hidden : 2 * hidden] = 1.0
        self.params = RowParams(
            generator.uniform(-bound_x, bound_x, (inputs, gates * hidden)),
            np.hstack(orthogonal),
            bias,
            generator.uniform(-bound_h, bound_h, (hidden, outputs)),
            np.zeros(outputs),
        )

    def zero_state(self, batch: int) -> State:
        h = np.zeros((batch, self.hidden_size))
        return (h, h.copy()) if self.cell == "lstm" else h

    def forward(self, x: Array, state: State) -> tuple[Array, list[State], list[Any]]:
        """Outputs (batch, time, outputs), states with the entering one first, and the cache of the backward pass."""
        p, size = self.params, self.hidden_size
        projected = x @ p.wx + p.b
        states: list[State] = [state]
        kept: list[Any] = []
        for t in range(x.shape[1]):
            a = projected[:, t]
            if isinstance(state, tuple):
                h, cell = state
                i, f, g, o = np.split(a + h @ p.wh, 4, axis=1)
                i, f, g, o = _logistic(i), _logistic(f), np.tanh(g), _logistic(o)
                new = f * cell + i * g
                kept.append((i, f, g, o, cell, new))
                state = (o * np.tanh(new), new)
            elif self.cell == "tanh":
                state = np.tanh(a + state @ p.wh)
                kept.append(())
            else:
                s = state @ p.wh
                r = _logistic(a[:, :size] + s[:, :size])
                u = _logistic(a[:, size : 2 * size] + s[:, size : 2 * size])
                n = np.tanh(a[:, 2 * size :] + r * s[:, 2 * size :])
                kept.append((r, u, n, s[:, 2 * size :]))
                state = n + u * (state - n)
            states.append(state)
        hs = np.stack([hidden_part(one) for one in states[1:]], axis=1)
        return hs @ p.v + p.c, states, kept

    def backward(
        self, x: Array, states: list[State], kept: list[Any], d_y: Array, backpropagation: Backpropagation
    ) -> RowParams:
        """The gradients in the order of the parameters."""
        p = self.params
        hs = [hidden_part(one) for one in states]
        if backpropagation.wraps:
            hs[0] = hs[-1]
        d_v = np.einsum("bth,btk->hk", np.stack(hs[1:], axis=1), d_y)
        d_c = d_y.sum(axis=(0, 1))
        d_wx, d_wh, d_b = np.zeros_like(p.wx), np.zeros_like(p.wh), np.zeros_like(p.b)
        to_state, to_cell = np.zeros_like(hs[0]), np.zeros_like(hs[0])
        back = np.vstack([backpropagation.recurrent(block) for block in np.split(p.wh, GATE_COLUMNS[self.cell], 1)])
        for t in range(x.shape[1] - 1, -1, -1):
            dh = to_state + d_y[:, t] @ p.v.T
            if self.cell == "tanh":
                dz = dz_h = dh * (1.0 - hs[t + 1] ** 2)
                to_state = dz @ back
            elif self.cell == "lstm":
                i, f, g, o, before, cell = kept[t]
                squashed = np.tanh(cell)
                dc = to_cell + dh * o * (1.0 - squashed**2)
                gates = (
                    dc * g * i * (1.0 - i),
                    dc * before * f * (1.0 - f),
                    dc * i * (1.0 - g**2),
                    dh * squashed * o * (1.0 - o),
                )
                dz = dz_h = np.hstack(gates)
                to_cell = dc * f
                to_state = dz @ back
            else:
                r, u, n, s_n = kept[t]
                dn = dh * (1.0 - u) * (1.0 - n**2)
                dr = dn * s_n * r * (1.0 - r)
                du = dh * (hs[t] - n) * u * (1.0 - u)
                dz = np.hstack([dr, du, dn])
                dz_h = np.hstack([dr, du, dn * r])
                to_state = dh * u + dz_h @ back
            d_wx += x[:, t].T @ dz
            d_wh += hs[t].T @ dz_h
            d_b += dz.sum(axis=0)
        return RowParams(d_wx, d_wh, d_b, d_v, d_c)

    def blocks(self, arrays: Mapping[str, Array]) -> Mapping[Role, list[Array]]:
        return {role: [arrays[path]] for role, path in self.representatives.items()}

    def forward_pass(self, x: Array, state: State) -> ForwardPass:
        rows = np.ascontiguousarray(x.swapaxes(0, 1))
        outputs, states, kept = self.forward(rows, state)
        return ForwardPass(outputs.swapaxes(0, 1), states, (rows, kept))

    def backward_pass(self, forward: ForwardPass, errors: Array, backpropagation: Backpropagation) -> RowParams:
        rows, kept = forward.cache
        return self.backward(rows, forward.states, kept, errors.swapaxes(0, 1), backpropagation)

    def update(self, arrays: Mapping[str, Array]) -> None:
        self.params = RowParams(*arrays.values())

    def shown_batch(self, x: Array, y: Array, labels_per_step: bool) -> dict[str, Array]:
        """A dict of arrays with the batch first: "x" (batch, time[, features]), and "y"."""
        return {"x": x.swapaxes(0, 1), "y": y.swapaxes(0, 1) if labels_per_step else y}

    def shown_outputs(self, outputs: Array) -> Array:
        return outputs.swapaxes(0, 1)
