"""The ways in which the data of a batch can be read: which axis is time, batch, features; which states are read out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.sequences import Sequences, sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


Readout: TypeAlias = Literal["each", "last", "mean"]
"""The states from which outputs are computed: those of each time step, that of the last one, or their mean."""


@attrs.frozen(eq=False)
class BatchReading:
    """Inputs (time, batch) of tokens or (time, batch, features), and targets with time first.

    Targets are (time, batch) classes or (time, batch, outputs) numbers; with one a sequence the first axis has the
    length 1, and ``readout`` is not "each".
    """

    inputs: Array
    targets: Array
    readout: Readout


@attrs.frozen
class ReadingKey:
    """The reading of a batch, with which others are read in the same way."""

    axes: tuple[int, ...]
    target_form: str
    readout: Readout


def batch_readings(shown: Sequences, width: int, outputs: int) -> Iterator[tuple[ReadingKey, BatchReading]]:
    """The readings of a batch for a network with these numbers of inputs and outputs.

    Example
    -------
    >>> shown = Sequences(np.zeros((4, 9), int), np.ones((4, 9), int), time_axis=None, vocab_size=None)
    >>> [reading.inputs.shape for _, reading in batch_readings(shown, width=2, outputs=2)]
    [(4, 9), (9, 4)]
    """
    for axes, inputs in _inputs(shown, width):
        steps, rows = inputs.shape[:2]
        for form, targets in _targets(np.asarray(shown.targets), steps, rows, outputs):
            readouts: tuple[Readout, ...] = ("last", "mean") if form.startswith("last") else ("each",)
            for readout in readouts if steps > 1 else readouts[:1]:
                yield ReadingKey(axes, form, readout), BatchReading(inputs, targets, readout)


def read_batch(shown: Sequences, key: ReadingKey, width: int, outputs: int) -> BatchReading | None:
    """A batch in the way in which an earlier one was read; None if it does not fit."""
    return next((reading for other, reading in batch_readings(shown, width, outputs) if other == key), None)


def outputs_of(targets: Array) -> Callable[[int], bool]:
    """A function that says whether a network with a number of outputs may have these targets.

    Example
    -------
    >>> may_be_outputs = outputs_of(np.array([[0, 3], [1, 2]]))
    >>> [number for number in range(1, 7) if may_be_outputs(number)]
    [1, 4, 5, 6]
    """
    if targets.dtype.kind not in "iub" or not targets.size:
        return lambda outputs: targets.size % outputs == 0
    classes = int(targets.max()) + 1
    return lambda outputs: outputs == 1 or outputs >= classes


def shown_sequences(batch: Batch) -> Sequences | None:
    """The inputs and targets of a batch; None if one is missing, or padding hides some inputs."""
    shown = sequences_of(batch)
    if shown.inputs is not None and shown.targets is None:
        shown = attrs.evolve(shown, targets=_single_label(batch))
    if shown.inputs is None or shown.targets is None or shown.inputs.ndim not in (2, 3):
        return None
    if shown.inputs.dtype.kind in "iu" and int(shown.inputs.min()) < 0:
        return None
    return shown if shown.inputs.dtype.kind in "iuf" else None


def _single_label(batch: Batch) -> Array | None:
    """The target of a batch of one sequence, where it is a bare number."""
    data = batch.data
    label = data[1] if isinstance(data, tuple | list) and len(data) == 2 else None
    return np.array([label]) if isinstance(label, int | float | np.number) else None


def _inputs(shown: Sequences, width: int) -> Iterator[tuple[tuple[int, ...], Array]]:
    """The inputs with time first, and the order of their axes; an axis that they do not have has the number 2."""
    inputs = np.asarray(shown.inputs)
    if inputs.ndim == 2 and inputs.dtype.kind in "iu":
        if int(inputs.max()) < width:
            orders = [(0, 1), (1, 0)]
            for order in orders if shown.time_axis is None else orders[shown.time_axis :][:1]:
                yield order, inputs.transpose(order)
        return
    if inputs.ndim == 2:
        if inputs.shape[1] == width:
            yield (0, 2, 1), inputs[:, None, :]
        if width == 1:
            yield (0, 1, 2), inputs[:, :, None]
            yield (1, 0, 2), inputs.T[:, :, None]
        return
    every = [axes for axes in permutations(range(3)) if inputs.shape[axes[2]] == width]
    usual = [axes for axes in every if axes[2] == 2 and axes[0] == (shown.time_axis or 0)]
    for axes in dict.fromkeys([*usual, *every]):
        yield axes, inputs.transpose(axes)


def _targets(targets: Array, steps: int, rows: int, outputs: int) -> Iterator[tuple[str, Array]]:
    if targets.dtype.kind in "iub" and outputs > 1:
        if int(targets.max()) >= outputs:
            return
        targets = targets.astype(np.intp)
        if targets.shape == (steps, rows):
            yield "each", targets
        if targets.shape == (rows, steps):
            yield "each, batch first", targets.T
        if targets.size == rows and rows in targets.shape:
            yield "last", targets.reshape(1, rows)
        return
    targets = targets.astype(np.float64)
    if targets.ndim == 2 and rows == 1 and targets.shape == (steps, outputs):
        yield "each, one sequence", targets[:, None, :]
    for axes in permutations(range(targets.ndim)) if targets.ndim == 3 else ():
        if tuple(targets.shape[axis] for axis in axes) == (steps, rows, outputs):
            yield f"each {axes}", targets.transpose(axes)
    if targets.ndim == 2 and outputs == 1:
        if targets.shape == (steps, rows):
            yield "each", targets[:, :, None]
        if targets.shape == (rows, steps):
            yield "each, batch first", targets.T[:, :, None]
    if targets.ndim <= 2 and targets.size == rows * outputs:
        if targets.ndim <= 1 or targets.shape[0] == rows:
            yield "last", targets.reshape(1, rows, outputs)
        if targets.ndim == 2 and targets.shape == (outputs, rows):
            yield "last, columns", targets.T.reshape(1, rows, outputs)
