"""Forward and backward passes of a whole network: embedding table, stacked layers, outputs."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.arrays import Array
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


def network_outputs(weights: Mapping[Slot, Array], passed: CellPass, readout: Readout) -> Array:
    """The outputs, of shape (time, batch, outputs); the axis of time has the length 1 unless all steps are read out."""
    states = passed.states[1:]
    if readout == "last":
        states = states[-1:]
    elif readout == "mean":
        states = states.mean(axis=0, keepdims=True)
    return np.asarray(states @ weights[0, "output"].T + weights.get((0, "output bias"), 0.0))


def stacked_backward(
    form: CellForm,
    weights: Mapping[Slot, Array],
    inputs: Array,
    passed: tuple[CellPass, ...],
    errors: Array,
    readout: Readout,
    fault: BackwardFault = "",
) -> dict[Slot, Array]:
    """The gradients of all parts, for derivatives of the loss by the outputs; ``fault`` makes the pass a wrong one."""
    if fault.startswith("aliases"):
        passed = tuple(_aliased(one, keeps_entering=fault == "aliases later") for one in passed)
    states = passed[-1].states[1:]
    flat = errors.reshape(-1, errors.shape[-1])
    d_states = np.zeros_like(states)
    if readout == "mean":
        used = states.mean(axis=0)
        d_states[:] = errors @ weights[0, "output"] / len(states)
    else:
        used = states[-len(errors) :].reshape(-1, states.shape[-1])
        d_states[-len(errors) :] = errors @ weights[0, "output"]
    gradients: dict[Slot, Array] = {(0, "output"): flat.T @ used, (0, "output bias"): flat.sum(axis=0)}
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


def _aliased(passed: CellPass, *, keeps_entering: bool) -> CellPass:
    """A pass whose states are those of a list to which one array, updated in place, was appended at each step."""
    states = np.broadcast_to(passed.states[-1], passed.states.shape).copy()
    if keeps_entering:
        states[0] = passed.states[0]
    return attrs.evolve(passed, states=states)
