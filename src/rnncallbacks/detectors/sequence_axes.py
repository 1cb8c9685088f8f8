"""Identifies the time and batch axes of inputs and targets, and brings both into one layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncallbacks.arrays.containers import Array

NEXT_INPUT_AGREEMENT = 0.9
"""Smallest share of targets that equal the next input, along the axis of time; chosen by eye. Padding and noisy labels
account for the rest."""


def aligned(
    inputs: Array, targets: Array | None, batch_size: int | None, hidden_states: Any
) -> tuple[Array, Array | None]:
    """Inputs and targets with time and batch on the first two axes, in the same order.

    Parameters
    ----------
    inputs:
        Tokens of two axes, or features of three, which may lie on the axis between time and batch.
    targets:
        Of one axis (a target a sequence) or more; time and batch may be in the other order than those of the inputs.
    batch_size:
        The number of sequences, if it is known.
    hidden_states:
        The states that the script observed, or None.
    """
    last = inputs.shape[2] if inputs.ndim == 3 and inputs.shape[2] not in inputs.shape[:2] else None
    if last is not None and _last_axis_is_batch(inputs, targets, batch_size, hidden_states):
        inputs = np.moveaxis(inputs, 2, 1)
        if targets is not None and targets.ndim == 3 and targets.shape[2] == last:
            targets = np.moveaxis(targets, 2, 1)
    if targets is not None and targets.shape[:2] != inputs.shape[:2] and targets.shape[1::-1] == inputs.shape[:2]:
        targets = targets.swapaxes(0, 1)
    return inputs, targets


def _last_axis_is_batch(inputs: Array, targets: Array | None, batch_size: int | None, hidden_states: Any) -> bool:
    """Whether the last of three axes is the batch's: by its size, else by the targets, else by the hidden states."""
    last = int(inputs.shape[2])
    if batch_size is not None:
        return batch_size == last
    if targets is not None and targets.ndim == 1 and len(targets) == last:
        return True
    shape = _state_shape(hidden_states)
    return len(shape) == 2 and shape[1] == last and not set(shape) & set(inputs.shape[:2])


def _state_shape(hidden_states: Any) -> tuple[int, ...]:
    """The shape of one hidden state; empty if it is not known."""
    if not isinstance(hidden_states, list | tuple | np.ndarray) or not len(hidden_states):
        return ()
    state = hidden_states[0]
    while isinstance(state, list | tuple) and len(state):
        state = state[0]  # h of an LSTM's (h, c)
    return state.shape if isinstance(state, np.ndarray) else ()


def find_time_axis(inputs: Array, targets: Array | None, batch_size: int | None, hidden_states: Any) -> int | None:
    """The axis of time, 0 or 1; None if it is unknown.

    It follows from the batch size, else from the number and shape of hidden states, else from targets that are the
    next inputs along one axis only. A decoder has other steps than its encoder: of such states the shape alone counts.

    Example
    -------
    >>> tokens = np.array([[0, 1, 2, 3], [3, 1, 0, 2]])
    >>> find_time_axis(tokens[:, :-1], tokens[:, 1:], batch_size=None, hidden_states=None)
    1
    """
    of_batch_size = [axis for axis in (0, 1) if inputs.shape[axis] == batch_size]
    if len(of_batch_size) == 1:
        return 1 - of_batch_size[0]
    steps = _step_count(hidden_states)
    of_steps = [axis for axis in (0, 1) if inputs.shape[axis] == steps]
    if len(of_steps) == 1:
        return 1 - of_steps[0] if _lack_entering(hidden_states, inputs.shape[:2], of_steps[0]) else of_steps[0]
    sizes = _state_shape(hidden_states)
    of_state = [axis for axis in (0, 1) if inputs.shape[axis] in sizes]
    if len(of_state) == 1 and len(sizes) == 2 and (inputs.ndim > 2 or inputs.dtype.kind != "f"):
        return 1 - of_state[0]
    if targets is None or targets.shape != inputs.shape:
        return None
    shifted = [axis for axis in (0, 1) if _next_inputs_are_targets(inputs.swapaxes(0, axis), targets.swapaxes(0, axis))]
    return shifted[0] if len(shifted) == 1 else None


def _next_inputs_are_targets(inputs: Array, targets: Array) -> bool:
    agreeing = np.count_nonzero(inputs[1:] == targets[:-1])
    return len(inputs) > 1 and bool(agreeing >= NEXT_INPUT_AGREEMENT * inputs[1:].size)


def _lack_entering(hidden_states: Any, shape: tuple[int, ...], axis: int) -> bool:
    """Whether the states, by their shapes, are one for each step of the other axis, without the entering state."""
    sizes = _state_shape(hidden_states)
    steps, sequences = shape[1 - axis], shape[axis]
    return len(sizes) == 2 and len(hidden_states) == steps and sequences in sizes and steps not in sizes


def _step_count(hidden_states: Any) -> int | None:
    """The number of time steps: one fewer than there are hidden states, the first of which is the entering one."""
    return len(hidden_states) - 1 if isinstance(hidden_states, list | tuple | np.ndarray) else None
