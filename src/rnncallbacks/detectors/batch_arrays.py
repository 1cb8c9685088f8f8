"""All that is seen of a batch, array by array and time step by time step, in the order of cause and effect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.detectors.sequences import Sequences, sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

DEPTH = 8
"""How deep a container is looked into: those of scripts are not deeper, and one that contains itself has no end."""


@attrs.frozen(eq=False, kw_only=True)
class Part:
    """One array of a batch, or one time step of it.

    ``source`` is one of ``WORDS``, ``path`` the array's name within it. Time steps count from 1 to ``seq_len``.
    ``row_axis`` is the axis of the batch's sequences.
    """

    source: str
    array: Array
    path: str = ""
    time_step: int | None = None
    seq_len: int | None = None
    row_axis: int | None = None


def causes(batch: Batch, parameters: list[Part], grads: Mapping[str, Array] | None) -> Iterator[Part]:
    """All that is seen of a batch, causes before effects.

    The order: inputs, entering state, parameters, hidden states by time step, logits by time step, targets, the loss,
    gradients of the hidden states from the last time step back to the first, gradients array by array. A loss that is
    finite clears the targets: NaN among them marks what does not count.
    """
    shown, observed = sequences_of(batch), batch.observed
    size = batch.batch_size or shown.batch_size or batch.sequences
    if shown.inputs is None:
        yield from whole("inputs", observed.get("inputs"))
        yield from whole("data", batch.data)
    else:
        yield from _along("inputs", shown.inputs, shown.time_axis, size, row_axis=0)
    states = observed.get("hidden_states")
    entering, steps = _split(states, shown.seq_len)
    for state in (observed.get("entering_state"), batch.entering_state, entering):
        yield from whole("entering_state", state, size)
    yield from parameters
    if steps is None:
        yield from whole("hidden_states", states, size)
    else:
        yield from _stepwise("hidden_states", steps, size)
    yield from _logits(observed.get("logits"), shown, None if steps is None else len(steps), size)
    if batch.loss is not None and not math.isfinite(batch.loss):
        if shown.targets is not None:
            yield from _along("targets", shown.targets, shown.time_axis if shown.per_step else None, size, row_axis=0)
        elif shown.inputs is not None:
            yield from whole("targets", observed.get("targets"), size)
    yield from outcomes(batch, None)
    gradients = observed.get("hidden_gradients")
    if _has_length(gradients):
        yield from reversed(list(_stepwise("hidden_gradients", gradients, size)))
    yield from outcomes(batch, grads)


def outcomes(batch: Batch, grads: Mapping[str, Array] | None) -> Iterator[Part]:
    """The loss, and the gradients."""
    if batch.loss is not None:
        yield Part(source="loss", array=np.asarray(batch.loss))
    for path, array in (grads or {}).items():
        yield Part(source="gradients", array=array, path=path)


def _logits(logits: Any, shown: Sequences, steps: int | None, size: int | None) -> Iterator[Part]:
    """Logits in any of the layouts of scripts: a list of time steps, an array, or a row for each token."""
    seq_len = shown.seq_len or steps
    if isinstance(logits, list | tuple) and (seq_len is None or len(logits) == seq_len):
        yield from _stepwise("logits", logits, size)
        return
    axis = row_axis = None
    if isinstance(logits, np.ndarray) and seq_len is not None:
        inputs = shown.inputs
        if logits.ndim == 2 and inputs is not None and len(logits) == inputs.shape[0] * inputs.shape[1]:
            logits, axis, row_axis = logits.reshape(*inputs.shape[:2], -1), shown.time_axis, 0
        elif logits.ndim > 2:
            axes = [axis for axis in range(logits.ndim) if logits.shape[axis] == seq_len]
            axis = shown.time_axis if axes[:2] == [0, 1] else next(iter(axes), None)
    yield from _along("logits", logits, axis, size, row_axis)


def _along(
    source: str, array: Any, time_axis: int | None, size: int | None, row_axis: int | None = None
) -> Iterator[Part]:
    """An array one time step after the other, if it has an axis of time; ``row_axis`` is then one of a time step."""
    if time_axis is None:
        yield from whole(source, array, size)
    else:
        yield from _stepwise(source, np.moveaxis(array, time_axis, 0), size, row_axis)


def _stepwise(
    source: str, steps: Sequence[Any] | Array, size: int | None, row_axis: int | None = None
) -> Iterator[Part]:
    for number, step in enumerate(steps, start=1):
        for part in whole(source, step, size, row_axis):
            yield attrs.evolve(part, time_step=number, seq_len=len(steps))


def whole(source: str, value: Any, size: int | None = None, row_axis: int | None = None) -> Iterator[Part]:
    """The floating arrays of a container, each a part; rows lie where ``row_axis`` says, else where ``size`` fits."""
    for path, array in _leaves(value):
        axes = [axis for axis, length in enumerate(array.shape) if length == size] if row_axis is None else [row_axis]
        # Of two axes with the batch's length nothing tells which one is the batch's.
        yield Part(source=source, array=array, path=path, row_axis=axes[0] if len(axes) == 1 else None)


def _split(states: Any, seq_len: int | None) -> tuple[Any, Any]:
    """Observed hidden states as the entering one and those of the time steps; None for what is not there."""
    # Fewer than the inputs have time steps: layers, or an LSTM's two arrays.
    if not _has_length(states) or len(states) < (seq_len or 1):
        return None, None
    return (None, states) if len(states) == seq_len else (states[0], states[1:])


def _has_length(value: Any) -> TypeGuard[Sequence[Any] | Array]:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _leaves(value: Any, path: str = "", depth: int = DEPTH) -> Iterator[tuple[str, Array]]:
    """The floating arrays and numbers of a container; what else it holds is passed over."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, float) for one in value):
        value = np.array(value)
    if isinstance(value, np.ndarray | np.inexact | float):
        array = np.asarray(value)
        if array.dtype.kind in "fc":
            yield path, array
    elif depth > 0 and isinstance(value, Mapping | list | tuple):
        for key, child in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(child, f"{path}.{key}" if path else str(key), depth - 1)
