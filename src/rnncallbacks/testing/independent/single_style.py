"""A network in the style of the best-known public script, min-char-rnn: one sequence per batch, in columns (H, 1)."""

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

GATE_NAMES: Mapping[CellName, tuple[str, ...]] = {"tanh": ("h",), "lstm": ("i", "f", "o", "g"), "gru": ("r", "u", "n")}


def _sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-values)))


class SingleNetwork:
    """Vanilla network, LSTM or GRU over one sequence of columns; parameters and gradients are lists of arrays.

    Each gate has matrices of its own. Updates change the arrays in place.

    Parameters
    ----------
    cell:
        "tanh", "lstm" or "gru".
    inputs, hidden, outputs:
        Numbers of features, units and outputs.
    generator:
        Draws the weights.
    """

    def __init__(self, cell: CellName, inputs: int, hidden: int, outputs: int, generator: np.random.Generator) -> None:
        self.cell, self.hidden_size, self.gates = cell, hidden, GATE_NAMES[cell]
        self.names = [f"{kind}{gate}" for gate in self.gates for kind in ("Wx", "Wh", "b")] + ["Why", "by"]
        self.params: list[Array] = []
        for gate in self.gates:
            self.params += [
                generator.normal(0.0, 0.3, (hidden, inputs)),
                generator.normal(0.0, 0.9 / np.sqrt(hidden), (hidden, hidden)),
                np.full((hidden, 1), 1.0 if (cell, gate) == ("lstm", "f") else 0.0),
            ]
        self.params += [generator.normal(0.0, 0.3 / np.sqrt(hidden), (outputs, hidden)), np.zeros((outputs, 1))]
        last = len(self.params) - 1
        self.representatives: Mapping[Role, str] = {
            "input": "0",
            "recurrent": "1",
            "bias": "2",
            "output": str(last - 1),
            "output bias": str(last),
        }

    def zero_state(self, batch: int = 1) -> State:
        h = np.zeros((self.hidden_size, batch))
        return (h, h.copy()) if self.cell == "lstm" else h

    def forward(self, xs: list[Array], state: State) -> tuple[list[Array], list[State], list[dict[str, Array]]]:
        """Outputs of each step, states with the entering one first, and the cache of the backward pass."""
        w = dict(zip(self.names, self.params, strict=True))
        ys, states, kept = [], [state], []
        for x in xs:
            h = hidden_part(state)
            z = {gate: w[f"Wx{gate}"] @ x + w[f"b{gate}"] for gate in self.gates}
            if isinstance(state, tuple):
                i, f, o = (_sigmoid(z[gate] + w[f"Wh{gate}"] @ h) for gate in "ifo")
                g = np.tanh(z["g"] + w["Whg"] @ h)
                c = f * state[1] + i * g
                kept.append({"x": x, "i": i, "f": f, "o": o, "g": g, "c": c, "c_prev": state[1]})
                state = (o * np.tanh(c), c)
            elif self.cell == "tanh":
                state = np.tanh(z["h"] + w["Whh"] @ h)
                kept.append({"x": x, "h": state})
            else:
                r, u = (_sigmoid(z[gate] + w[f"Wh{gate}"] @ h) for gate in "ru")
                n = np.tanh(z["n"] + w["Whn"] @ (r * h))
                kept.append({"x": x, "r": r, "u": u, "n": n})
                state = u * h + (1 - u) * n
            states.append(state)
            ys.append(w["Why"] @ hidden_part(state) + w["by"])
        return ys, states, kept

    def backward(
        self,
        states: list[State],
        kept: list[dict[str, Array]],
        d_ys: list[Array],
        backpropagation: Backpropagation,
    ) -> list[Array]:
        """The gradients in the order of the parameters."""
        w = dict(zip(self.names, self.params, strict=True))
        d = {name: np.zeros_like(array) for name, array in w.items()}
        hs = [hidden_part(state) for state in states]
        if backpropagation.wraps:
            hs[0] = hs[-1]
        dhnext, dcnext = np.zeros_like(hs[0]), np.zeros_like(hs[0])
        for t in reversed(range(len(kept))):
            k, h_prev = kept[t], hs[t]
            d["Why"] += d_ys[t] @ hs[t + 1].T
            d["by"] += d_ys[t].sum(axis=1, keepdims=True)
            dh = dhnext + w["Why"].T @ d_ys[t]
            entering = dict.fromkeys(self.gates, h_prev)
            dhnext = np.zeros_like(dh)
            if self.cell == "tanh":
                dz = {"h": (1 - k["h"] ** 2) * dh}
            elif self.cell == "lstm":
                tanh_c = np.tanh(k["c"])
                dc = dcnext + dh * k["o"] * (1 - tanh_c**2)
                dz = {
                    "i": dc * k["g"] * k["i"] * (1 - k["i"]),
                    "f": dc * k["c_prev"] * k["f"] * (1 - k["f"]),
                    "o": dh * tanh_c * k["o"] * (1 - k["o"]),
                    "g": dc * k["i"] * (1 - k["g"] ** 2),
                }
                dcnext = dc * k["f"]
            else:
                dn = dh * (1 - k["u"]) * (1 - k["n"] ** 2)
                through = backpropagation.recurrent(w["Whn"]) @ dn
                dz = {
                    "r": through * h_prev * k["r"] * (1 - k["r"]),
                    "u": dh * (h_prev - k["n"]) * k["u"] * (1 - k["u"]),
                    "n": dn,
                }
                entering["n"] = k["r"] * h_prev
                dhnext += dh * k["u"] + through * k["r"]
            for gate, one in dz.items():
                d[f"Wx{gate}"] += one @ k["x"].T
                d[f"Wh{gate}"] += one @ entering[gate].T
                d[f"b{gate}"] += one.sum(axis=1, keepdims=True)
                if (self.cell, gate) != ("gru", "n"):
                    dhnext += backpropagation.recurrent(w[f"Wh{gate}"]) @ one
        return [d[name] for name in self.names]

    def blocks(self, arrays: Mapping[str, Array]) -> Mapping[Role, list[Array]]:
        each = list(arrays.values())
        return {
            "input": each[0:-2:3],
            "recurrent": each[1:-2:3],
            "bias": each[2:-2:3],
            "output": [each[-2]],
            "output bias": [each[-1]],
        }

    def forward_pass(self, x: Array, state: State) -> ForwardPass:
        ys, states, kept = self.forward([step.T for step in x], state)
        return ForwardPass(np.stack([y.T for y in ys]), states, kept)

    def backward_pass(self, forward: ForwardPass, errors: Array, backpropagation: Backpropagation) -> list[Array]:
        return self.backward(forward.states, forward.cache, [step.T for step in errors], backpropagation)

    def update(self, arrays: Mapping[str, Array]) -> None:
        for array, new in zip(self.params, arrays.values(), strict=True):
            array[...] = new

    def shown_batch(self, x: Array, y: Array, labels_per_step: bool) -> tuple[Any, Any]:
        """One sequence: lists of token numbers, or an array (time, features); one label, or one per time step."""
        tokens = x.ndim == 2
        if not labels_per_step:
            target: Any = int(y[0]) if y.ndim == 1 else y[0]
        else:
            target = y[:, 0].tolist() if y.ndim == 2 else y[:, 0]
        return x[:, 0].tolist() if tokens else x[:, 0], target

    def shown_outputs(self, outputs: Array) -> list[Array]:
        return [step.T for step in outputs]
