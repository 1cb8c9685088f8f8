r"""Forward and backward passes of one layer of a vanilla, LSTM or GRU network, in the forms that scripts use.

A form is a cell, the order of its gates in the script's arrays, and for a GRU which of two conventions it follows. The
passes are in the precision of float64.

Source: Hochreiter and Schmidhuber, "Long short-term memory" (1997), with the forget gate of Gers et al. (2000); Cho et
al., "Learning phrase representations using RNN encoder-decoder" (2014); cuDNN for the reset after the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.reconstruction.array_roles import Part

CellKind: TypeAlias = Literal["tanh", "relu", "sigmoid", "lstm", "gru"]
GateOrder: TypeAlias = tuple[int, ...]
BackwardFault: TypeAlias = Literal["", "no recurrence", "no state", "untransposed", "wraps", "aliases", "aliases later"]
"""Mistakes of a backward pass: "no recurrence" drops the gradient through the recurrent matrices, "no state" also
what the state itself passes on; "untransposed" forgets the transpose; "wraps" reads the last state before the first
step; "aliases" reads the last state at every step, and "aliases later" at every step but the entering one."""

GATES_OF_CELLS: Mapping[CellKind, int] = {"tanh": 1, "relu": 1, "sigmoid": 1, "lstm": 4, "gru": 3}
USUAL_LSTM_ORDERS: tuple[GateOrder, ...] = ((0, 1, 2, 3), (0, 1, 3, 2), (1, 0, 2, 3), (1, 0, 3, 2), (2, 1, 0, 3))
"""Places of the input, forget and output gate and of the candidate in the script's arrays, the usual ones."""


@attrs.frozen
class CellForm:
    """A cell as one script writes it.

    Attributes
    ----------
    kind:
        The cell. A vanilla network is named after its activation.
    order:
        The place of each gate in the script's arrays: input, forget, output, candidate of an LSTM; reset, update,
        candidate of a GRU.
    keeps_by_update:
        Whether a GRU's update gate multiplies the old state, and not the candidate.
    resets_product:
        Whether a GRU's reset gate multiplies the product with the recurrent matrix, and not the state.
    """

    kind: CellKind
    order: GateOrder = (0,)
    keeps_by_update: bool = True
    resets_product: bool = False

    @property
    def gates(self) -> int:
        """The number of gates, counting the candidate."""
        return GATES_OF_CELLS[self.kind]

    def ordered(self, part: Array) -> Array:
        """A part of the script's arrays with its gates in the order of the cell; a copy."""
        if self.gates == 1:
            return part
        groups = part.reshape(self.gates, -1, *part.shape[1:])
        return np.asarray(groups[list(self.order)].reshape(part.shape))

    def disordered(self, part: Array) -> Array:
        """The inverse of :meth:`ordered`."""
        if self.gates == 1:
            return part
        groups = part.reshape(self.gates, -1, *part.shape[1:])
        made = np.empty_like(groups)
        made[list(self.order)] = groups
        return np.asarray(made.reshape(part.shape))


def cell_forms(gates: int) -> Iterator[CellForm]:
    """The forms of cells with this number of gates, the usual ones first.

    Example
    -------
    >>> [form.kind for form in cell_forms(1)], len(list(cell_forms(3))), len(list(cell_forms(4)))
    (['tanh', 'relu', 'sigmoid'], 24, 24)
    """
    if gates == 1:
        yield from (CellForm("tanh"), CellForm("relu"), CellForm("sigmoid"))
    elif gates == 4:
        orders = dict.fromkeys([*USUAL_LSTM_ORDERS, *permutations(range(4))])
        yield from (CellForm("lstm", order) for order in orders)
    else:
        orders = dict.fromkeys([(0, 1, 2), (1, 0, 2), *permutations(range(3))])
        for order in orders:
            for resets_product in (False, True):
                for keeps_by_update in (True, False):
                    yield CellForm("gru", order, keeps_by_update, resets_product)


@attrs.frozen(eq=False)
class CellPass:
    """A forward pass: states of shape (time + 1, batch, units), the entering one first, and what goes back needs."""

    states: Array
    cells: Array | None
    gates: Array
    pre: Array | None = None


def _sigmoid(values: Array) -> Array:
    return np.asarray(0.5 * (np.tanh(0.5 * values) + 1.0))


def forward_pass(
    form: CellForm, weights: Mapping[Part, Array], inputs: Array, state: Array | None, cell_state: Array | None
) -> CellPass:
    """Run a cell over inputs.

    Parameters
    ----------
    form:
        The cell.
    weights:
        Its parts, with gates in the order of the cell.
    inputs:
        Token numbers of shape (time, batch), or features of shape (time, batch, features).
    state, cell_state:
        The entering states, of shape (batch, units); None for zeros.
    """
    recurrent = weights["recurrent"]
    steps, rows, size = inputs.shape[0], inputs.shape[1], recurrent.shape[1]
    pre = weights["input"].T[inputs] if inputs.ndim == 2 else inputs @ weights["input"].T
    inner_bias: Array | float = 0.0
    if "bias" in weights:
        pre = pre + weights["bias"]
    if "second bias" in weights and form.resets_product:
        pre[..., : 2 * size] += weights["second bias"][: 2 * size]
        inner_bias = weights["second bias"][2 * size :]
    elif "second bias" in weights:
        pre = pre + weights["second bias"]
    states = np.zeros((steps + 1, rows, size))
    if state is not None:
        states[0] = state
    gates = np.empty((steps, rows, form.gates * size))
    if form.kind == "lstm":
        cells = np.zeros_like(states)
        if cell_state is not None:
            cells[0] = cell_state
        for t in range(steps):
            z = pre[t] + states[t] @ recurrent.T
            gates[t, :, : 3 * size] = _sigmoid(z[:, : 3 * size])
            gates[t, :, 3 * size :] = np.tanh(z[:, 3 * size :])
            i, f, o, g = np.split(gates[t], 4, axis=1)
            cells[t + 1] = f * cells[t] + i * g
            states[t + 1] = o * np.tanh(cells[t + 1])
        return CellPass(states, cells, gates)
    if form.kind == "gru":
        products = np.empty((steps, rows, size))
        for t in range(steps):
            h = states[t]
            gates[t, :, : 2 * size] = _sigmoid(pre[t, :, : 2 * size] + h @ recurrent[: 2 * size].T)
            r, u = gates[t, :, :size], gates[t, :, size : 2 * size]
            if form.resets_product:
                products[t] = h @ recurrent[2 * size :].T + inner_bias
                n = np.tanh(pre[t, :, 2 * size :] + r * products[t])
            else:
                n = np.tanh(pre[t, :, 2 * size :] + (r * h) @ recurrent[2 * size :].T)
            gates[t, :, 2 * size :] = n
            states[t + 1] = (1.0 - u) * n + u * h if form.keeps_by_update else u * n + (1.0 - u) * h
        return CellPass(states, None, gates, products)
    for t in range(steps):
        z = pre[t] + states[t] @ recurrent.T
        states[t + 1] = (
            np.tanh(z) if form.kind == "tanh" else np.maximum(z, 0.0) if form.kind == "relu" else _sigmoid(z)
        )
    return CellPass(states, None, gates)


def backward_pass(
    form: CellForm,
    weights: Mapping[Part, Array],
    inputs: Array,
    passed: CellPass,
    d_states: Array,
    fault: BackwardFault = "",
) -> tuple[dict[Part, Array], Array]:
    """The gradients of the parts, and the derivatives of the loss by the inputs, of shape (time, batch, inputs).

    ``d_states`` are the derivatives of the loss by the states after each step, of shape (time, batch, units).
    """
    recurrent = weights["recurrent"]
    states, size = passed.states, recurrent.shape[1]
    if fault == "wraps":
        states = np.concatenate([states[-1:], states[1:]])
    back = recurrent
    if fault == "untransposed":
        back = np.concatenate([square.T for square in np.split(recurrent, form.gates)])
    through = 0.0 if fault in ("no recurrence", "no state") else 1.0
    keeps = 0.0 if fault == "no state" else 1.0
    d_pre = np.empty_like(passed.gates)
    d_products = None
    dh_next = np.zeros_like(states[0])
    dc_next = np.zeros_like(dh_next)
    if form.kind == "gru":
        d_products = np.empty_like(states[1:])
    after = passed.states[1:]
    slopes = 1.0 - after**2 if form.kind == "tanh" else after > 0.0 if form.kind == "relu" else after * (1.0 - after)
    for t in reversed(range(len(d_states))):
        h = states[t]
        dh = d_states[t] + dh_next
        if form.kind == "lstm":
            assert passed.cells is not None
            i, f, o, g = np.split(passed.gates[t], 4, axis=1)
            tanh_c = np.tanh(passed.cells[t + 1])
            dc = dh * o * (1.0 - tanh_c**2) + dc_next
            d_pre[t] = np.concatenate(
                [
                    dc * g * i * (1.0 - i),
                    dc * passed.cells[t] * f * (1.0 - f),
                    dh * tanh_c * o * (1.0 - o),
                    dc * i * (1.0 - g**2),
                ],
                axis=1,
            )
            dc_next = keeps * dc * f
            dh_next = through * (d_pre[t] @ back)
        elif form.kind == "gru":
            assert passed.pre is not None
            assert d_products is not None
            r, u, n = np.split(passed.gates[t], 3, axis=1)
            by_candidate, by_state = (1.0 - u, u) if form.keeps_by_update else (u, 1.0 - u)
            sign = 1.0 if form.keeps_by_update else -1.0
            dn = dh * by_candidate * (1.0 - n**2)
            if form.resets_product:
                dr = dn * passed.pre[t]
                d_products[t] = dn * r
                to_state = through * (d_products[t] @ back[2 * size :])
            else:
                inner = through * (dn @ back[2 * size :])
                # The script may drop what goes back to the state and keep what goes to the reset gate, or drop both.
                dr = inner * h
                to_state = inner * r
                d_products[t] = dn
            d_pre[t] = np.concatenate([dr * r * (1.0 - r), dh * sign * (h - n) * u * (1.0 - u), dn], axis=1)
            dh_next = keeps * dh * by_state + to_state + through * (d_pre[t][:, : 2 * size] @ back[: 2 * size])
        else:
            d_pre[t] = dh * slopes[t]
            dh_next = through * (d_pre[t] @ back)
    bias = np.asarray(d_pre.sum(axis=(0, 1)))
    parts: dict[Part, Array] = {
        "input": _input_gradient(weights["input"], inputs, d_pre),
        "recurrent": _recurrent_gradient(form, states[:-1], passed.gates, d_pre, d_products),
        "bias": bias,
        "second bias": _second_bias(form, bias, d_products),
    }
    return parts, d_pre @ weights["input"]


def _input_gradient(weights: Array, inputs: Array, d_pre: Array) -> Array:
    flat = d_pre.reshape(-1, d_pre.shape[-1])
    if inputs.ndim == 3:
        return np.asarray(flat.T @ inputs.reshape(-1, inputs.shape[-1]))
    gradient = np.zeros((weights.shape[1], weights.shape[0]))
    np.add.at(gradient, inputs.reshape(-1), flat)
    return gradient.T


def _recurrent_gradient(form: CellForm, states: Array, gates: Array, d_pre: Array, d_products: Array | None) -> Array:
    """The gradient of the recurrent weights, over all time steps at once; ``states`` are those before each step."""
    if d_products is None:
        return _summed_products(d_pre, states)
    size = states.shape[-1]
    read = states if form.resets_product else gates[..., :size] * states
    return np.concatenate([_summed_products(d_pre[..., : 2 * size], states), _summed_products(d_products, read)])


def _summed_products(derivatives: Array, values: Array) -> Array:
    """The sum of the outer products over time and batch."""
    return np.asarray(derivatives.reshape(-1, derivatives.shape[-1]).T @ values.reshape(-1, values.shape[-1]))


def _second_bias(form: CellForm, bias: Array, d_products: Array | None) -> Array:
    if not form.resets_product or d_products is None:
        return bias
    size = d_products.shape[-1]
    return np.concatenate([bias[: 2 * size], d_products.sum(axis=(0, 1))])
