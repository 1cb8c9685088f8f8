"""The gated recurrent unit, in PyTorch's formulation and in the original one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn.activations import tanh_for
from rnncallbacks.rnn.cells import Cell, CellArrays, Piece, add_rows, chunks
from rnncallbacks.rnn.products import add_product
from rnncallbacks.rnn.workspace import Workspace

# In both cells, all gates of a step lie in one array. Before the step they are row by row, as the products make them:
# (batch, 3 * hidden_size). Behind it they are gate by gate, (3, batch, hidden_size), for passes over whole gates. On
# the way back, their gradients take the same memory, row by row again, for the products.


class GRUCell(Cell):
    r"""The gated recurrent unit whose reset gate comes after the product.

    .. math::
       r &= \mathrm{sigmoid}(x_t W_{ir}^T + b_{ir} + b_{hr} + h_{t-1} W_{hr}^T) \\
       z &= \mathrm{sigmoid}(x_t W_{iz}^T + b_{iz} + b_{hz} + h_{t-1} W_{hz}^T) \\
       n &= \tanh(x_t W_{in}^T + b_{in} + r (h_{t-1} W_{hn}^T + b_{hn})) \\
       h_t &= (1 - z) n + z h_{t-1}

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation"
    (2014), in the form of ``torch.nn.GRU``, whose shapes, names and order of gates these are.

    Parameters
    ----------
    hidden_size:
        Number of units.
    """

    gates: ClassVar[int] = 3

    def bias(self, arrays: CellArrays, out: FloatArray) -> None:
        """As in :class:`Cell`, less the part of ``bias_hh`` that the reset gate multiplies."""
        np.copyto(out, arrays.bias_ih)
        gates = 2 * self.hidden_size
        np.add(out[:gates], arrays.bias_hh[:gates], out[:gates])

    def forward(self, work: Workspace, arrays: CellArrays, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates and states."""
        size = self.hidden_size
        multiply, rows = self._product(batch_size)
        matrix = self.there_matrix(work, arrays.weight_hh, seq_len, batch_size)
        # For one sum of all gates, what the input brings to n changes places with the bias of what the state brings.
        projections = self.projections(work, seq_len, batch_size)
        np.copyto(work.array("candidates", (seq_len, batch_size, size)), projections[:, :, 2 * size :])
        projections[:, :, 2 * size :] = arrays.bias_hh[2 * size :]
        recurrent = work.array("recurrent", (batch_size, 3 * size))
        product = recurrent.reshape(*rows, 3 * size)
        by_gate = recurrent[:, : 2 * size].reshape(batch_size, 2, size).swapaxes(0, 1)
        from_state = recurrent[:, 2 * size :]
        by_row = work.steps("gates", (seq_len, batch_size, 3 * size))
        single = work.steps("gates", (3 * seq_len, batch_size, size))
        states = work.steps("states", (seq_len + 1, batch_size, size))
        products = work.steps("states", (seq_len + 1, *rows, size))
        candidates = work.steps("candidates", (seq_len, batch_size, size))
        tanh = tanh_for(batch_size * size, work.dtype)
        one = np.ones((), dtype=work.dtype)
        # Local names and positional outputs: on small networks the calls cost more than the arithmetic.
        add, subtract, times, divide, exp, copy = np.add, np.subtract, np.multiply, np.divide, np.exp, np.copyto
        both = [gates[:2] for gates in work.steps("gates", (seq_len, 3, batch_size, size))]
        for entering, before, projected, gates, r, z, n, candidate, state in zip(
            products[:-1], states[:-1], by_row, both, *(single[gate::3] for gate in range(3)), candidates, states[1:],
            strict=True,
        ):  # fmt: skip
            multiply(entering, matrix, product)
            add(projected, recurrent, recurrent)
            # sigmoid(a) is 1 - 1 / (1 + exp(a)).
            exp(by_gate, gates)
            add(gates, one, gates)
            divide(one, gates, gates)
            subtract(one, gates, gates)
            times(r, from_state, n)
            add(n, candidate, n)
            tanh(n, n)
            # The way back needs what the state brought.
            copy(candidate, from_state)
            subtract(before, n, state)
            times(state, z, state)
            add(state, n, state)

    def backward(self, work: Workspace, arrays: CellArrays, gradients: FloatArray, piece: Piece) -> None:
        """As in :class:`Cell`."""
        length, batch_size, size = gradients.shape
        seq_len = piece.seq_len
        multiply, rows = self._product(batch_size)
        matrix = self.back_matrix(work, arrays.weight_hh, batch_size, piece)
        recurrent = work.array("recurrent", (batch_size, size))
        product = recurrent.reshape(*rows, size)
        hidden = work.steps("gradients", (length, batch_size, size))
        update = work.steps("gates", (3 * seq_len, batch_size, size))[1::3]
        by_gate = [
            row.reshape(batch_size, 3, size).swapaxes(0, 1)
            for row in work.steps("gates", (seq_len, batch_size, 3 * size))
        ]
        products = work.steps("gates", (seq_len, *rows, 3 * size))
        candidates = work.steps("candidates", (seq_len, batch_size, size))
        kept = work.array("kept", (batch_size, size))
        if piece.is_first:
            recurrent.fill(0.0)
            kept.fill(0.0)
        add, times = np.add, np.multiply
        for begin, end in chunks(piece, 9 * batch_size * size):
            slopes, to_candidate = self._slopes(work, seq_len, batch_size, begin, end)
            for step in range(end - 1, begin - 1, -1):
                gradient = hidden[step - piece.begin]
                add(gradient, recurrent, gradient)
                add(gradient, kept, gradient)
                times(gradient, update[step], kept)
                times(gradient, slopes[step - begin], by_gate[step])
                times(gradient, to_candidate[step - begin], candidates[step])
                if step:
                    multiply(products[step], matrix, product)

    def write(self, work: Workspace, batch_size: int, written: CellArrays, piece: Piece) -> FloatArray:
        """As in :class:`Cell`."""
        size = self.hidden_size
        flat = self._entering(work, batch_size, piece)
        previous = self._previous(work, batch_size, piece)
        add_product(work, flat.T, previous, written.weight_hh, piece.is_first)
        add_rows(work, flat, written.bias_hh, piece.is_first)
        # Between the product with the state and the candidate lies the reset gate, between that with the input nothing.
        direct = work.array("candidates", (piece.seq_len, batch_size, size))[piece.steps].reshape(-1, size)
        np.copyto(flat[:, 2 * size :], direct)
        np.copyto(written.bias_ih[: 2 * size], written.bias_hh[: 2 * size])
        add_rows(work, direct, written.bias_ih[2 * size :], piece.is_first)
        return flat

    def _slopes(
        self, work: Workspace, seq_len: int, batch_size: int, begin: int, end: int
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        """What the state's gradients are multiplied by in the steps from ``begin`` to ``end``.

        On the way to what the product with the state brings to r, z and n, (3, batch, hidden_size) per step; and on the
        way to what enters n, (batch, hidden_size) per step.
        """
        shape = (batch_size, self.hidden_size)
        steps = end - begin
        gates = work.array("gates", (seq_len, 3, *shape))[begin:end]
        r, z, n = (gates[:, gate] for gate in range(3))
        before = self.states(work, seq_len, batch_size)[begin:end]
        candidates = work.array("candidates", (seq_len, *shape))[begin:end]
        to_candidate = work.array("to_candidate", (steps, *shape))
        slopes = work.array("slopes", (steps, 3, *shape))
        to_r, to_z, to_n = (slopes[:, gate] for gate in range(3))
        np.multiply(n, n, to_candidate)
        np.subtract(1.0, to_candidate, to_candidate)
        np.subtract(1.0, z, to_z)
        np.multiply(to_candidate, to_z, to_candidate)
        np.multiply(to_z, z, to_z)
        np.subtract(before, n, to_n)
        np.multiply(to_z, to_n, to_z)
        np.multiply(to_candidate, r, to_n)
        np.subtract(1.0, r, to_r)
        np.multiply(to_r, to_n, to_r)
        np.multiply(to_r, candidates, to_r)
        return work.steps("slopes", (steps, 3, *shape)), work.steps("to_candidate", (steps, *shape))


class OriginalGRUCell(Cell):
    r"""The gated recurrent unit whose reset gate comes before the product.

    .. math:: n = \tanh(x_t W_{in}^T + b_{in} + b_{hn} + (r h_{t-1}) W_{hn}^T)

    and all else as in :class:`GRUCell`. A step has two products, one behind the other, and so takes longer.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation"
    (2014), equations 5 to 8. Order of gates and names are those of ``torch.nn.GRU``.

    Parameters
    ----------
    hidden_size:
        Number of units.
    """

    gates: ClassVar[int] = 3

    def forward(self, work: Workspace, arrays: CellArrays, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates and states."""
        size = self.hidden_size
        matrix = self.there_matrix(work, arrays.weight_hh, seq_len, batch_size)
        to_gates, to_candidate = matrix[:, : 2 * size], matrix[:, 2 * size :]
        sums = work.array("recurrent", (batch_size, 2 * size))
        by_gate = sums.reshape(batch_size, 2, size).swapaxes(0, 1)
        by_row = work.steps("gates", (seq_len, batch_size, 3 * size))
        by_step = work.steps("gates", (seq_len, 3, batch_size, size))
        states = work.steps("states", (seq_len + 1, batch_size, size))
        resets = work.steps("reset_states", (seq_len, batch_size, size))
        recurrent, from_input = work.steps("candidates", (2, batch_size, size))
        tanh = tanh_for(recurrent.size, work.dtype)
        for before, projected, gates, reset, state in zip(
            states[:-1], by_row, by_step, resets, states[1:], strict=True
        ):
            r, z, n = gates
            np.dot(before, to_gates, sums)
            np.add(projected[:, : 2 * size], sums, sums)
            # What follows overwrites the projection.
            np.copyto(from_input, projected[:, 2 * size :])
            np.exp(by_gate, gates[:2])
            np.add(gates[:2], 1.0, gates[:2])
            np.divide(1.0, gates[:2], gates[:2])
            np.subtract(1.0, gates[:2], gates[:2])
            np.multiply(r, before, reset)
            np.dot(reset, to_candidate, recurrent)
            np.add(from_input, recurrent, n)
            tanh(n, n)
            np.subtract(before, n, state)
            np.multiply(state, z, state)
            np.add(state, n, state)

    def backward(self, work: Workspace, arrays: CellArrays, gradients: FloatArray, piece: Piece) -> None:
        """As in :class:`Cell`."""
        seq_len = piece.seq_len
        _, batch_size, size = gradients.shape
        matrix = self.back_matrix(work, arrays.weight_hh, batch_size, piece)
        from_gates, from_candidate = matrix[: 2 * size], matrix[2 * size :]
        states = work.steps("states", (seq_len + 1, batch_size, size))
        by_step = work.steps("gates", (seq_len, 3, batch_size, size))
        by_row = work.steps("gates", (seq_len, batch_size, 3 * size))
        recurrent, to_reset, kept, r, to_r, to_z, to_n = work.steps("back", (7, batch_size, size))
        for step in range(piece.end - 1, piece.begin - 1, -1):
            gradient, before, row = gradients[step - piece.begin], states[step], by_row[step]
            if step < seq_len - 1:
                np.dot(by_row[step + 1][:, : 2 * size], from_gates, recurrent)
                np.add(gradient, recurrent, gradient)
                np.add(gradient, kept, gradient)
            _, z, n = by_step[step]
            np.copyto(r, by_step[step][0])
            np.subtract(1.0, z, to_z)
            np.multiply(n, n, to_n)
            np.subtract(1.0, to_n, to_n)
            np.multiply(to_n, to_z, to_n)
            np.multiply(to_n, gradient, to_n)
            np.dot(to_n, from_candidate, to_reset)
            np.multiply(to_z, z, to_z)
            np.multiply(to_z, gradient, to_z)
            np.subtract(before, n, to_r)
            np.multiply(to_z, to_r, to_z)
            np.multiply(gradient, z, kept)
            np.subtract(1.0, r, to_r)
            np.multiply(to_r, r, to_r)
            np.multiply(to_r, before, to_r)
            np.multiply(to_r, to_reset, to_r)
            np.multiply(to_reset, r, to_reset)
            np.add(kept, to_reset, kept)
            # From here on the gates of this step are overwritten.
            for gate, values in enumerate((to_r, to_z, to_n)):
                np.copyto(row[:, gate * size : (gate + 1) * size], values)

    def write(self, work: Workspace, batch_size: int, written: CellArrays, piece: Piece) -> FloatArray:
        """As in :class:`Cell`."""
        size = self.hidden_size
        flat = self._entering(work, batch_size, piece)
        previous = self._previous(work, batch_size, piece)
        resets = work.array("reset_states", (piece.seq_len, batch_size, size))[piece.steps].reshape(-1, size)
        add_product(work, flat[:, : 2 * size].T, previous, written.weight_hh[: 2 * size], piece.is_first)
        add_product(work, flat[:, 2 * size :].T, resets, written.weight_hh[2 * size :], piece.is_first)
        add_rows(work, flat, written.bias_ih, piece.is_first)
        np.copyto(written.bias_hh, written.bias_ih)
        return flat
