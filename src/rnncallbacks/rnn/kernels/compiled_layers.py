"""Cells and layers that use compiled kernels for their elementwise operations.

Memory and matrix products are those of the classes that they derive from. After the product of a step, a single kernel
is called. A batch of one row is a single call, products included.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.cells.cell import CellParameters
from rnncallbacks.rnn.cells.gru import GRUCell
from rnncallbacks.rnn.cells.lstm import LSTMCell
from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.cells.vanilla import VanillaCell
from rnncallbacks.rnn.kernels import cell_kernels, training_kernels
from rnncallbacks.rnn.layers.inputs import TokenInput
from rnncallbacks.rnn.layers.losses import SoftmaxNll
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.validation import IntArray


class CompiledVanillaCell(VanillaCell):
    """The simple recurrent cell, with one kernel per step."""

    def forward(self, work: Workspace, parameters: CellParameters, seq_len: int, batch_size: int) -> None:
        """Turn projections into states, in place."""
        size, relu = self.hidden_size, self.nonlinearity == "relu"
        recurrent = work.array("recurrent", (batch_size * size,))
        if batch_size == 1:
            states = work.array("states", (seq_len + 1, size))
            cell_kernels.vanilla_row(states, parameters.weight_hh, recurrent, relu)
            return
        multiply, operands, matrix, product = self._forward_product(work, parameters, seq_len, batch_size)
        flat_states = work.steps("states", (seq_len + 1, batch_size * size))
        for step in range(seq_len):
            multiply(operands[step], matrix, product)
            cell_kernels.vanilla_step(flat_states[step + 1], recurrent, relu)

    def backward(self, work: Workspace, parameters: CellParameters, gradients: FloatArray, segment: Segment) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`."""
        length, batch_size, size = gradients.shape
        begin, seq_len = segment.begin, segment.seq_len
        relu = self.nonlinearity == "relu"
        recurrent = work.array("recurrent", (batch_size * size,))
        if segment.is_first:
            recurrent.fill(0.0)
        if batch_size == 1:
            states = work.array("states", (seq_len + 1, size))[begin : segment.end + 1]
            rows = work.array("gradients", (length, size))
            cell_kernels.vanilla_row_backward(rows, parameters.weight_hh, recurrent, states, relu)
            return
        multiply, operands, matrix, product = self._backward_product(work, parameters, batch_size, segment, "gradients")
        flat_gradients = work.steps("gradients", (length, batch_size * size))
        flat_states = work.steps("states", (seq_len + 1, batch_size * size))
        for step in range(length - 1, -1, -1):
            cell_kernels.vanilla_backward(flat_gradients[step], recurrent, flat_states[begin + step + 1], relu)
            if begin + step:
                multiply(operands[step], matrix, product)


class CompiledLSTMCell(LSTMCell):
    """The long short-term memory, with one kernel per step. The gates stay row by row, as the products need them."""

    def forward(self, work: Workspace, parameters: CellParameters, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates, cell states and hidden states."""
        size = self.hidden_size
        recurrent = work.array("recurrent", (batch_size, 4 * size))
        if batch_size == 1:
            gates, states = self.projections(work, seq_len, 1), self.states(work, seq_len, 1)
            cell_kernels.lstm_row(gates, parameters.weight_hh, recurrent, self._cells(work, seq_len, 1), states)
            return
        multiply, operands, matrix, product = self._forward_product(work, parameters, seq_len, batch_size)
        gates_by_row = self._gates_by_row(work, seq_len, batch_size)
        cells = work.steps("cells", (seq_len + 1, batch_size, size))
        hidden = work.steps("states", (seq_len + 1, batch_size, size))
        for step in range(seq_len):
            multiply(operands[step], matrix, product)
            cell_kernels.lstm_step(gates_by_row[step], recurrent, cells[step], cells[step + 1], hidden[step + 1])

    def backward(self, work: Workspace, parameters: CellParameters, gradients: FloatArray, segment: Segment) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`."""
        length, batch_size, size = gradients.shape
        begin, end, seq_len = segment.begin, segment.end, segment.seq_len
        recurrent = work.array("recurrent", (batch_size, size))
        cell_gradient = work.array("cell_gradient", (batch_size, size))
        if segment.is_first:
            recurrent.fill(0.0)
            cell_gradient.fill(0.0)
        if batch_size == 1:
            gates = self.projections(work, seq_len, 1)[begin:end]
            cells = self._cells(work, seq_len, 1)[begin : end + 1]
            weight_hh = parameters.weight_hh
            cell_kernels.lstm_row_backward(gates, weight_hh, recurrent, cells, gradients, cell_gradient)
            return
        multiply, operands, matrix, product = self._backward_product(work, parameters, batch_size, segment)
        gates_by_row = self._gates_by_row(work, seq_len, batch_size)
        cell_steps = work.steps("cells", (seq_len + 1, batch_size, size))
        hidden = work.steps("gradients", (length, batch_size, size))
        for step in range(end - 1, begin - 1, -1):
            before, cell = cell_steps[step], cell_steps[step + 1]
            cell_kernels.lstm_backward(gates_by_row[step], before, cell, hidden[step - begin], recurrent, cell_gradient)
            if step:
                multiply(operands[step], matrix, product)


class CompiledGRUCell(GRUCell):
    """The gated recurrent unit, with one kernel per step. The gates stay row by row, as the products need them."""

    def forward(self, work: Workspace, parameters: CellParameters, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates and states."""
        size = self.hidden_size
        recurrent, bias = work.array("recurrent", (batch_size, 3 * size)), parameters.bias_hh[2 * size :]
        if batch_size == 1:
            gates, states = self.projections(work, seq_len, 1), self.states(work, seq_len, 1)
            recurrent_n = work.array("candidate_inputs", (seq_len, 1, size))
            cell_kernels.gru_row(gates, parameters.weight_hh, recurrent, bias, states, recurrent_n)
            return
        multiply, operands, matrix, product = self._forward_product(work, parameters, seq_len, batch_size)
        gates_by_row = self._gates_by_row(work, seq_len, batch_size)
        recurrent_n_steps = work.steps("candidate_inputs", (seq_len, batch_size, size))
        hidden = work.steps("states", (seq_len + 1, batch_size, size))
        for step in range(seq_len):
            multiply(operands[step], matrix, product)
            cell_kernels.gru_step(
                gates_by_row[step], recurrent, bias, hidden[step], recurrent_n_steps[step], hidden[step + 1]
            )

    def backward(self, work: Workspace, parameters: CellParameters, gradients: FloatArray, segment: Segment) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.cell.Cell`."""
        length, batch_size, size = gradients.shape
        begin, end, seq_len = segment.begin, segment.end, segment.seq_len
        recurrent = work.array("recurrent", (batch_size, size))
        direct = work.array("direct", (batch_size, size))
        if segment.is_first:
            recurrent.fill(0.0)
            direct.fill(0.0)
        if batch_size == 1:
            gates = self.projections(work, seq_len, 1)[begin:end]
            states = self.states(work, seq_len, 1)[begin : end + 1]
            recurrent_n = work.array("candidate_inputs", (seq_len, 1, size))[begin:end]
            weight_hh = parameters.weight_hh
            cell_kernels.gru_row_backward(gates, weight_hh, recurrent, states, recurrent_n, gradients, direct)
            return
        multiply, operands, matrix, product = self._backward_product(work, parameters, batch_size, segment)
        gates_by_row = self._gates_by_row(work, seq_len, batch_size)
        recurrent_n_steps = work.steps("candidate_inputs", (seq_len, batch_size, size))
        hidden = work.steps("states", (seq_len + 1, batch_size, size))
        gradient_steps = work.steps("gradients", (length, batch_size, size))
        for step in range(end - 1, begin - 1, -1):
            cell_kernels.gru_backward(
                gates_by_row[step],
                hidden[step],
                recurrent_n_steps[step],
                gradient_steps[step - begin],
                recurrent,
                direct,
            )
            if step:
                multiply(operands[step], matrix, product)


class CompiledTokenInput(TokenInput):
    """Tokens, whose gradient is summed by token in one pass."""

    def _sum_by_token(
        self, work: Workspace, tokens: IntArray, values: FloatArray, out: FloatArray, is_first: bool
    ) -> None:
        if len(values) < len(out) and not out.flags.c_contiguous:
            # Few of the tokens occur, and the transposition would go through all of them.
            super()._sum_by_token(work, tokens, values, out, is_first)
            return
        in_place = is_first and out.flags.c_contiguous
        # Otherwise in the memory of the table, which only the forward pass needs.
        sums = out if in_place else work.array("table", out.shape)
        training_kernels.token_sums(tokens.reshape(-1), values, sums)
        if not is_first:
            np.add(out, sums, out)
        elif not in_place:
            np.copyto(out, sums)


class CompiledSoftmaxNll(SoftmaxNll):
    """The negative log-likelihood, with one pass forward and one backward."""

    def _exponentiate(self, work: Workspace, logits: FloatArray, targets: IntArray, totals: FloatArray) -> FloatArray:
        self._targets = targets
        target_logits = work.array("target_logits", totals.shape)
        training_kernels.softmax(logits, targets, totals, target_logits)
        return target_logits

    def backward(self) -> FloatArray:
        """The gradient with respect to the logits, in their memory. Call it once per forward pass."""
        mask = np.ones(self._targets.shape, dtype=np.bool_) if self._mask is None else self._mask
        training_kernels.softmax_backward(self._exponentials, self._targets, self._totals, mask, 1.0 / self._count)
        return self._exponentials


COMPILED_CLASSES: dict[type[Any], type[Any]] = {
    VanillaCell: CompiledVanillaCell,
    LSTMCell: CompiledLSTMCell,
    GRUCell: CompiledGRUCell,
    TokenInput: CompiledTokenInput,
    SoftmaxNll: CompiledSoftmaxNll,
}
"""Classes, and those that replace them with ``kernels="numba"``."""
