"""The simple recurrent cell."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.cells.cell import Cell, CellParameters
from rnncallbacks.rnn.cells.segments import Segment, cache_blocks
from rnncallbacks.rnn.linalg.activations import select_tanh
from rnncallbacks.rnn.linalg.workspace import Workspace


class VanillaCell(Cell):
    r"""The simple recurrent cell.

    .. math:: h_t = \sigma(x_t W_{ih}^T + b_{ih} + b_{hh} + h_{t-1} W_{hh}^T)

    with :math:`\sigma` tanh or ReLU.

    Parameters
    ----------
    hidden_size:
        Number of units.
    nonlinearity:
        ``"tanh"`` or ``"relu"``.

    Source: Elman, "Finding structure in time" (1990); for ReLU, Le, Jaitly and Hinton, "A simple way to initialize
    recurrent networks of rectified linear units" (2015). Shapes and names are those of ``torch.nn.RNN``.
    """

    gates: ClassVar[int] = 1
    # The states are all that the forward pass keeps, and their gradients are as large. With six segments, a step holds
    # at most 1.5 times what it must keep. Measured: docs/explanation/speed.md.
    max_segments: ClassVar[int] = 6

    def __init__(self, hidden_size: int, nonlinearity: str) -> None:
        super().__init__(hidden_size)
        self.nonlinearity = nonlinearity

    def projections(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """The memory of the states after each step, which replace the projections."""
        return self.states(work, seq_len, batch_size)[1:]

    def forward(self, work: Workspace, parameters: CellParameters, seq_len: int, batch_size: int) -> None:
        """Turn projections into states, in place."""
        multiply, operands, matrix, product = self._forward_product(work, parameters, seq_len, batch_size)
        recurrent = work.array("recurrent", (batch_size, self.hidden_size))
        steps = work.steps("states", (seq_len + 1, batch_size, self.hidden_size))[1:]
        # Local names and positional outputs: in small networks, calls cost more than arithmetic.
        add = np.add
        if self.nonlinearity == "tanh":
            tanh = select_tanh(recurrent.size, work.dtype)
            for previous, step in zip(operands[:-1], steps, strict=True):
                # step is x_t W_ih^T + b_ih + b_hh, and becomes h_t.
                multiply(previous, matrix, product)
                add(step, recurrent, step)
                tanh(step, step)
        else:
            zero, maximum = np.zeros((), dtype=work.dtype), np.maximum
            for previous, step in zip(operands[:-1], steps, strict=True):
                multiply(previous, matrix, product)
                add(step, recurrent, step)
                maximum(step, zero, out=step)

    def backward(self, work: Workspace, parameters: CellParameters, gradients: FloatArray, segment: Segment) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`.

        The gradients with respect to the input of the nonlinearity replace those with respect to the states.
        """
        self._backward_steps(work, parameters, gradients, segment, in_place=True)

    def hidden_gradients(self, work: Workspace, parameters: CellParameters, gradients: FloatArray) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`."""
        self._backward_steps(work, parameters, gradients, Segment.whole(len(gradients)), in_place=False)

    def _backward_steps(
        self, work: Workspace, parameters: CellParameters, gradients: FloatArray, segment: Segment, *, in_place: bool
    ) -> None:
        length, batch_size, hidden_size = gradients.shape
        states = self.states(work, segment.seq_len, batch_size)
        multiply, operands, matrix, product = self._backward_product(work, parameters, batch_size, segment, "gradients")
        recurrent = work.array("recurrent", (batch_size, hidden_size))
        if segment.is_first:
            recurrent.fill(0.0)
        steps = work.steps("gradients", (length, batch_size, hidden_size))
        add, times = np.add, np.multiply
        # Half of the steps that fit: more save little time, and their derivatives take memory next to the states.
        for begin, end in cache_blocks(segment, 4 * batch_size * hidden_size):
            shape = end - begin, batch_size, hidden_size
            self._derivatives(states[begin + 1 : end + 1], work.array("derivatives", shape))
            derivatives = work.steps("derivatives", shape)
            first = segment.begin
            if not in_place:
                first, operands = begin, work.steps("derivatives", (end - begin, *operands[0].shape))
            for number in range(end - 1, begin - 1, -1):
                step, derivative = steps[number - segment.begin], derivatives[number - begin]
                # dL/dh_t = the gradient from above + that through step t + 1
                add(step, recurrent, step)
                # dL/da_t = dL/dh_t sigma'(a_t)
                times(step, derivative, step if in_place else derivative)
                # to h_{t-1}: dL/da_t W_hh
                if number:
                    multiply(operands[number - first], matrix, product)

    def _gate_gradients(self, work: Workspace, batch_size: int, segment: Segment) -> FloatArray:
        """In the memory of the gradients with respect to the states."""
        return work.array("gradients", ((segment.end - segment.begin) * batch_size, self.hidden_size))

    def _derivatives(self, states: FloatArray, out: FloatArray) -> None:
        """Write the derivative of the nonlinearity, computed from its outputs."""
        if self.nonlinearity == "tanh":
            np.multiply(states, states, out)
            np.subtract(1.0, out, out)
        else:
            # The states are never negative, so their sign is 1 for active units and 0 for the others.
            np.sign(states, out)
