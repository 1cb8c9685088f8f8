"""The arrays of a batch, time step by time step, in causal order: inputs, states, outputs, loss, gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.sequences import Sequences, hidden_states_of, sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

MAX_DEPTH = 8
"""Levels of a container that are searched: one that contains itself has no end. Chosen by eye."""


@attrs.frozen(eq=False, kw_only=True)
class BatchArray:
    """One array of a batch, or one time step of it.

    Parameters
    ----------
    source:
        The source of the array, such as ``"inputs"`` or ``"gradients"``.
    array:
        The array, not a copy.
    path:
        The array's name within its container; empty for a single array.
    time_step, seq_len:
        The time step, from 1 to ``seq_len``; None if the array is not one of a time step.
    row_axis:
        The axis of the batch's sequences; None if it is unknown.
    """

    source: str
    array: Array
    path: str = ""
    time_step: int | None = None
    seq_len: int | None = None
    row_axis: int | None = None


def arrays_in_causal_order(
    batch: Batch, parameters: Iterable[BatchArray], grads: Mapping[str, Array] | None
) -> Iterator[BatchArray]:
    """The arrays of a batch that are known, causes before effects.

    The order is: inputs, entering state, parameters, hidden states by time step, logits by time step, targets, the
    loss, gradients of the hidden states from the last time step back to the first, gradients. Targets are left out if
    the loss is finite: NaN among them then marks positions that do not count.
    """
    shown, observed = sequences_of(batch), batch.observed
    size = batch.batch_size or shown.batch_size or batch.sequences
    if shown.inputs is None:
        yield from floating_arrays("inputs", observed.get("inputs"))
        yield from floating_arrays("data", batch.data)
    else:
        yield from _along("inputs", shown.inputs, shown.time_axis, size, row_axis=0)
    states = hidden_states_of(batch)
    entering, steps = _split(states, shown.seq_len)
    for state in (observed.get("entering_state"), batch.entering_state, entering):
        yield from floating_arrays("entering_state", state, size)
    yield from parameters
    if steps is None:
        yield from floating_arrays("hidden_states", states, size)
    else:
        yield from _stepwise("hidden_states", steps, size)
    yield from _logits(observed.get("logits"), shown, None if steps is None else len(steps), size)
    if batch.loss is not None and not math.isfinite(batch.loss):
        if shown.targets is not None:
            yield from _along("targets", shown.targets, shown.time_axis if shown.per_step else None, size, row_axis=0)
        elif shown.inputs is not None:
            yield from floating_arrays("targets", observed.get("targets"), size)
    yield from loss_and_gradients(batch, None)
    gradients = observed.get("hidden_gradients")
    if _has_length(gradients):
        yield from reversed(list(_stepwise("hidden_gradients", gradients, size)))
    yield from loss_and_gradients(batch, grads)


def loss_and_gradients(batch: Batch, grads: Mapping[str, Array] | None) -> Iterator[BatchArray]:
    """The loss and the gradients, the arrays that are checked in every batch."""
    if batch.loss is not None:
        yield BatchArray(source="loss", array=np.asarray(batch.loss))
    for path, array in (grads or {}).items():
        yield BatchArray(source="gradients", array=array, path=path)


def _logits(logits: Any, shown: Sequences, steps: int | None, size: int | None) -> Iterator[BatchArray]:
    """Logits as a list of time steps, as an array with an axis of time, or as a matrix with one row per token."""
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
) -> Iterator[BatchArray]:
    """The time steps of an array that has an axis of time, otherwise the array; ``row_axis`` is an axis of either."""
    if time_axis is None:
        yield from floating_arrays(source, array, size)
    else:
        yield from _stepwise(source, np.moveaxis(array, time_axis, 0), size, row_axis)


def _stepwise(
    source: str, steps: Sequence[Any] | Array, size: int | None, row_axis: int | None = None
) -> Iterator[BatchArray]:
    for number, step in enumerate(steps, start=1):
        for one in floating_arrays(source, step, size, row_axis):
            yield attrs.evolve(one, time_step=number, seq_len=len(steps))


def floating_arrays(
    source: str, value: Any, size: int | None = None, row_axis: int | None = None
) -> Iterator[BatchArray]:
    """The floating-point arrays of a container.

    Their sequences lie along ``row_axis``, or along the one axis of length ``size``; with two such axes it is unknown
    which one it is.

    Example
    -------
    >>> params = {"w": np.ones((2, 3)), "layers": [np.ones(4), np.arange(3)]}
    >>> [one.path for one in floating_arrays("parameters", params)]
    ['w', 'layers.0']
    """
    for path, array in _leaves(value):
        axes = [axis for axis, length in enumerate(array.shape) if length == size] if row_axis is None else [row_axis]
        yield BatchArray(source=source, array=array, path=path, row_axis=axes[0] if len(axes) == 1 else None)


def _split(states: Any, seq_len: int | None) -> tuple[Any, Any]:
    """The entering state and those of the time steps, of observed hidden states; None if not observed."""
    # Fewer entries than time steps are layers, or the two arrays of an LSTM.
    if not _has_length(states) or len(states) < (seq_len or 1):
        return None, None
    return (None, states) if len(states) == seq_len else (states[0], states[1:])


def _has_length(value: Any) -> TypeGuard[Sequence[Any] | Array]:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _leaves(value: Any, path: str = "", depth: int = MAX_DEPTH) -> Iterator[tuple[str, Array]]:
    """The floating-point arrays and numbers of a container, with their paths; other values are left out."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, float) for one in value):
        value = np.array(value)
    if isinstance(value, np.ndarray | np.inexact | float):
        array = np.asarray(value)
        if array.dtype.kind in "fc":
            yield path, array
    elif depth > 0 and isinstance(value, Mapping | list | tuple):
        for key, child in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(child, f"{path}.{key}" if path else str(key), depth - 1)
