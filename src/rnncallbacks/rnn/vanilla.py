"""The simple recurrent cell."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn.activations import tanh_for
from rnncallbacks.rnn.cells import Cell, CellArrays, Piece, chunks
from rnncallbacks.rnn.workspace import Workspace


class VanillaCell(Cell):
    r"""The simple recurrent cell.

    .. math:: h_t = \sigma(x_t W_{ih}^T + b_{ih} + b_{hh} + h_{t-1} W_{hh}^T)

    with :math:`\sigma` tanh or the positive part.

    Source: Elman, "Finding structure in time" (1990); for ReLU, Le, Jaitly and Hinton, "A simple way to initialize
    recurrent networks of rectified linear units" (2015). Shapes and names are those of ``torch.nn.RNN``.

    Parameters
    ----------
    hidden_size:
        Number of units.
    nonlinearity:
        ``"tanh"`` or ``"relu"``.
    """

    gates: ClassVar[int] = 1
    # The gradients are as large as the states, which are all that is kept.
    pieces: ClassVar[int] = 6

    def __init__(self, hidden_size: int, nonlinearity: str) -> None:
        super().__init__(hidden_size)
        self.nonlinearity = nonlinearity

    def projections(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """Where the states behind the steps will be: they take the place of the projections."""
        return self.states(work, seq_len, batch_size)[1:]

    def forward(self, work: Workspace, arrays: CellArrays, seq_len: int, batch_size: int) -> None:
        """Turn projections into states, in place."""
        multiply, rows = self._product(batch_size)
        layout = (*rows, self.hidden_size)
        matrix = self.there_matrix(work, arrays.weight_hh, seq_len, batch_size)
        recurrent = work.array("recurrent", layout)
        previous, *steps = work.steps("states", (seq_len + 1, *layout))
        # Local names and positional outputs: on small networks the calls cost more than the arithmetic.
        add = np.add
        if self.nonlinearity == "tanh":
            tanh = tanh_for(recurrent.size, work.dtype)
            for step in steps:
                multiply(previous, matrix, recurrent)
                add(step, recurrent, step)
                tanh(step, step)
                previous = step
        else:
            zero, maximum = np.zeros((), dtype=work.dtype), np.maximum
            for step in steps:
                multiply(previous, matrix, recurrent)
                add(step, recurrent, step)
                maximum(step, zero, out=step)
                previous = step

    def backward(self, work: Workspace, arrays: CellArrays, gradients: FloatArray, piece: Piece) -> None:
        """As in :class:`Cell`. The gradients of what enters the nonlinearity take their place."""
        self._back(work, arrays, gradients, piece, in_place=True)

    def to_states(self, work: Workspace, arrays: CellArrays, gradients: FloatArray) -> None:
        """As in :class:`Cell`."""
        self._back(work, arrays, gradients, Piece(0, len(gradients), len(gradients)), in_place=False)

    def _back(
        self, work: Workspace, arrays: CellArrays, gradients: FloatArray, piece: Piece, *, in_place: bool
    ) -> None:
        length, batch_size, hidden_size = gradients.shape
        states = self.states(work, piece.seq_len, batch_size)
        multiply, rows = self._product(batch_size)
        layout = (*rows, hidden_size)
        matrix = self.back_matrix(work, arrays.weight_hh, batch_size, piece)
        recurrent = work.array("recurrent", layout)
        if piece.is_first:
            recurrent.fill(0.0)
        steps = work.steps("gradients", (length, *layout))
        add, times = np.add, np.multiply
        for begin, end in chunks(piece, 2 * batch_size * hidden_size):
            self._slopes(states[begin + 1 : end + 1], work.array("slopes", (end - begin, batch_size, hidden_size)))
            slopes = work.steps("slopes", (end - begin, *layout))
            for number in range(end - 1, begin - 1, -1):
                step, slope = steps[number - piece.begin], slopes[number - begin]
                entering = step if in_place else slope
                add(step, recurrent, step)
                times(step, slope, entering)
                if number:
                    multiply(entering, matrix, recurrent)

    def _entering(self, work: Workspace, batch_size: int, piece: Piece) -> FloatArray:
        """In the place of the gradients with respect to the states."""
        return work.array("gradients", ((piece.end - piece.begin) * batch_size, self.hidden_size))

    def _slopes(self, states: FloatArray, out: FloatArray) -> None:
        if self.nonlinearity == "tanh":
            np.multiply(states, states, out)
            np.subtract(1.0, out, out)
        else:
            # A state is never negative here, so its sign is 1 where the unit is active and 0 elsewhere.
            np.sign(states, out)
