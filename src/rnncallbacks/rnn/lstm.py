"""The long short-term memory."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn.activations import tanh_for
from rnncallbacks.rnn.cells import Cell, CellArrays, Piece, chunks, states_at
from rnncallbacks.rnn.checks import IntArray
from rnncallbacks.rnn.workspace import Workspace


class LSTMCell(Cell):
    r"""The long short-term memory.

    .. math::
       i, f, o &= \mathrm{sigmoid}(a^i_t), \mathrm{sigmoid}(a^f_t), \mathrm{sigmoid}(a^o_t), \qquad g = \tanh(a^g_t) \\
       c_t &= f c_{t-1} + i g, \qquad h_t = o \tanh(c_t)

    with the four blocks :math:`(a^i, a^f, a^g, a^o)_t = x_t W_{ih}^T + b_{ih} + b_{hh} + h_{t-1} W_{hh}^T`. The state
    is the pair :math:`(h, c)`.

    Source: Hochreiter and Schmidhuber, "Long short-term memory" (1997), with the forget gate of Gers, Schmidhuber and
    Cummins, "Learning to forget" (2000). Shapes, names and order of gates are those of ``torch.nn.LSTM``.

    Parameters
    ----------
    hidden_size:
        Number of units.
    """

    # All gates of a step lie in one array. Before the step they are row by row, as the products make them: (batch, 4 *
    # hidden_size). Behind it they are gate by gate, (4, batch, hidden_size), for passes over whole gates. On the way
    # back, their gradients take the same memory, row by row again, for the products.

    gates: ClassVar[int] = 4

    def zero_state(self, batch_size: int, dtype: np.dtype[Any]) -> tuple[FloatArray, FloatArray]:
        """Zeros, a pair of shape (batch_size, hidden_size)."""
        return super().zero_state(batch_size, dtype), super().zero_state(batch_size, dtype)

    def enter(self, work: Workspace, seq_len: int, state: Any) -> None:
        """Copy the pair of states (batch, hidden_size) to before the first step."""
        hidden, cell = state
        np.copyto(self.states(work, seq_len, len(hidden))[0], hidden, casting="same_kind")
        np.copyto(self._cells(work, seq_len, len(hidden))[0], cell, casting="same_kind")

    def leave(
        self, work: Workspace, seq_len: int, batch_size: int, ends: IntArray | None
    ) -> tuple[FloatArray, FloatArray]:
        """A pair of hidden states and cells of shape (batch, hidden_size)."""
        states, cells = self.states(work, seq_len, batch_size), self._cells(work, seq_len, batch_size)
        return states_at(states, ends), states_at(cells, ends)

    def forward(self, work: Workspace, arrays: CellArrays, seq_len: int, batch_size: int) -> None:
        """Turn projections into gates, cells and states."""
        size = self.hidden_size
        multiply, rows = self._product(batch_size)
        matrix = self.there_matrix(work, arrays.weight_hh, seq_len, batch_size)
        recurrent = work.array("recurrent", (batch_size, 4 * size))
        product = recurrent.reshape(*rows, 4 * size)
        by_gate = recurrent.reshape(batch_size, 4, size).swapaxes(0, 1)
        by_row = work.steps("gates", (seq_len, batch_size, 4 * size))
        gates = work.steps("gates", (seq_len, 4, batch_size, size))
        single = work.steps("gates", (4 * seq_len, batch_size, size))
        states = work.steps("states", (seq_len + 1, batch_size, size))
        products = work.steps("states", (seq_len + 1, *rows, size))
        cells = work.steps("cells", (seq_len + 1, batch_size, size))
        squashed = work.steps("squashed_cells", (seq_len, batch_size, size))
        added = work.array("added", (batch_size, size))
        tanh = tanh_for(added.size, work.dtype)
        one = np.ones((), dtype=work.dtype)
        # Local names and positional outputs: on small networks the calls cost more than the arithmetic.
        add, subtract, times, divide, exp = np.add, np.subtract, np.multiply, np.divide, np.exp
        for entering, projected, all_gates, i, f, g, o, before, cell, squash, state in zip(
            products[:-1], by_row, gates, *(single[gate::4] for gate in range(4)), cells[:-1], cells[1:], squashed,
            states[1:], strict=True,
        ):  # fmt: skip
            multiply(entering, matrix, product)
            add(projected, recurrent, recurrent)
            # sigmoid(a) is 1 - 1 / (1 + exp(a)), and tanh(a) is 1 - 2 / (1 + exp(a)^2): one exponential for all gates.
            exp(by_gate, all_gates)
            times(g, g, g)
            add(all_gates, one, all_gates)
            divide(one, all_gates, all_gates)
            add(g, g, g)
            subtract(one, all_gates, all_gates)
            times(f, before, cell)
            times(i, g, added)
            add(cell, added, cell)
            tanh(cell, squash)
            times(o, squash, state)

    def backward(self, work: Workspace, arrays: CellArrays, gradients: FloatArray, piece: Piece) -> None:
        """As in :class:`Cell`."""
        length, batch_size, size = gradients.shape
        seq_len = piece.seq_len
        multiply, rows = self._product(batch_size)
        matrix = self.back_matrix(work, arrays.weight_hh, batch_size, piece)
        recurrent = work.array("recurrent", (batch_size, size))
        product = recurrent.reshape(*rows, size)
        hidden = work.steps("gradients", (length, batch_size, size))
        forget = work.steps("gates", (4 * seq_len, batch_size, size))[1::4]
        by_row = work.steps("gates", (seq_len, batch_size, 4 * size))
        products = work.steps("gates", (seq_len, *rows, 4 * size))
        by_gate = [row.reshape(batch_size, 4, size).swapaxes(0, 1) for row in by_row]
        cells = work.steps("cell_gradients", (2, batch_size, size))
        if piece.is_first:
            recurrent.fill(0.0)
            cells[seq_len % 2].fill(0.0)
        add, times = np.add, np.multiply
        for begin, end in chunks(piece, 11 * batch_size * size):
            inner, outer, through = self._slopes(work, seq_len, batch_size, begin, end)
            for step in range(end - 1, begin - 1, -1):
                gradient, cell = hidden[step - piece.begin], cells[(step + 1) % 2]
                add(gradient, recurrent, gradient)
                times(gradient, through[step - begin], recurrent)
                add(cell, recurrent, cell)
                times(cell, forget[step], cells[step % 2])
                times(cell, inner[step - begin], by_gate[step][:3])
                times(gradient, outer[step - begin], by_gate[step][3])
                if step:
                    multiply(products[step], matrix, product)

    def _cells(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        return work.array("cells", (seq_len + 1, batch_size, self.hidden_size))

    def _slopes(
        self, work: Workspace, seq_len: int, batch_size: int, begin: int, end: int
    ) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray]]:
        """What gradients are multiplied by in the steps from ``begin`` to ``end``.

        Of the cell, on the way to what enters i, f and g, (3, batch, hidden_size) per step; of the state, on the way to
        what enters o, and on the way to the cell, (batch, hidden_size) per step.
        """
        shape = (batch_size, self.hidden_size)
        steps = end - begin
        gates = work.array("gates", (seq_len, 4, *shape))[begin:end]
        i, g, o = gates[:, 0], gates[:, 2], gates[:, 3]
        before = self._cells(work, seq_len, batch_size)[begin:end]
        squashed = work.array("squashed_cells", (seq_len, *shape))[begin:end]
        inner = work.array("inner", (steps, 3, *shape))
        # The slope of sigmoid is i - i^2, that of tanh 1 - g^2.
        np.multiply(gates[:, :2], gates[:, :2], inner[:, :2])
        np.subtract(gates[:, :2], inner[:, :2], inner[:, :2])
        np.multiply(inner[:, 0], g, inner[:, 0])
        np.multiply(inner[:, 1], before, inner[:, 1])
        np.multiply(g, g, inner[:, 2])
        np.subtract(1.0, inner[:, 2], inner[:, 2])
        np.multiply(inner[:, 2], i, inner[:, 2])
        through = work.array("through", (steps, *shape))
        np.multiply(squashed, squashed, through)
        np.subtract(1.0, through, through)
        np.multiply(through, o, through)
        outer = work.array("outer", (steps, *shape))
        np.multiply(o, o, outer)
        np.subtract(o, outer, outer)
        np.multiply(outer, squashed, outer)
        return (
            work.steps("inner", (steps, 3, *shape)),
            work.steps("outer", (steps, *shape)),
            work.steps("through", (steps, *shape)),
        )
