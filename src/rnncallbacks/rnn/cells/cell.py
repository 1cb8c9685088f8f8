"""The base class of recurrent cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from rnncallbacks.arrays.containers import FlatArrays, FloatArray
from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.linalg.products import add_column_sums, add_product, prepared_matrix, product_blocks
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.validation import IntArray


@attrs.frozen(eq=False)
class CellParameters:
    """The four arrays of a cell in PyTorch's layout: its parameters, or their gradients.

    ``weight_ih`` is (gates * hidden_size, input_size), ``weight_hh`` is (gates * hidden_size, hidden_size), and the
    biases are (gates * hidden_size,).
    """

    weight_ih: FloatArray
    weight_hh: FloatArray
    bias_ih: FloatArray
    bias_hh: FloatArray

    @classmethod
    def of(cls, arrays: FlatArrays, suffix: str) -> CellParameters:
        """The arrays whose names end in ``suffix``, such as ``l0`` or ``l1_reverse``."""
        return cls(*(arrays[f"rnn.{field.name}_{suffix}"] for field in attrs.fields(cls)))


class StepProduct(NamedTuple):
    """The product with the recurrent matrix: ``multiply(operands[step], matrix, result)`` for each step."""

    multiply: Callable[..., object]
    operands: Sequence[FloatArray]
    matrix: FloatArray
    result: FloatArray


class Cell(ABC):
    """A recurrence over time, forward and backward.

    A cell computes the terms that depend on the step before. The input layer computes the others for all steps at once:
    it writes the projections :math:`x_t W_{ih}^T` plus a bias to the memory of the gates.

    Parameters
    ----------
    hidden_size:
        Number of units.

    Attributes
    ----------
    gates:
        Number of blocks of ``hidden_size`` rows in the weights.
    max_segments:
        Largest number of segments of a backward pass. One for cells that keep several arrays per step, next to which
        the gradients with respect to states are small.
    """

    gates: ClassVar[int]
    max_segments: ClassVar[int] = 1

    def __init__(self, hidden_size: int) -> None:
        self.hidden_size = hidden_size

    def zero_state(self, batch_size: int, dtype: np.dtype[Any]) -> Any:
        """The initial state of a sequence: zeros of shape (batch_size, hidden_size)."""
        return np.zeros((batch_size, self.hidden_size), dtype=dtype)

    def states(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """The hidden states, (seq_len + 1, batch, hidden_size), the initial one first."""
        return work.array("states", (seq_len + 1, batch_size, self.hidden_size))

    def projections(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """The projections, (seq_len, batch, gates * hidden_size), which share the memory of the gates."""
        return work.array("gates", (seq_len, batch_size, self.gates * self.hidden_size))

    def bias(self, parameters: CellParameters, out: FloatArray) -> None:
        """Write the bias that the input layer adds to the projections, (gates * hidden_size,)."""
        np.add(parameters.bias_ih, parameters.bias_hh, out)

    def set_initial_state(self, work: Workspace, seq_len: int, state: Any) -> None:
        """Copy a state with the structure of ``zero_state`` to the initial state of ``forward``."""
        np.copyto(self.states(work, seq_len, len(state))[0], state, casting="same_kind")

    @abstractmethod
    def forward(self, work: Workspace, parameters: CellParameters, seq_len: int, batch_size: int) -> None:
        """Turn projections into states, step by step."""

    def final_state(self, work: Workspace, seq_len: int, batch_size: int, lengths: IntArray | None) -> Any:
        """A copy of each row's state after ``lengths[row]`` steps; None: after all steps."""
        return states_after(self.states(work, seq_len, batch_size), lengths)

    @abstractmethod
    def backward(self, work: Workspace, parameters: CellParameters, gradients: FloatArray, segment: Segment) -> None:
        """Backpropagate through the steps of a segment, the last first.

        ``gradients`` is the work array of that name, (steps, batch, hidden_size): the gradients with respect to the
        hidden states that come from the layer above. It is overwritten. The gradients with respect to the state before
        the segment stay in work arrays, for the next call.
        """

    def hidden_gradients(self, work: Workspace, parameters: CellParameters, gradients: FloatArray) -> None:
        """Turn ``gradients`` of all steps into dL/dh, which includes the contribution of later steps."""
        self.backward(work, parameters, gradients, Segment.whole(len(gradients)))

    def write_gradients(
        self, work: Workspace, batch_size: int, parameter_gradients: CellParameters, segment: Segment
    ) -> FloatArray:
        """After ``backward``, add the gradients of the recurrent matrix and of the biases.

        Returns the gradients with respect to the projections, (steps * batch, gates * hidden_size).
        """
        rows = self._gate_gradients(work, batch_size, segment)
        previous = self._previous_states(work, batch_size, segment)
        add_product(work, rows.T, previous, parameter_gradients.weight_hh, segment.is_first)
        add_column_sums(work, rows, parameter_gradients.bias_ih, segment.is_first)
        np.copyto(parameter_gradients.bias_hh, parameter_gradients.bias_ih)
        return rows

    def backward_matrix(self, weight_hh: FloatArray) -> FloatArray:
        """The matrix by which gradients are multiplied in the backward pass."""
        return weight_hh

    def step_multiplications(self, batch_size: int) -> int:
        """Multiplications in the product of one step."""
        return batch_size * self.gates * self.hidden_size**2

    def _gate_gradients(self, work: Workspace, batch_size: int, segment: Segment) -> FloatArray:
        """The gradients with respect to the inputs of the gates' nonlinearities, in the memory of the gates."""
        gates = self.projections(work, segment.seq_len, batch_size)[segment.steps]
        return gates.reshape(-1, self.gates * self.hidden_size)

    def _previous_states(self, work: Workspace, batch_size: int, segment: Segment) -> FloatArray:
        """The state before each step of a segment, (steps * batch, hidden_size)."""
        return self.states(work, segment.seq_len, batch_size)[segment.steps].reshape(-1, self.hidden_size)

    def _forward_product(
        self, work: Workspace, parameters: CellParameters, seq_len: int, batch_size: int
    ) -> StepProduct:
        """The product of a step's state with the recurrent matrix, in the work array ``recurrent``."""
        matrix = parameters.weight_hh.T
        return _step_product(work, "states", (seq_len + 1, batch_size), matrix, seq_len * batch_size)

    def _backward_product(
        self, work: Workspace, parameters: CellParameters, batch_size: int, segment: Segment, operands: str = "gates"
    ) -> StepProduct:
        """The product of a step's gate gradients with the recurrent matrix, in the work array ``recurrent``.

        ``operands`` names the work array of these gradients.
        """
        matrix, seq_len = self.backward_matrix(parameters.weight_hh), segment.seq_len
        length = seq_len if operands == "gates" else segment.end - segment.begin
        rows = seq_len * batch_size
        return _step_product(work, operands, (length, batch_size), matrix, rows, copy=segment.is_first)


def _step_product(
    work: Workspace, operands: str, shape: tuple[int, int], matrix: FloatArray, rows: int, *, copy: bool = True
) -> StepProduct:
    length, batch_size = shape
    inner, columns = matrix.shape
    height, width = product_blocks(batch_size, inner, columns)
    result = work.array("recurrent", (batch_size, columns))
    if (height, width) == (batch_size, columns):
        matrix = prepared_matrix(work, matrix, rows, copy=copy)
        # The method: the function numpy.dot first looks for overrides of its arguments' types.
        return StepProduct(np.ndarray.dot, work.steps(operands, (length, batch_size, inner)), matrix, result)
    matrix = prepared_matrix(work, matrix, rows, width=width, copy=copy)
    blocks = result.reshape(-1, height, columns // width, width).swapaxes(1, 2)
    return StepProduct(
        np.matmul, work.steps(operands, (length, batch_size // height, 1, height, inner)), matrix, blocks
    )


def states_after(states: FloatArray, lengths: IntArray | None) -> FloatArray:
    """A copy of each row's state after ``lengths[row]`` steps, where 0 gives the initial one; None: the last state."""
    return states[-1].copy() if lengths is None else states[lengths, np.arange(states.shape[1])]
