"""The gated recurrent unit, in PyTorch's formulation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.cells.cell import CellParameters
from rnncallbacks.rnn.cells.gated import GatedCell
from rnncallbacks.rnn.cells.segments import Segment, cache_blocks
from rnncallbacks.rnn.linalg.activations import select_tanh
from rnncallbacks.rnn.linalg.products import add_column_sums, add_product
from rnncallbacks.rnn.linalg.workspace import Workspace


class GRUCell(GatedCell):
    r"""The gated recurrent unit whose reset gate comes after the matrix product.

    .. math::
       r &= \mathrm{sigmoid}(x_t W_{ir}^T + b_{ir} + b_{hr} + h_{t-1} W_{hr}^T) \\
       z &= \mathrm{sigmoid}(x_t W_{iz}^T + b_{iz} + b_{hz} + h_{t-1} W_{hz}^T) \\
       n &= \tanh(x_t W_{in}^T + b_{in} + r (h_{t-1} W_{hn}^T + b_{hn})) \\
       h_t &= (1 - z) n + z h_{t-1}

    Parameters
    ----------
    hidden_size:
        Number of units.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation"
    (2014), in the form of ``torch.nn.GRU``, whose shapes, names and order of gates these are.
    """

    gates: ClassVar[int] = 3

    def bias(self, parameters: CellParameters, out: FloatArray) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`, but without b_hn, which the reset gate multiplies."""
        np.copyto(out, parameters.bias_ih)
        gates = 2 * self.hidden_size
        np.add(out[:gates], parameters.bias_hh[:gates], out[:gates])

    def forward(self, work: Workspace, parameters: CellParameters, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates and states."""
        size = self.hidden_size
        multiply, operands, matrix, product = self._forward_product(work, parameters, seq_len, batch_size)
        # One addition serves all gates: b_hn takes the place of x_t W_in^T + b_in, which moves to candidate_inputs.
        projections = self.projections(work, seq_len, batch_size)
        np.copyto(work.array("candidate_inputs", (seq_len, batch_size, size)), projections[:, :, 2 * size :])
        projections[:, :, 2 * size :] = parameters.bias_hh[2 * size :]
        recurrent = work.array("recurrent", (batch_size, 3 * size))
        recurrent_rz = recurrent[:, : 2 * size].reshape(batch_size, 2, size).swapaxes(0, 1)
        recurrent_n = recurrent[:, 2 * size :]
        by_row = self._gates_by_row(work, seq_len, batch_size)
        both_gates = [gates[:2] for gates in self._gates_by_gate(work, seq_len, batch_size)]
        single_gates = self._single_gates(work, seq_len, batch_size)
        candidate_inputs = work.steps("candidate_inputs", (seq_len, batch_size, size))
        states = work.steps("states", (seq_len + 1, batch_size, size))
        tanh = select_tanh(batch_size * size, work.dtype)
        one = np.ones((), dtype=work.dtype)
        # Local names and positional outputs: in small networks, calls cost more than arithmetic.
        add, subtract, times, divide, exp, copy = np.add, np.subtract, np.multiply, np.divide, np.exp, np.copyto
        for operand, before, projected, rz, r, z, n, candidate_input, state in zip(
            operands[:-1], states[:-1], by_row, both_gates, *single_gates, candidate_inputs, states[1:], strict=True
        ):
            # x_t W_ih^T + b_ih + b_hh + h_{t-1} W_hh^T for r and z, and h_{t-1} W_hn^T + b_hn for n
            multiply(operand, matrix, product)
            add(projected, recurrent, recurrent)
            # r, z = sigmoid(a) = 1 - 1 / (1 + exp(a))
            exp(recurrent_rz, rz)
            add(rz, one, rz)
            divide(one, rz, rz)
            subtract(one, rz, rz)
            # n = tanh(x_t W_in^T + b_in + r (h_{t-1} W_hn^T + b_hn))
            times(r, recurrent_n, n)
            add(n, candidate_input, n)
            tanh(n, n)
            # The backward pass needs h_{t-1} W_hn^T + b_hn, in memory that is now free.
            copy(candidate_input, recurrent_n)
            # h_t = (1 - z) n + z h_{t-1} = n + z (h_{t-1} - n)
            subtract(before, n, state)
            times(state, z, state)
            add(state, n, state)

    def backward(self, work: Workspace, parameters: CellParameters, gradients: FloatArray, segment: Segment) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`."""
        length, batch_size, size = gradients.shape
        seq_len = segment.seq_len
        multiply, operands, matrix, product = self._backward_product(work, parameters, batch_size, segment)
        recurrent = work.array("recurrent", (batch_size, size))
        hidden = work.steps("gradients", (length, batch_size, size))
        update = self._single_gates(work, seq_len, batch_size)[1]
        gate_gradients = list(self._gate_gradient_views(work, seq_len, batch_size))
        candidate_gradients = work.steps("candidate_inputs", (seq_len, batch_size, size))
        direct = work.array("direct", (batch_size, size))
        if segment.is_first:
            recurrent.fill(0.0)
            direct.fill(0.0)
        add, times = np.add, np.multiply
        for begin, end in cache_blocks(segment, 9 * batch_size * size):
            to_gates, to_candidate = self._derivatives(work, seq_len, batch_size, begin, end)
            for step in range(end - 1, begin - 1, -1):
                gradient = hidden[step - segment.begin]
                # dL/dh_t = the gradient from above + those through the product and z h_t of step t + 1
                add(gradient, recurrent, gradient)
                add(gradient, direct, gradient)
                # to h_{t-1} by way of z h_{t-1}: dL/dh_t z
                times(gradient, update[step], direct)
                # the inputs of r and z, h_{t-1} W_hn^T + b_hn, and the input of n
                times(gradient, to_gates[step - begin], gate_gradients[step])
                times(gradient, to_candidate[step - begin], candidate_gradients[step])
                # to h_{t-1} by way of the product
                if step:
                    multiply(operands[step], matrix, product)

    def write_gradients(
        self, work: Workspace, batch_size: int, parameter_gradients: CellParameters, segment: Segment
    ) -> FloatArray:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`."""
        size = self.hidden_size
        rows = self._gate_gradients(work, batch_size, segment)
        previous = self._previous_states(work, batch_size, segment)
        add_product(work, rows.T, previous, parameter_gradients.weight_hh, segment.is_first)
        add_column_sums(work, rows, parameter_gradients.bias_hh, segment.is_first)
        # The inputs enter n directly, not through the reset gate, so their part of the gradient is another one.
        direct = work.array("candidate_inputs", (segment.seq_len, batch_size, size))[segment.steps].reshape(-1, size)
        np.copyto(rows[:, 2 * size :], direct)
        np.copyto(parameter_gradients.bias_ih[: 2 * size], parameter_gradients.bias_hh[: 2 * size])
        add_column_sums(work, direct, parameter_gradients.bias_ih[2 * size :], segment.is_first)
        return rows

    def _derivatives(
        self, work: Workspace, seq_len: int, batch_size: int, begin: int, end: int
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        """The factors that depend on the forward pass only, for the steps from ``begin`` to ``end``.

        The derivatives of h_t with respect to the inputs of r and z and to h_{t-1} W_hn^T + b_hn, (3, batch,
        hidden_size) per step; and with respect to the input of n, (batch, hidden_size) per step.
        """
        shape = (batch_size, self.hidden_size)
        steps = end - begin
        gates = work.array("gates", (seq_len, 3, *shape))[begin:end]
        r, z, n = (gates[:, gate] for gate in range(3))
        before = self.states(work, seq_len, batch_size)[begin:end]
        recurrent_n = work.array("candidate_inputs", (seq_len, *shape))[begin:end]
        to_candidate = work.array("to_candidate", (steps, *shape))
        to_gates = work.array("to_gates", (steps, 3, *shape))
        to_r, to_z, to_n = (to_gates[:, gate] for gate in range(3))
        # to the input of n: (1 - z) (1 - n^2)
        np.multiply(n, n, to_candidate)
        np.subtract(1.0, to_candidate, to_candidate)
        np.subtract(1.0, z, to_z)
        np.multiply(to_candidate, to_z, to_candidate)
        # to the input of z: z (1 - z) (h_{t-1} - n)
        np.multiply(to_z, z, to_z)
        np.subtract(before, n, to_n)
        np.multiply(to_z, to_n, to_z)
        # to h_{t-1} W_hn^T + b_hn: r times that to the input of n
        np.multiply(to_candidate, r, to_n)
        # to the input of r: (1 - r) (h_{t-1} W_hn^T + b_hn) times the line above
        np.subtract(1.0, r, to_r)
        np.multiply(to_r, to_n, to_r)
        np.multiply(to_r, recurrent_n, to_r)
        return work.steps("to_gates", (steps, 3, *shape)), work.steps("to_candidate", (steps, *shape))
