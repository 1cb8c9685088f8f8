"""The base class of cells with gates: the memory of the gates in its two layouts."""

from __future__ import annotations

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.cells.cell import Cell
from rnncallbacks.rnn.linalg.workspace import Workspace


class GatedCell(Cell):
    """A cell that keeps the gates of all steps in one array.

    Before a step, the gates are row by row, (batch, gates * hidden_size), as the matrix product with the inputs makes
    them. After it, they are gate by gate, (gates, batch, hidden_size), so that each operation runs over contiguous
    memory. The backward pass replaces them by their gradients, row by row again, for the matrix products.
    """

    def _gates_by_row(self, work: Workspace, seq_len: int, batch_size: int) -> list[FloatArray]:
        """For each step, (batch, gates * hidden_size)."""
        return work.steps("gates", (seq_len, batch_size, self.gates * self.hidden_size))

    def _gates_by_gate(self, work: Workspace, seq_len: int, batch_size: int) -> list[FloatArray]:
        """For each step, (gates, batch, hidden_size)."""
        return work.steps("gates", (seq_len, self.gates, batch_size, self.hidden_size))

    def _single_gates(self, work: Workspace, seq_len: int, batch_size: int) -> list[list[FloatArray]]:
        """For each gate, a list of one array (batch, hidden_size) per step."""
        single = work.steps("gates", (self.gates * seq_len, batch_size, self.hidden_size))
        return [single[gate :: self.gates] for gate in range(self.gates)]

    def _gate_gradient_views(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """For each step, a view (gates, batch, hidden_size) of memory whose rows are (batch, gates * hidden_size)."""
        return work.array("gates", (seq_len, batch_size, self.gates, self.hidden_size)).swapaxes(1, 2)
