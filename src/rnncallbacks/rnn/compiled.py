"""The parts of a network whose elementwise work compiled kernels do, in the memory and with the products of NumPy's.

Behind the product of a step there is one call of a kernel. A batch of one row is one call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn import cell_kernels, outer_kernels
from rnncallbacks.rnn.cells import CellArrays, Piece
from rnncallbacks.rnn.checks import IntArray
from rnncallbacks.rnn.gru import GRUCell
from rnncallbacks.rnn.inputs import TokenInput
from rnncallbacks.rnn.losses import SoftmaxNll
from rnncallbacks.rnn.lstm import LSTMCell
from rnncallbacks.rnn.vanilla import VanillaCell
from rnncallbacks.rnn.workspace import Workspace


class CompiledVanillaCell(VanillaCell):
    """The cell, with one kernel per step."""

    def forward(self, work: Workspace, arrays: CellArrays, seq_len: int, batch_size: int) -> None:
        """Turn projections into states, in place."""
        size, relu = self.hidden_size, self.nonlinearity == "relu"
        recurrent = work.array("recurrent", (batch_size * size,))
        if batch_size == 1:
            cell_kernels.vanilla_row(work.array("states", (seq_len + 1, size)), arrays.weight_hh, recurrent, relu)
            return
        multiply, rows = self._product(batch_size)
        matrix = self.there_matrix(work, arrays.weight_hh, seq_len, batch_size)
        product = recurrent.reshape(*rows, size)
        before = work.steps("states", (seq_len + 1, *rows, size))
        states = work.steps("states", (seq_len + 1, batch_size * size))
        for step in range(seq_len):
            multiply(before[step], matrix, product)
            cell_kernels.vanilla_step(states[step + 1], recurrent, relu)

    def backward(self, work: Workspace, arrays: CellArrays, gradients: FloatArray, piece: Piece) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.Cell`."""
        length, batch_size, size = gradients.shape
        begin, seq_len = piece.begin, piece.seq_len
        numbers, relu = batch_size * size, self.nonlinearity == "relu"
        recurrent = work.array("recurrent", (numbers,))
        if piece.is_first:
            recurrent.fill(0.0)
        if batch_size == 1:
            cell_kernels.vanilla_row_back(
                work.array("gradients", (length, size)),
                arrays.weight_hh,
                recurrent,
                work.array("states", (seq_len + 1, size))[begin : piece.end + 1],
                relu,
            )
            return
        multiply, rows = self._product(batch_size)
        matrix = self.back_matrix(work, arrays.weight_hh, batch_size, piece)
        product = recurrent.reshape(*rows, size)
        hidden = work.steps("gradients", (length, numbers))
        states = work.steps("states", (seq_len + 1, numbers))
        later = work.steps("gradients", (length, *rows, size))
        for step in range(length - 1, -1, -1):
            cell_kernels.vanilla_back(hidden[step], recurrent, states[begin + step + 1], relu)
            if begin + step:
                multiply(later[step], matrix, product)


class CompiledLSTMCell(LSTMCell):
    """The cell, with one kernel per step. Gates stay row by row, as the products make and want them."""

    def forward(self, work: Workspace, arrays: CellArrays, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates, cells and states."""
        size = self.hidden_size
        recurrent = work.array("recurrent", (batch_size, 4 * size))
        if batch_size == 1:
            cell_kernels.lstm_row(
                self.projections(work, seq_len, 1),
                arrays.weight_hh,
                recurrent,
                self._cells(work, seq_len, 1),
                self.states(work, seq_len, 1),
            )
            return
        multiply, rows = self._product(batch_size)
        matrix = self.there_matrix(work, arrays.weight_hh, seq_len, batch_size)
        product = recurrent.reshape(*rows, 4 * size)
        before = work.steps("states", (seq_len + 1, *rows, size))
        gates = work.steps("gates", (seq_len, batch_size, 4 * size))
        cells = work.steps("cells", (seq_len + 1, batch_size, size))
        states = work.steps("states", (seq_len + 1, batch_size, size))
        for step in range(seq_len):
            multiply(before[step], matrix, product)
            cell_kernels.lstm_step(gates[step], recurrent, cells[step], cells[step + 1], states[step + 1])

    def backward(self, work: Workspace, arrays: CellArrays, gradients: FloatArray, piece: Piece) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.Cell`."""
        length, batch_size, size = gradients.shape
        seq_len = piece.seq_len
        recurrent, to_cell = back = work.array("back", (2, batch_size, size))
        if piece.is_first:
            back.fill(0.0)
        if batch_size == 1:
            cell_kernels.lstm_row_back(
                self.projections(work, seq_len, 1)[piece.steps],
                arrays.weight_hh,
                recurrent,
                self._cells(work, seq_len, 1)[piece.begin : piece.end + 1],
                gradients,
                to_cell,
            )
            return
        multiply, rows = self._product(batch_size)
        matrix = self.back_matrix(work, arrays.weight_hh, batch_size, piece)
        product = recurrent.reshape(*rows, size)
        gates = work.steps("gates", (seq_len, batch_size, 4 * size))
        cells = work.steps("cells", (seq_len + 1, batch_size, size))
        hidden = work.steps("gradients", (length, batch_size, size))
        later = work.steps("gates", (seq_len, *rows, 4 * size))
        for step in range(piece.end - 1, piece.begin - 1, -1):
            gradient = hidden[step - piece.begin]
            cell_kernels.lstm_back(gates[step], cells[step], cells[step + 1], gradient, recurrent, to_cell)
            if step:
                multiply(later[step], matrix, product)


class CompiledGRUCell(GRUCell):
    """The cell, with one kernel per step. Gates stay row by row, as the products make and want them."""

    def forward(self, work: Workspace, arrays: CellArrays, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates and states."""
        size = self.hidden_size
        recurrent, bias = work.array("recurrent", (batch_size, 3 * size)), arrays.bias_hh[2 * size :]
        if batch_size == 1:
            cell_kernels.gru_row(
                self.projections(work, seq_len, 1),
                arrays.weight_hh,
                recurrent,
                bias,
                self.states(work, seq_len, 1),
                work.array("candidates", (seq_len, 1, size)),
            )
            return
        multiply, rows = self._product(batch_size)
        matrix = self.there_matrix(work, arrays.weight_hh, seq_len, batch_size)
        product = recurrent.reshape(*rows, 3 * size)
        before = work.steps("states", (seq_len + 1, *rows, size))
        gates = work.steps("gates", (seq_len, batch_size, 3 * size))
        candidates = work.steps("candidates", (seq_len, batch_size, size))
        states = work.steps("states", (seq_len + 1, batch_size, size))
        for step in range(seq_len):
            multiply(before[step], matrix, product)
            cell_kernels.gru_step(gates[step], recurrent, bias, states[step], candidates[step], states[step + 1])

    def backward(self, work: Workspace, arrays: CellArrays, gradients: FloatArray, piece: Piece) -> None:
        """As in :class:`~rnncallbacks.rnn.cells.Cell`."""
        length, batch_size, size = gradients.shape
        seq_len = piece.seq_len
        recurrent, kept = back = work.array("back", (2, batch_size, size))
        if piece.is_first:
            back.fill(0.0)
        if batch_size == 1:
            cell_kernels.gru_row_back(
                self.projections(work, seq_len, 1)[piece.steps],
                arrays.weight_hh,
                recurrent,
                self.states(work, seq_len, 1)[piece.begin : piece.end + 1],
                work.array("candidates", (seq_len, 1, size))[piece.steps],
                gradients,
                kept,
            )
            return
        multiply, rows = self._product(batch_size)
        matrix = self.back_matrix(work, arrays.weight_hh, batch_size, piece)
        product = recurrent.reshape(*rows, size)
        gates = work.steps("gates", (seq_len, batch_size, 3 * size))
        candidates = work.steps("candidates", (seq_len, batch_size, size))
        states = work.steps("states", (seq_len + 1, batch_size, size))
        hidden = work.steps("gradients", (length, batch_size, size))
        later = work.steps("gates", (seq_len, *rows, 3 * size))
        for step in range(piece.end - 1, piece.begin - 1, -1):
            gradient = hidden[step - piece.begin]
            cell_kernels.gru_back(gates[step], states[step], candidates[step], gradient, recurrent, kept)
            if step:
                multiply(later[step], matrix, product)


class CompiledTokenInput(TokenInput):
    """The input, whose gradient is summed token by token in one pass."""

    def _sum_by_token(
        self, work: Workspace, tokens: IntArray, values: FloatArray, out: FloatArray, is_first: bool
    ) -> None:
        if len(values) < len(out) and not out.flags.c_contiguous:
            # Few tokens of many are present, and the kernel would go over all for the sake of the transposition.
            super()._sum_by_token(work, tokens, values, out, is_first)
            return
        in_place = is_first and out.flags.c_contiguous
        # Else in the memory of the table, which the forward pass alone needs.
        sums = out if in_place else work.array("table", out.shape)
        outer_kernels.sum_by_token(tokens.reshape(-1), values, sums)
        if not is_first:
            np.add(out, sums, out)
        elif not in_place:
            np.copyto(out, sums)


class CompiledSoftmaxNll(SoftmaxNll):
    """The loss, with one pass forward and one backward."""

    def _exponentiate(self, work: Workspace, logits: FloatArray, targets: IntArray, totals: FloatArray) -> FloatArray:
        self._targets = targets
        likely = work.array("likely", totals.shape)
        outer_kernels.softmax(logits, targets, totals, likely)
        return likely

    def backward(self) -> FloatArray:
        """The gradient with respect to the logits, in their memory. To be called once."""
        mask = np.ones(self._targets.shape, dtype=np.bool_) if self._mask is None else self._mask
        outer_kernels.softmax_back(self._exponentials, self._targets, self._totals, mask, 1.0 / self._count)
        return self._exponentials


COMPILED: dict[type[Any], type[Any]] = {
    VanillaCell: CompiledVanillaCell,
    LSTMCell: CompiledLSTMCell,
    GRUCell: CompiledGRUCell,
    TokenInput: CompiledTokenInput,
    SoftmaxNll: CompiledSoftmaxNll,
}
