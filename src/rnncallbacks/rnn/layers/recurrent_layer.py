"""One recurrent layer: a cell in one or two directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, FloatArray
from rnncallbacks.rnn.cells.cell import Cell, CellParameters
from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.layers.inputs import Input
from rnncallbacks.rnn.layers.padding import Reversal
from rnncallbacks.rnn.linalg.products import multiply_rows
from rnncallbacks.rnn.linalg.threads import with_step_threads
from rnncallbacks.rnn.linalg.workspace import Workspace


@attrs.frozen(eq=False)
class Direction:
    """A cell with its parameters and their gradients, which reads sequences forwards or backwards."""

    name: str
    cell: Cell
    parameters: CellParameters
    parameter_gradients: CellParameters
    backwards: bool

    def forward(self, work: Workspace, source: Input, inputs: Array, state: Any, reversal: Reversal) -> FloatArray:
        """The states after each step of ``inputs``, (seq_len, batch, hidden_size)."""
        seq_len, batch_size = inputs.shape[:2]
        cell, parameters = self.cell, self.parameters
        cell.set_initial_state(work, seq_len, state)
        bias = work.array("bias", parameters.bias_ih.shape)
        cell.bias(parameters, bias)
        inputs = reversal(inputs) if self.backwards else inputs
        source.forward(work, parameters.weight_ih, bias, inputs, cell.projections(work, seq_len, batch_size))
        multiplications = cell.step_multiplications(batch_size)
        with_step_threads(multiplications, cell.forward, work, parameters, seq_len, batch_size)
        states = cell.states(work, seq_len, batch_size)[1:]
        return reversal(states) if self.backwards else states

    def backward(
        self, work: Workspace, source: Input, inputs: Array, gradients: FloatArray, reversal: Reversal, segment: Segment
    ) -> FloatArray:
        """Add to the gradients of the parameters. Returns those of the projections, in the cell's order."""
        inputs = reversal(inputs) if self.backwards else inputs
        batch_size = inputs.shape[1]
        multiplications = self.cell.step_multiplications(batch_size)
        with_step_threads(multiplications, self.cell.backward, work, self.parameters, gradients, segment)
        projected = self.cell.write_gradients(work, batch_size, self.parameter_gradients, segment)
        weight_gradient = self.parameter_gradients.weight_ih
        source.backward(work, self.parameters.weight_ih, weight_gradient, inputs, projected, segment.is_first)
        return projected


class RecurrentLayer:
    """One layer of a network: one or two directions that read the same inputs. Their outputs are concatenated.

    Parameters
    ----------
    source:
        The input layer, which computes the projections.
    directions:
        One or two.
    """

    def __init__(self, source: Input, directions: Sequence[Direction]) -> None:
        self.source = source
        self.directions = directions
        self.hidden_size = directions[0].cell.hidden_size

    def forward(self, work: Workspace, inputs: Array, states: Sequence[Any], reversal: Reversal) -> FloatArray:
        """Outputs (seq_len, batch, directions * hidden_size), from one initial state per direction."""
        outputs = [
            direction.forward(work.part(direction.name), self.source, inputs, state, reversal)
            for direction, state in zip(self.directions, states, strict=True)
        ]
        if len(outputs) == 1:
            return outputs[0]
        return np.concatenate(outputs, axis=2, out=work.array("joined", self.shape(inputs)))

    def shape(self, inputs: Array) -> tuple[int, int, int]:
        """The shape of the outputs."""
        return inputs.shape[0], inputs.shape[1], len(self.directions) * self.hidden_size

    def gradients(self, work: Workspace, inputs: Array) -> FloatArray:
        """The work array of the gradients with respect to the outputs, which ``backward`` reads."""
        if len(self.directions) == 1:
            return work.part(self.directions[0].name).array("gradients", self.shape(inputs))
        return work.array("gradients", self.shape(inputs))

    def backward(
        self, work: Workspace, inputs: Array, reversal: Reversal, input_gradients: FloatArray | None, segment: Segment
    ) -> None:
        """Backpropagate from ``gradients``, which is overwritten.

        The gradients with respect to the inputs are written to ``input_gradients``, unless that is None.
        """
        joined = self.gradients(work, inputs)
        for number, direction in enumerate(self.directions):
            part = work.part(direction.name)
            own = self._own_gradients(work, joined, number, reversal)
            projected = direction.backward(part, self.source, inputs, own, reversal, segment)
            if input_gradients is None:
                continue
            matrix = direction.parameters.weight_ih
            if number == 0:
                multiply_rows(part, projected, matrix, input_gradients.reshape(len(projected), -1))
            else:
                more = work.array("input_gradients", input_gradients.shape)
                multiply_rows(part, projected, matrix, more.reshape(len(projected), -1))
                np.add(input_gradients, reversal(more) if direction.backwards else more, input_gradients)

    def hidden_gradients(self, work: Workspace, inputs: Array, reversal: Reversal) -> FloatArray:
        """Turn ``gradients`` of all steps into dL/dh of the first direction."""
        direction = self.directions[0]
        own = self._own_gradients(work, self.gradients(work, inputs), 0, reversal)
        multiplications = direction.cell.step_multiplications(inputs.shape[1])
        part = work.part(direction.name)
        with_step_threads(multiplications, direction.cell.hidden_gradients, part, direction.parameters, own)
        return own

    def _own_gradients(self, work: Workspace, joined: FloatArray, number: int, reversal: Reversal) -> FloatArray:
        """The part of ``gradients`` that belongs to a direction, in the order in which it reads the steps."""
        direction, size = self.directions[number], self.hidden_size
        own = work.part(direction.name).array("gradients", (*joined.shape[:2], size))
        if len(self.directions) > 1:
            half = joined[:, :, number * size : (number + 1) * size]
            np.copyto(own, reversal(half) if direction.backwards else half)
        return own
