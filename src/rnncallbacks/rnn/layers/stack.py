"""A stack of recurrent layers, with residual connections, layer normalization and dropout between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, FloatArray
from rnncallbacks.rnn.cells.segments import Segment, segments
from rnncallbacks.rnn.layers.dropout import Dropout
from rnncallbacks.rnn.layers.layer_normalization import LayerNormalization
from rnncallbacks.rnn.layers.padding import Reversal
from rnncallbacks.rnn.layers.recurrent_layer import Direction, RecurrentLayer
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.validation import IntArray, check_state


@attrs.frozen(eq=False)
class StackedLayer:
    """A recurrent layer with the operations after it: the residual sum, then normalization, then dropout."""

    layer: RecurrentLayer
    residual: bool
    normalization: LayerNormalization | None
    dropout: Dropout | None


class Stack:
    """Recurrent layers on top of one another. The first reads the network's inputs, each other the outputs below it.

    Parameters
    ----------
    layers:
        From the lowest to the uppermost.
    """

    def __init__(self, layers: Sequence[StackedLayer]) -> None:
        self.layers = layers
        self.directions = [direction for stacked in layers for direction in stacked.layer.directions]

    def forward(
        self, work: Workspace, inputs: Array, states: Sequence[Any], reversal: Reversal, dropout_pass: int | None
    ) -> list[Array]:
        """The inputs of each layer, from the network's inputs up, and last the outputs, (seq_len, batch, size).

        ``dropout_pass`` is the number of the forward pass, which determines the dropout; None: no dropout.
        """
        layer_inputs = [inputs]
        begin = 0
        for number, stacked in enumerate(self.layers):
            part = work.part(str(number))
            end = begin + len(stacked.layer.directions)
            outputs = stacked.layer.forward(part, layer_inputs[-1], states[begin:end], reversal)
            begin = end
            if stacked.residual:
                outputs = np.add(outputs, layer_inputs[-1], part.array("sum", outputs.shape))
            if stacked.normalization is not None:
                outputs = stacked.normalization.forward(part, outputs)
            if stacked.dropout is not None and dropout_pass is not None:
                outputs = stacked.dropout.forward(part, outputs, dropout_pass)
            layer_inputs.append(outputs)
        return layer_inputs

    def zero_state(self, batch_size: int, dtype: np.dtype[Any]) -> Any:
        """The initial state of sequences: zeros. One state, or a tuple of one per direction, the lowest layer first."""
        return _joined([direction.cell.zero_state(batch_size, dtype) for direction in self.directions])

    def states_by_direction(self, state: Any, batch_size: int, dtype: np.dtype[Any]) -> Sequence[Any]:
        """The states of the directions in a state with the structure of ``zero_state``.

        Raises
        ------
        ContainerError
            The state has another structure.
        ShapeError
            An array has another shape.
        """
        check_state(state, self.zero_state(batch_size, dtype))
        return [state] if len(self.directions) == 1 else state

    def final_state(self, work: Workspace, seq_len: int, batch_size: int, lengths: IntArray | None) -> Any:
        """A copy of the state after ``lengths[row]`` steps of each row, with the structure of ``zero_state``."""
        final_states = [
            direction.cell.final_state(self._work_of(work, number, direction), seq_len, batch_size, lengths)
            for number, stacked in enumerate(self.layers)
            for direction in stacked.layer.directions
        ]
        return _joined(final_states)

    def hidden_states(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """The states of the uppermost layer's first direction, (seq_len + 1, batch, hidden_size): a work array."""
        top = self.layers[-1].layer.directions[0]
        return top.cell.states(self._work_of(work, len(self.layers) - 1, top), seq_len, batch_size)

    def gradients(self, work: Workspace, inputs: Array) -> FloatArray:
        """The work array of the gradients with respect to the outputs, which ``backward`` reads."""
        return self.layers[-1].layer.gradients(work.part(str(len(self.layers) - 1)), inputs)

    def segments(self, seq_len: int, batch_size: int) -> Iterator[Segment]:
        """The segments of the backward pass. A single one if a direction reads from the end."""
        cell = self.directions[0].cell
        size = cell.hidden_size
        bidirectional = any(direction.backwards for direction in self.directions)
        return segments(seq_len, batch_size * size, size**2, 1 if bidirectional else cell.max_segments)

    def backward(self, work: Workspace, layer_inputs: Sequence[Array], reversal: Reversal, segment: Segment) -> None:
        """Backpropagate from ``gradients`` to the inputs, through the latest forward pass.

        ``layer_inputs`` is the result of that pass, cut to the steps of the segment.
        """
        inputs = layer_inputs[0]
        for number in range(len(self.layers) - 1, -1, -1):
            stacked, part = self.layers[number], work.part(str(number))
            gradients = stacked.layer.gradients(part, inputs)
            if stacked.dropout is not None:
                stacked.dropout.backward(part, gradients, segment)
            if stacked.normalization is not None:
                stacked.normalization.backward(part, gradients, segment)
            if number == 0:
                stacked.layer.backward(part, inputs, reversal, None, segment)
                return
            below = self.layers[number - 1].layer.gradients(work.part(str(number - 1)), inputs)
            if stacked.residual:
                residual_gradients = part.array("residual_gradients", gradients.shape)
                np.copyto(residual_gradients, gradients)
            stacked.layer.backward(part, layer_inputs[number], reversal, below, segment)
            if stacked.residual:
                np.add(below, residual_gradients, below)

    def hidden_gradients(self, work: Workspace, layer_inputs: Sequence[Array], reversal: Reversal) -> FloatArray:
        """Turn ``gradients`` of all steps into dL/dh of the uppermost layer's first direction."""
        stacked, part = self.layers[-1], work.part(str(len(self.layers) - 1))
        if stacked.normalization is not None:
            segment = Segment.whole(len(layer_inputs[0]))
            stacked.normalization.backward(part, stacked.layer.gradients(part, layer_inputs[0]), segment)
        return stacked.layer.hidden_gradients(part, layer_inputs[0], reversal)

    def _work_of(self, work: Workspace, number: int, direction: Direction) -> Workspace:
        """The part of a workspace in which a direction of layer ``number`` keeps its states."""
        return work.part(str(number)).part(direction.name)


def _joined(states: list[Any]) -> Any:
    return states[0] if len(states) == 1 else tuple(states)
