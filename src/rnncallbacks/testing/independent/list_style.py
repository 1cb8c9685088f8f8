"""A network in the style of lists: one column matrix per time step, and one stacked weight matrix for [h; x]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

GATE_ROWS: Mapping[CellName, int] = {"tanh": 1, "lstm": 4, "gru": 2}
"""Rows of the stacked matrix, in units of the hidden size. A GRU has a second matrix for its candidate state."""


def _sigmoid(values: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-values)))


class ListNetwork:
    """Vanilla network, LSTM or GRU over lists of columns (features, batch), with parameters in a dict.

    An LSTM has one matrix (4H, H + X), a GRU one (2H, H + X) and one (H, H + X). Updates change the arrays in place.

    Parameters
    ----------
    cell:
        "tanh", "lstm" or "gru".
    inputs, hidden, outputs:
        Numbers of features, units and outputs.
    generator:
        Draws the weights, normal with variance 1 / fan-in.
    """

    representatives: Mapping[Role, str] = {
        "input": "W",
        "recurrent": "W",
        "bias": "b",
        "output": "Wy",
        "output bias": "by",
    }

    def __init__(self, cell: CellName, inputs: int, hidden: int, outputs: int, generator: np.random.Generator) -> None:
        self.cell, self.hidden_size = cell, hidden
        rows = GATE_ROWS[cell] * hidden

        def draw(*shape: int) -> Array:
            return generator.normal(0.0, 1.0 / np.sqrt(shape[1]), shape)

        self.params = {"W": draw(rows, hidden + inputs), "b": np.zeros((rows, 1))}
        if cell == "gru":
            self.params |= {"Wn": draw(hidden, hidden + inputs), "bn": np.zeros((hidden, 1))}
        if cell == "lstm":
            self.params["b"][hidden : 2 * hidden] = 1.0
        self.params |= {"Wy": draw(outputs, hidden), "by": np.zeros((outputs, 1))}

    def zero_state(self, batch: int) -> State:
        h = np.zeros((self.hidden_size, batch))
        return (h, h.copy()) if self.cell == "lstm" else h

    def forward(self, xs: list[Array], state: State) -> tuple[list[Array], list[State], list[Any]]:
        """Outputs of each step, states with the entering one first, and the cache of the backward pass."""
        p, size = self.params, self.hidden_size
        ys: list[Array] = []
        states: list[State] = [state]
        kept: list[Any] = []
        for x in xs:
            h = hidden_part(state)
            stacked = np.vstack([h, x])
            z = p["W"] @ stacked + p["b"]
            if isinstance(state, tuple):
                i, f, o = _sigmoid(z[:size]), _sigmoid(z[size : 2 * size]), _sigmoid(z[2 * size : 3 * size])
                g = np.tanh(z[3 * size :])
                c = f * state[1] + i * g
                kept.append((stacked, i, f, o, g, state[1], c))
                state = (o * np.tanh(c), c)
            elif self.cell == "tanh":
                state = np.tanh(z)
                kept.append((stacked,))
            else:
                r, u = _sigmoid(z[:size]), _sigmoid(z[size:])
                inner = np.vstack([r * h, x])
                n = np.tanh(p["Wn"] @ inner + p["bn"])
                kept.append((stacked, inner, r, u, n))
                state = (1.0 - u) * n + u * h
            states.append(state)
            ys.append(p["Wy"] @ hidden_part(state) + p["by"])
        return ys, states, kept

    def backward(
        self, states: list[State], kept: list[Any], d_ys: list[Array], backpropagation: Backpropagation
    ) -> dict[str, Array]:
        """The gradients of the parameters."""
        p, size = self.params, self.hidden_size
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        hs = [hidden_part(state) for state in states]
        if backpropagation.wraps:
            hs[0] = hs[-1]
        dh_next, dc_next = np.zeros_like(hs[0]), np.zeros_like(hs[0])
        squares = np.split(p["W"][:, :size], GATE_ROWS[self.cell])
        back = np.hstack([backpropagation.recurrent(square) for square in squares])
        for t in reversed(range(len(kept))):
            grads["Wy"] += d_ys[t] @ hs[t + 1].T
            grads["by"] += d_ys[t].sum(axis=1, keepdims=True)
            dh = dh_next + p["Wy"].T @ d_ys[t]
            if self.cell == "tanh":
                (stacked,) = kept[t]
                dz = dh * (1.0 - hs[t + 1] ** 2)
                dh_next = back @ dz
            elif self.cell == "lstm":
                stacked, i, f, o, g, c_before, c = kept[t]
                tanh_c = np.tanh(c)
                dc = dh * o * (1.0 - tanh_c**2) + dc_next
                dz = np.vstack(
                    [
                        dc * g * i * (1.0 - i),
                        dc * c_before * f * (1.0 - f),
                        dh * tanh_c * o * (1.0 - o),
                        dc * i * (1.0 - g**2),
                    ]
                )
                dc_next = dc * f
                dh_next = back @ dz
            else:
                stacked, inner, r, u, n = kept[t]
                dn = dh * (1.0 - u) * (1.0 - n**2)
                through = backpropagation.recurrent(p["Wn"][:, :size]) @ dn
                dz = np.vstack([through * hs[t] * r * (1.0 - r), dh * (hs[t] - n) * u * (1.0 - u)])
                dh_next = dh * u + through * r + back @ dz
                grads["Wn"] += dn @ np.vstack([r * hs[t], inner[size:]]).T
                grads["bn"] += dn.sum(axis=1, keepdims=True)
            grads["W"] += dz @ np.vstack([hs[t], stacked[size:]]).T
            grads["b"] += dz.sum(axis=1, keepdims=True)
        return grads

    def blocks(self, arrays: Mapping[str, Array]) -> Mapping[Role, list[Array]]:
        stacked = [arrays[name] for name in ("W", "Wn") if name in arrays]
        return {
            "input": [matrix[:, self.hidden_size :] for matrix in stacked],
            "recurrent": [matrix[:, : self.hidden_size] for matrix in stacked],
            "bias": [arrays[name] for name in ("b", "bn") if name in arrays],
            "output": [arrays["Wy"]],
            "output bias": [arrays["by"]],
        }

    def forward_pass(self, x: Array, state: State) -> ForwardPass:
        ys, states, kept = self.forward([step.T for step in x], state)
        return ForwardPass(np.stack([y.T for y in ys]), states, kept)

    def backward_pass(self, forward: ForwardPass, errors: Array, backpropagation: Backpropagation) -> dict[str, Array]:
        return self.backward(forward.states, forward.cache, [step.T for step in errors], backpropagation)

    def update(self, arrays: Mapping[str, Array]) -> None:
        for name, array in self.params.items():
            array[...] = arrays[name]

    def shown_batch(self, x: Array, y: Array, labels_per_step: bool) -> tuple[list[Array], Any]:
        """Lists of one array per time step: token numbers (batch,), or columns (features, batch)."""
        return [step.T for step in x], ([step.T for step in y] if labels_per_step else y.T)

    def shown_outputs(self, outputs: Array) -> list[Array]:
        return [step.T for step in outputs]
