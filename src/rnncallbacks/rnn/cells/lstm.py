"""The long short-term memory."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.cells.cell import CellParameters, states_after
from rnncallbacks.rnn.cells.gated import GatedCell
from rnncallbacks.rnn.cells.segments import Segment, cache_blocks
from rnncallbacks.rnn.linalg.activations import select_tanh
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.validation import IntArray


class LSTMCell(GatedCell):
    r"""The long short-term memory.

    .. math::
       i &= \mathrm{sigmoid}(x_t W_{ii}^T + b_{ii} + b_{hi} + h_{t-1} W_{hi}^T) \\
       f &= \mathrm{sigmoid}(x_t W_{if}^T + b_{if} + b_{hf} + h_{t-1} W_{hf}^T) \\
       g &= \tanh(x_t W_{ig}^T + b_{ig} + b_{hg} + h_{t-1} W_{hg}^T) \\
       o &= \mathrm{sigmoid}(x_t W_{io}^T + b_{io} + b_{ho} + h_{t-1} W_{ho}^T) \\
       c_t &= f c_{t-1} + i g \\
       h_t &= o \tanh(c_t)

    The state is the pair :math:`(h, c)`.

    Parameters
    ----------
    hidden_size:
        Number of units.

    Source: Hochreiter and Schmidhuber, "Long short-term memory" (1997), with the forget gate of Gers, Schmidhuber and
    Cummins, "Learning to forget" (2000). Shapes, names and order of gates are those of ``torch.nn.LSTM``.
    """

    gates: ClassVar[int] = 4

    def zero_state(self, batch_size: int, dtype: np.dtype[Any]) -> tuple[FloatArray, FloatArray]:
        """The initial state of a sequence: two arrays of zeros, (batch_size, hidden_size)."""
        return super().zero_state(batch_size, dtype), super().zero_state(batch_size, dtype)

    def set_initial_state(self, work: Workspace, seq_len: int, state: Any) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`, for the pair (h, c)."""
        hidden, cell = state
        np.copyto(self.states(work, seq_len, len(hidden))[0], hidden, casting="same_kind")
        np.copyto(self._cells(work, seq_len, len(hidden))[0], cell, casting="same_kind")

    def final_state(
        self, work: Workspace, seq_len: int, batch_size: int, lengths: IntArray | None
    ) -> tuple[FloatArray, FloatArray]:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`, the pair (h, c)."""
        states, cells = self.states(work, seq_len, batch_size), self._cells(work, seq_len, batch_size)
        return states_after(states, lengths), states_after(cells, lengths)

    def forward(self, work: Workspace, parameters: CellParameters, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates, cell states and hidden states."""
        size = self.hidden_size
        multiply, operands, matrix, product = self._forward_product(work, parameters, seq_len, batch_size)
        recurrent = work.array("recurrent", (batch_size, 4 * size))
        recurrent_by_gate = recurrent.reshape(batch_size, 4, size).swapaxes(0, 1)
        projections = self._gates_by_row(work, seq_len, batch_size)
        all_gates = self._gates_by_gate(work, seq_len, batch_size)
        single_gates = self._single_gates(work, seq_len, batch_size)
        states = work.steps("states", (seq_len + 1, batch_size, size))
        cells = work.steps("cells", (seq_len + 1, batch_size, size))
        cell_tanhs = work.steps("cell_tanhs", (seq_len, batch_size, size))
        added = work.array("added", (batch_size, size))
        tanh = select_tanh(added.size, work.dtype)
        one = np.ones((), dtype=work.dtype)
        # Local names and positional outputs: in small networks, calls cost more than arithmetic.
        add, subtract, times, divide, exp = np.add, np.subtract, np.multiply, np.divide, np.exp
        for previous, projected, gates, i, f, g, o, cell_before, cell, cell_tanh, state in zip(
            operands[:-1], projections, all_gates, *single_gates, cells[:-1], cells[1:], cell_tanhs, states[1:],
            strict=True,
        ):  # fmt: skip
            # a = x_t W_ih^T + b_ih + b_hh + h_{t-1} W_hh^T, for all four gates
            multiply(previous, matrix, product)
            add(projected, recurrent, recurrent)
            # i, f, o = sigmoid(a) = 1 - 1 / (1 + exp(a)), and g = tanh(a) = 1 - 2 / (1 + exp(a)^2): one exponential
            exp(recurrent_by_gate, gates)
            times(g, g, g)
            add(gates, one, gates)
            divide(one, gates, gates)
            add(g, g, g)
            subtract(one, gates, gates)
            # c_t = f c_{t-1} + i g
            times(f, cell_before, cell)
            times(i, g, added)
            add(cell, added, cell)
            # h_t = o tanh(c_t)
            tanh(cell, cell_tanh)
            times(o, cell_tanh, state)

    def backward(self, work: Workspace, parameters: CellParameters, gradients: FloatArray, segment: Segment) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`."""
        length, batch_size, size = gradients.shape
        seq_len = segment.seq_len
        multiply, operands, matrix, product = self._backward_product(work, parameters, batch_size, segment)
        recurrent = work.array("recurrent", (batch_size, size))
        hidden = work.steps("gradients", (length, batch_size, size))
        forget = self._single_gates(work, seq_len, batch_size)[1]
        gate_gradients = self._gate_gradient_views(work, seq_len, batch_size)
        ifg_gradients, o_gradients = list(gate_gradients[:, :3]), list(gate_gradients[:, 3])
        cells = work.steps("cell_gradients", (2, batch_size, size))
        if segment.is_first:
            recurrent.fill(0.0)
            cells[seq_len % 2].fill(0.0)
        add, times = np.add, np.multiply
        for begin, end in cache_blocks(segment, 10 * batch_size * size):
            to_ifg, to_o, to_cell = self._derivatives(work, seq_len, batch_size, begin, end)
            for step in range(end - 1, begin - 1, -1):
                gradient, cell = hidden[step - segment.begin], cells[(step + 1) % 2]
                # dL/dh_t = the gradient from above + that through step t + 1
                add(gradient, recurrent, gradient)
                # dL/dc_t = dL/dc_{t+1} f_{t+1} + dL/dh_t o (1 - tanh(c_t)^2)
                times(gradient, to_cell[step - begin], recurrent)
                add(cell, recurrent, cell)
                # to c_{t-1}: dL/dc_t f
                times(cell, forget[step], cells[step % 2])
                # the inputs of i, f and g, by way of c_t, and of o, by way of h_t
                times(cell, to_ifg[step - begin], ifg_gradients[step])
                times(gradient, to_o[step - begin], o_gradients[step])
                # to h_{t-1}: dL/da_t W_hh
                if step:
                    multiply(operands[step], matrix, product)

    def _cells(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """The cell states, (seq_len + 1, batch, hidden_size), the initial one first."""
        return work.array("cells", (seq_len + 1, batch_size, self.hidden_size))

    def _derivatives(
        self, work: Workspace, seq_len: int, batch_size: int, begin: int, end: int
    ) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray]]:
        """The factors that depend on the forward pass only, for the steps from ``begin`` to ``end``.

        The derivatives of c_t with respect to the inputs of i, f and g, (3, batch, hidden_size) per step; of h_t with
        respect to the input of o; and of h_t with respect to c_t, (batch, hidden_size) per step.
        """
        shape = (batch_size, self.hidden_size)
        steps = end - begin
        gates = work.array("gates", (seq_len, 4, *shape))[begin:end]
        i, g, o = gates[:, 0], gates[:, 2], gates[:, 3]
        cells_before = self._cells(work, seq_len, batch_size)[begin:end]
        cell_tanhs = work.array("cell_tanhs", (seq_len, *shape))[begin:end]
        to_ifg = work.array("to_ifg", (steps, 3, *shape))
        # i (1 - i) g and f (1 - f) c_{t-1}
        np.multiply(gates[:, :2], gates[:, :2], to_ifg[:, :2])
        np.subtract(gates[:, :2], to_ifg[:, :2], to_ifg[:, :2])
        np.multiply(to_ifg[:, 0], g, to_ifg[:, 0])
        np.multiply(to_ifg[:, 1], cells_before, to_ifg[:, 1])
        # (1 - g^2) i
        np.multiply(g, g, to_ifg[:, 2])
        np.subtract(1.0, to_ifg[:, 2], to_ifg[:, 2])
        np.multiply(to_ifg[:, 2], i, to_ifg[:, 2])
        # o (1 - tanh(c_t)^2)
        to_cell = work.array("to_cell", (steps, *shape))
        np.multiply(cell_tanhs, cell_tanhs, to_cell)
        np.subtract(1.0, to_cell, to_cell)
        np.multiply(to_cell, o, to_cell)
        # o (1 - o) tanh(c_t), in place: o and tanh(c_t) are not needed any more
        np.multiply(cell_tanhs, o, cell_tanhs)
        np.subtract(1.0, o, o)
        np.multiply(cell_tanhs, o, cell_tanhs)
        return (
            work.steps("to_ifg", (steps, 3, *shape)),
            work.steps("cell_tanhs", (seq_len, *shape))[begin:end],
            work.steps("to_cell", (steps, *shape)),
        )
