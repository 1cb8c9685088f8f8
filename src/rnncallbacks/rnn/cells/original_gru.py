"""The gated recurrent unit, in its original formulation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.cells.cell import CellParameters
from rnncallbacks.rnn.cells.gated import GatedCell
from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.linalg.activations import select_tanh
from rnncallbacks.rnn.linalg.products import add_column_sums, add_product, prepared_matrix
from rnncallbacks.rnn.linalg.workspace import Workspace


class OriginalGRUCell(GatedCell):
    r"""The gated recurrent unit whose reset gate comes before the matrix product.

    .. math::
       r &= \mathrm{sigmoid}(x_t W_{ir}^T + b_{ir} + b_{hr} + h_{t-1} W_{hr}^T) \\
       z &= \mathrm{sigmoid}(x_t W_{iz}^T + b_{iz} + b_{hz} + h_{t-1} W_{hz}^T) \\
       n &= \tanh(x_t W_{in}^T + b_{in} + b_{hn} + (r h_{t-1}) W_{hn}^T) \\
       h_t &= (1 - z) n + z h_{t-1}

    A step has two products that depend on each other, so it takes longer than one of
    :class:`~rnncallbacks.rnn.cells.gru.GRUCell`.

    Parameters
    ----------
    hidden_size:
        Number of units.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation"
    (2014), equations 5 to 8. Order of gates and names are those of ``torch.nn.GRU``.
    """

    gates: ClassVar[int] = 3

    def forward(self, work: Workspace, parameters: CellParameters, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates and states."""
        size = self.hidden_size
        matrix = prepared_matrix(work, parameters.weight_hh.T, seq_len * batch_size)
        matrix_rz, matrix_n = matrix[:, : 2 * size], matrix[:, 2 * size :]
        sums = work.array("recurrent", (batch_size, 2 * size))
        sums_by_gate = sums.reshape(batch_size, 2, size).swapaxes(0, 1)
        by_row = self._gates_by_row(work, seq_len, batch_size)
        by_gate = self._gates_by_gate(work, seq_len, batch_size)
        states = work.steps("states", (seq_len + 1, batch_size, size))
        reset_states = work.steps("reset_states", (seq_len, batch_size, size))
        recurrent_n, candidate_input = work.steps("candidate_inputs", (2, batch_size, size))
        tanh = select_tanh(recurrent_n.size, work.dtype)
        for before, projected, gates, reset_state, state in zip(
            states[:-1], by_row, by_gate, reset_states, states[1:], strict=True
        ):
            r, z, n = gates
            # a = x_t W_ih^T + b_ih + b_hh + h_{t-1} W_hh^T, for r and z
            np.dot(before, matrix_rz, sums)
            np.add(projected[:, : 2 * size], sums, sums)
            # The gates are about to overwrite x_t W_in^T + b_in + b_hn.
            np.copyto(candidate_input, projected[:, 2 * size :])
            # r, z = sigmoid(a) = 1 - 1 / (1 + exp(a))
            np.exp(sums_by_gate, gates[:2])
            np.add(gates[:2], 1.0, gates[:2])
            np.divide(1.0, gates[:2], gates[:2])
            np.subtract(1.0, gates[:2], gates[:2])
            # n = tanh(x_t W_in^T + b_in + b_hn + (r h_{t-1}) W_hn^T)
            np.multiply(r, before, reset_state)
            np.dot(reset_state, matrix_n, recurrent_n)
            np.add(candidate_input, recurrent_n, n)
            tanh(n, n)
            # h_t = (1 - z) n + z h_{t-1} = n + z (h_{t-1} - n)
            np.subtract(before, n, state)
            np.multiply(state, z, state)
            np.add(state, n, state)

    def backward(self, work: Workspace, parameters: CellParameters, gradients: FloatArray, segment: Segment) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`."""
        seq_len = segment.seq_len
        _, batch_size, size = gradients.shape
        matrix, rows = self.backward_matrix(parameters.weight_hh), seq_len * batch_size
        matrix = prepared_matrix(work, matrix, rows, copy=segment.is_first)
        matrix_rz, matrix_n = matrix[: 2 * size], matrix[2 * size :]
        states = work.steps("states", (seq_len + 1, batch_size, size))
        by_gate = self._gates_by_gate(work, seq_len, batch_size)
        by_row = self._gates_by_row(work, seq_len, batch_size)
        recurrent, to_reset_state, direct, r, to_r, to_z, to_n = work.steps("step_gradients", (7, batch_size, size))
        for step in range(segment.end - 1, segment.begin - 1, -1):
            gradient, before, row = gradients[step - segment.begin], states[step], by_row[step]
            # dL/dh_t = the gradient from above + those through the gates, r h_t and z h_t of step t + 1
            if step < seq_len - 1:
                np.dot(by_row[step + 1][:, : 2 * size], matrix_rz, recurrent)
                np.add(gradient, recurrent, gradient)
                np.add(gradient, direct, gradient)
            _, z, n = by_gate[step]
            np.copyto(r, by_gate[step][0])
            # the input of n: dL/dh_t (1 - z) (1 - n^2)
            np.subtract(1.0, z, to_z)
            np.multiply(n, n, to_n)
            np.subtract(1.0, to_n, to_n)
            np.multiply(to_n, to_z, to_n)
            np.multiply(to_n, gradient, to_n)
            # r h_{t-1}
            np.dot(to_n, matrix_n, to_reset_state)
            # the input of z: dL/dh_t z (1 - z) (h_{t-1} - n)
            np.multiply(to_z, z, to_z)
            np.multiply(to_z, gradient, to_z)
            np.subtract(before, n, to_r)
            np.multiply(to_z, to_r, to_z)
            # to h_{t-1} by way of z h_{t-1}
            np.multiply(gradient, z, direct)
            # the input of r: r (1 - r) h_{t-1} times the gradient with respect to r h_{t-1}
            np.subtract(1.0, r, to_r)
            np.multiply(to_r, r, to_r)
            np.multiply(to_r, before, to_r)
            np.multiply(to_r, to_reset_state, to_r)
            # to h_{t-1} by way of r h_{t-1}
            np.multiply(to_reset_state, r, to_reset_state)
            np.add(direct, to_reset_state, direct)
            # The gates of this step have been read; their gradients overwrite them.
            for gate, values in enumerate((to_r, to_z, to_n)):
                np.copyto(row[:, gate * size : (gate + 1) * size], values)

    def write_gradients(
        self, work: Workspace, batch_size: int, parameter_gradients: CellParameters, segment: Segment
    ) -> FloatArray:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`."""
        size, is_first = self.hidden_size, segment.is_first
        rows = self._gate_gradients(work, batch_size, segment)
        previous = self._previous_states(work, batch_size, segment)
        reset_states = work.array("reset_states", (segment.seq_len, batch_size, size))[segment.steps]
        weight_hh = parameter_gradients.weight_hh
        add_product(work, rows[:, : 2 * size].T, previous, weight_hh[: 2 * size], is_first)
        add_product(work, rows[:, 2 * size :].T, reset_states.reshape(-1, size), weight_hh[2 * size :], is_first)
        add_column_sums(work, rows, parameter_gradients.bias_ih, is_first)
        np.copyto(parameter_gradients.bias_hh, parameter_gradients.bias_ih)
        return rows
