"""Recurrent layers, one on top of the other: directions, residual connections, normalisation, dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays import Array, FloatArray
from rnncallbacks.rnn.cells import Cell, CellArrays, Piece, pieces
from rnncallbacks.rnn.checks import IntArray
from rnncallbacks.rnn.dropout import Dropout
from rnncallbacks.rnn.inputs import Input
from rnncallbacks.rnn.layer_norm import LayerNorm
from rnncallbacks.rnn.products import multiply_rows
from rnncallbacks.rnn.threads import with_step_threads
from rnncallbacks.rnn.workspace import Workspace


@attrs.frozen(eq=False)
class Direction:
    """A cell that goes over the steps, in their order or from the last to the first, with its parameters."""

    name: str
    cell: Cell
    arrays: CellArrays
    written: CellArrays
    backwards: bool

    def forward(self, work: Workspace, source: Input, inputs: Array, state: Any, reversal: Reversal) -> FloatArray:
        """The states behind the steps of ``inputs``, (seq_len, batch, hidden_size)."""
        seq_len, batch_size = inputs.shape[:2]
        cell = self.cell
        cell.enter(work, seq_len, state)
        bias = work.array("bias", self.arrays.bias_ih.shape)
        cell.bias(self.arrays, bias)
        read = reversal(inputs) if self.backwards else inputs
        source.forward(work, self.arrays.weight_ih, bias, read, cell.projections(work, seq_len, batch_size))
        with_step_threads(cell.multiplications(batch_size), cell.forward, work, self.arrays, seq_len, batch_size)
        states = cell.states(work, seq_len, batch_size)[1:]
        return reversal(states) if self.backwards else states

    def backward(
        self, work: Workspace, source: Input, inputs: Array, gradients: FloatArray, reversal: Reversal, piece: Piece
    ) -> FloatArray:
        """Add to all gradients of parameters; returns those with respect to the projections, in the cell's order."""
        read = reversal(inputs) if self.backwards else inputs
        batch_size = inputs.shape[1]
        calls = self.cell.multiplications(batch_size)
        with_step_threads(calls, self.cell.backward, work, self.arrays, gradients, piece)
        projected = self.cell.write(work, batch_size, self.written, piece)
        source.backward(work, self.arrays.weight_ih, self.written.weight_ih, read, projected, piece.is_first)
        return projected


class Reversal:
    """Turns the steps of each row around, up to the last one that counts; those behind it stay where they are."""

    def __init__(self, ends: IntArray | None, seq_len: int) -> None:
        self._order: IntArray | None = None
        if ends is not None:
            step = np.arange(seq_len)[:, None]
            self._order = np.where(step < ends, ends - 1 - step, step)

    def __call__(self, array: Array) -> Array:
        """A copy of an array (seq_len, batch, ...) with each row turned around. Twice is what there was."""
        if self._order is None:
            return np.ascontiguousarray(array[::-1])
        return array[self._order, np.arange(array.shape[1])]


class RecurrentLayer:
    """One layer of a network: one or two directions over the same inputs, side by side in the outputs."""

    def __init__(self, source: Input, directions: Sequence[Direction]) -> None:
        self.source = source
        self.directions = directions
        self.hidden_size = directions[0].cell.hidden_size

    def forward(self, work: Workspace, inputs: Array, states: Sequence[Any], reversal: Reversal) -> FloatArray:
        """Outputs of shape (seq_len, batch, directions * hidden_size), for one entering state per direction."""
        outputs = [
            direction.forward(work.part(direction.name), self.source, inputs, state, reversal)
            for direction, state in zip(self.directions, states, strict=True)
        ]
        if len(outputs) == 1:
            return outputs[0]
        joined = work.array("joined", self.shape(inputs))
        return np.concatenate(outputs, axis=2, out=joined)

    def shape(self, inputs: Array) -> tuple[int, int, int]:
        """The shape of the outputs."""
        return inputs.shape[0], inputs.shape[1], len(self.directions) * self.hidden_size

    def gradients(self, work: Workspace, inputs: Array) -> FloatArray:
        """Where the gradients with respect to the outputs belong."""
        if len(self.directions) == 1:
            return work.part(self.directions[0].name).array("gradients", self.shape(inputs))
        return work.array("gradients", self.shape(inputs))

    def backward(
        self, work: Workspace, inputs: Array, reversal: Reversal, to_inputs: FloatArray | None, piece: Piece
    ) -> None:
        """Go back from ``gradients``, which are overwritten; to_inputs: where those with respect to the inputs go."""
        joined = self.gradients(work, inputs)
        for number, direction in enumerate(self.directions):
            part = work.part(direction.name)
            own = self._own_gradients(work, joined, number, reversal)
            projected = direction.backward(part, self.source, inputs, own, reversal, piece)
            if to_inputs is None:
                continue
            matrix = direction.arrays.weight_ih
            if number == 0:
                multiply_rows(part, projected, matrix, to_inputs.reshape(len(projected), -1))
            else:
                more = work.array("to_inputs", to_inputs.shape)
                multiply_rows(part, projected, matrix, more.reshape(len(projected), -1))
                np.add(to_inputs, reversal(more) if direction.backwards else more, to_inputs)

    def to_states(self, work: Workspace, inputs: Array, reversal: Reversal) -> FloatArray:
        """Turn ``gradients`` of all steps into dL/dh of the first direction."""
        direction = self.directions[0]
        own = self._own_gradients(work, self.gradients(work, inputs), 0, reversal)
        calls = direction.cell.multiplications(inputs.shape[1])
        with_step_threads(calls, direction.cell.to_states, work.part(direction.name), direction.arrays, own)
        return own

    def _own_gradients(self, work: Workspace, joined: FloatArray, number: int, reversal: Reversal) -> FloatArray:
        """Those of ``gradients`` that belong to a direction, in the order in which it goes over the steps."""
        direction, size = self.directions[number], self.hidden_size
        own = work.part(direction.name).array("gradients", (*joined.shape[:2], size))
        if len(self.directions) > 1:
            half = joined[:, :, number * size : (number + 1) * size]
            np.copyto(own, reversal(half) if direction.backwards else half)
        return own


@attrs.frozen(eq=False)
class Level:
    """A layer and what its outputs pass through on their way up: sum with the inputs, normalisation, dropout."""

    layer: RecurrentLayer
    residual: bool
    norm: LayerNorm | None
    dropout: Dropout | None


class Stack:
    """Layers on top of one another. The first reads the network's inputs, each other one the outputs below it."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = levels
        self.directions = [direction for level in levels for direction in level.layer.directions]

    def forward(
        self, work: Workspace, inputs: Array, states: Sequence[Any], reversal: Reversal, dropout_pass: int | None
    ) -> list[Array]:
        """What each level reads, from the network's inputs up, and last the outputs, (seq_len, batch, size).

        The dropout is that of pass number ``dropout_pass``; there is none if that is None.
        """
        read = [inputs]
        begin = 0
        for number, level in enumerate(self.levels):
            part = work.part(str(number))
            end = begin + len(level.layer.directions)
            outputs = level.layer.forward(part, read[-1], states[begin:end], reversal)
            begin = end
            if level.residual:
                outputs = np.add(outputs, read[-1], part.array("sum", outputs.shape))
            if level.norm is not None:
                outputs = level.norm.forward(part, outputs)
            if level.dropout is not None and dropout_pass is not None:
                outputs = level.dropout.forward(part, outputs, dropout_pass)
            read.append(outputs)
        return read

    def leave(self, work: Workspace, seq_len: int, batch_size: int, ends: IntArray | None) -> list[Any]:
        """Copies of the states behind step ``ends[row]`` of each row, one per direction, the lowest layer first."""
        return [
            direction.cell.leave(self.work_of(work, number, direction), seq_len, batch_size, ends)
            for number, level in enumerate(self.levels)
            for direction in level.layer.directions
        ]

    def work_of(self, work: Workspace, number: int, direction: Direction) -> Workspace:
        """The part of a workspace in which a direction of level ``number`` keeps its states."""
        return work.part(str(number)).part(direction.name)

    def gradients(self, work: Workspace, inputs: Array) -> FloatArray:
        """Where the gradients with respect to the outputs belong."""
        return self.levels[-1].layer.gradients(work.part(str(len(self.levels) - 1)), inputs)

    def pieces(self, seq_len: int, batch_size: int) -> Iterator[Piece]:
        """The pieces in which to go back: one, where a direction begins at the other end."""
        cell = self.directions[0].cell
        size = cell.hidden_size
        both = any(direction.backwards for direction in self.directions)
        return pieces(seq_len, batch_size * size, size**2, 1 if both else cell.pieces)

    def backward(self, work: Workspace, read: Sequence[Array], reversal: Reversal, piece: Piece) -> None:
        """Go back from ``gradients`` to the inputs, through the latest forward pass.

        ``read`` is what that returned, of the steps of the piece.
        """
        for number in range(len(self.levels) - 1, -1, -1):
            level, part = self.levels[number], work.part(str(number))
            gradients = level.layer.gradients(part, read[0])
            if level.dropout is not None:
                level.dropout.backward(part, gradients, piece)
            if level.norm is not None:
                level.norm.backward(part, gradients, piece)
            if number == 0:
                level.layer.backward(part, read[0], reversal, None, piece)
                return
            to_inputs = self.levels[number - 1].layer.gradients(work.part(str(number - 1)), read[0])
            if level.residual:
                around = part.array("around", gradients.shape)
                np.copyto(around, gradients)
            level.layer.backward(part, read[number], reversal, to_inputs, piece)
            if level.residual:
                np.add(to_inputs, around, to_inputs)

    def to_states(self, work: Workspace, read: Sequence[Array], reversal: Reversal) -> FloatArray:
        """The gradients with respect to the states of the uppermost layer (forward direction), from ``gradients``."""
        level, part = self.levels[-1], work.part(str(len(self.levels) - 1))
        if level.norm is not None:
            seq_len = len(read[0])
            level.norm.backward(part, level.layer.gradients(part, read[0]), Piece(0, seq_len, seq_len))
        return level.layer.to_states(part, read[0], reversal)
