"""Forward and backward passes of a whole network: embedding table, stacked layers, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.reconstruction.array_roles import OUTER_PARTS, Part, Slot
from rnncallbacks.detectors.reconstruction.batch_readings import Readout
from rnncallbacks.detectors.reconstruction.cell_forms import (
    BackwardFault,
    CellForm,
    CellPass,
    backward_pass,
    forward_pass,
)
from rnncallbacks.detectors.reconstruction.layer_states import States

HeadActivation: TypeAlias = Literal["relu", "tanh", "sigmoid"]


def layer_weights(weights: Mapping[Slot, Array], layer: int) -> dict[Part, Array]:
    """The parts of one layer."""
    return {part: array for (of, part), array in weights.items() if of == layer and part not in OUTER_PARTS}


def stacked_forward(
    form: CellForm, weights: Mapping[Slot, Array], inputs: Array, entering: States
) -> tuple[CellPass, ...]:
    """The passes of the layers, the lowest first, over tokens (time, batch) or features (time, batch, features)."""
    below = weights[0, "embedding"][inputs] if (0, "embedding") in weights else inputs
    passed = []
    for layer, (state, cell_state) in enumerate(entering):
        passed.append(forward_pass(form, layer_weights(weights, layer), below, state, cell_state))
        below = passed[-1].states[1:]
    return tuple(passed)


def head_units(weights: Mapping[Slot, Array], states: Array, activation: HeadActivation) -> Array:
    """The units of the head over states, or the states if there is no head."""
    if (0, "head") not in weights:
        return states
    inputs = states @ weights[0, "head"].T + weights.get((0, "head bias"), 0.0)
    if activation == "tanh":
        return np.asarray(np.tanh(inputs))
    return np.asarray(np.maximum(inputs, 0.0) if activation == "relu" else 0.5 * (np.tanh(0.5 * inputs) + 1.0))


def network_outputs(
    weights: Mapping[Slot, Array], passed: CellPass, readout: Readout, activation: HeadActivation = "tanh"
) -> Array:
    """The outputs, of shape (time, batch, outputs); the axis of time has the length 1 unless all steps are read out.

    ``activation`` is that of the head, if there is one.
    """
    states = passed.states[1:]
    if readout == "last":
        states = states[-1:]
    elif readout == "mean":
        states = states.mean(axis=0, keepdims=True)
    units = head_units(weights, states, activation)
    return np.asarray(units @ weights[0, "output"].T + weights.get((0, "output bias"), 0.0))


def stacked_backward(
    form: CellForm,
    weights: Mapping[Slot, Array],
    inputs: Array,
    passed: tuple[CellPass, ...],
    errors: Array,
    readout: Readout,
    fault: BackwardFault = "",
    activation: HeadActivation = "tanh",
) -> dict[Slot, Array]:
    """The gradients of all parts, for derivatives of the loss by the outputs; ``fault`` makes the pass a wrong one."""
    if fault.startswith("aliases"):
        passed = tuple(_aliased(one, keeps_entering=fault == "aliases later") for one in passed)
    states = passed[-1].states[1:]
    flat = errors.reshape(-1, errors.shape[-1])
    d_states = np.zeros_like(states)
    used = states.mean(axis=0) if readout == "mean" else states[-len(errors) :].reshape(-1, states.shape[-1])
    units = head_units(weights, used, activation)
    gradients: dict[Slot, Array] = {(0, "output"): flat.T @ units, (0, "output bias"): flat.sum(axis=0)}
    d_used = flat @ weights[0, "output"]
    if (0, "head") in weights:
        d_used = d_used * _slope(units, activation)
        gradients |= {(0, "head"): d_used.T @ used, (0, "head bias"): d_used.sum(axis=0)}
        d_used = d_used @ weights[0, "head"]
    if readout == "mean":
        d_states[:] = d_used / len(states)
    else:
        d_states[-len(errors) :] = d_used.reshape(len(errors), *states.shape[1:])
    embedding = weights.get((0, "embedding"))
    for layer in reversed(range(len(passed))):
        below = passed[layer - 1].states[1:] if layer else inputs if embedding is None else embedding[inputs]
        parts, d_states = backward_pass(form, layer_weights(weights, layer), below, passed[layer], d_states, fault)
        gradients |= {(layer, part): form.disordered(gradient) for part, gradient in parts.items()}
    if embedding is not None:
        table = np.zeros_like(embedding)
        np.add.at(table, inputs, d_states)
        gradients[0, "embedding"] = table
    return gradients


def _slope(units: Array, activation: HeadActivation) -> Array:
    """The derivative of the head's activation, by its values."""
    if activation == "tanh":
        return np.asarray(1.0 - units**2)
    return np.asarray(units > 0.0 if activation == "relu" else units * (1.0 - units))


def _aliased(passed: CellPass, *, keeps_entering: bool) -> CellPass:
    """A pass whose states are those of a list to which one array, updated in place, was appended at each step."""
    states = np.broadcast_to(passed.states[-1], passed.states.shape).copy()
    if keeps_entering:
        states[0] = passed.states[0]
    return attrs.evolve(passed, states=states)
