"""What recurrent cells have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import attrs
import numpy as np

from rnncallbacks.arrays import FlatArrays, FloatArray
from rnncallbacks.rnn.checks import IntArray
from rnncallbacks.rnn.products import near, rows_per_block
from rnncallbacks.rnn.workspace import Workspace

# So many numbers, read and written, stay in the processor's second-level cache.
_CHUNK = 2**16


@attrs.frozen(eq=False)
class CellArrays:
    """The four arrays of a cell, in PyTorch's layout: its parameters, or their gradients.

    ``weight_ih`` is (gates * hidden_size, input_size), ``weight_hh`` (gates * hidden_size, hidden_size), and the
    biases are (gates * hidden_size,).
    """

    weight_ih: FloatArray
    weight_hh: FloatArray
    bias_ih: FloatArray
    bias_hh: FloatArray

    @classmethod
    def of(cls, arrays: FlatArrays, suffix: str) -> CellArrays:
        """Those whose names end in ``suffix``, such as ``l0`` or ``l1_reverse``."""
        return cls(*(arrays[f"rnn.{field.name}_{suffix}"] for field in attrs.fields(cls)))


class Cell(ABC):
    """A recurrence over time, forward and backward.

    The cell does what depends on the step before. The input layer does the rest for all steps at once: it writes
    :math:`x_t W_{ih}^T` and a bias into ``projections``.

    Attributes
    ----------
    gates:
        How many blocks of ``hidden_size`` rows the weights have.
    """

    gates: ClassVar[int]

    def __init__(self, hidden_size: int) -> None:
        self.hidden_size = hidden_size

    def zero_state(self, batch_size: int, dtype: np.dtype[Any]) -> Any:
        """The state before a sequence: zeros of shape (batch_size, hidden_size)."""
        return np.zeros((batch_size, self.hidden_size), dtype=dtype)

    def states(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """The hidden states of all steps, (seq_len + 1, batch, hidden_size): the entering one first."""
        return work.array("states", (seq_len + 1, batch_size, self.hidden_size))

    def projections(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """Where the input layer is to write, (seq_len, batch, gates * hidden_size): where the gates will be."""
        return work.array("gates", (seq_len, batch_size, self.gates * self.hidden_size))

    def bias(self, arrays: CellArrays, out: FloatArray) -> None:
        """Write the bias that the input layer is to add, of shape (gates * hidden_size,), to ``out``."""
        np.add(arrays.bias_ih, arrays.bias_hh, out)

    def enter(self, work: Workspace, seq_len: int, state: Any) -> None:
        """Copy the entering state, of the structure of ``zero_state``, to where ``forward`` begins."""
        np.copyto(self.states(work, seq_len, len(state))[0], state, casting="same_kind")

    @abstractmethod
    def forward(self, work: Workspace, arrays: CellArrays, seq_len: int, batch_size: int) -> None:
        """Turn projections into states, one step after the other."""

    def leave(self, work: Workspace, seq_len: int, batch_size: int, ends: IntArray | None) -> Any:
        """A copy of the state behind step ``ends[row]`` of each row, counted from 1; None: behind the last step."""
        return states_at(self.states(work, seq_len, batch_size), ends)

    @abstractmethod
    def backward(self, work: Workspace, arrays: CellArrays, gradients: FloatArray) -> None:
        """Go back through time, one step after the other.

        ``gradients`` is the work array of that name, (seq_len, batch, hidden_size): the gradients with respect to the
        hidden states as the layer above sees them. They become dL/dh, with what later steps bring back.
        """

    def write(self, work: Workspace, seq_len: int, batch_size: int, written: CellArrays) -> FloatArray:
        """After ``backward``, write the gradients of the recurrent matrix and of the biases to ``written``.

        Returns the gradients with respect to the projections, (seq_len * batch, gates * hidden_size).
        """
        flat = self._entering(work, seq_len * batch_size)
        np.dot(flat.T, self._previous(work, seq_len, batch_size), written.weight_hh)
        sum_rows(work, flat, written.bias_ih)
        np.copyto(written.bias_hh, written.bias_ih)
        return flat

    def _entering(self, work: Workspace, rows: int) -> FloatArray:
        """Where ``backward`` leaves the gradients of what enters the gates: in their memory."""
        return work.array("gates", (rows, self.gates * self.hidden_size))

    def _previous(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """The states before all steps, (seq_len * batch, hidden_size)."""
        return self.states(work, seq_len, batch_size)[:-1].reshape(-1, self.hidden_size)

    def back_matrix(self, work: Workspace, weight_hh: FloatArray, uses: int) -> FloatArray:
        """The matrix that gradients are multiplied by on their way one step back."""
        return near(work, "weight_hh", weight_hh, uses)

    def multiplications(self, batch_size: int) -> int:
        """Of the product of one step."""
        return batch_size * self.gates * self.hidden_size**2

    def _product(self, batch_size: int) -> tuple[Callable[..., object], tuple[int, ...]]:
        """What multiplies a step's rows by the cell's matrix, and the shape, less its last axis, that it wants."""
        block = rows_per_block(batch_size, self.gates * self.hidden_size**2)
        if block == batch_size:
            return np.dot, (batch_size,)
        return np.matmul, (batch_size // block, block)


def chunks(seq_len: int, numbers: int) -> Iterator[tuple[int, int]]:
    """First step and end of pieces of a sequence, last first, that stay in the cache with ``numbers`` per step."""
    length = max(1, _CHUNK // numbers)
    for end in range(seq_len, 0, -length):
        yield max(0, end - length), end


def states_at(states: FloatArray, ends: IntArray | None) -> FloatArray:
    """A copy of each row's state behind step ``ends[row]``, where 0 is the entering one; None: the last of all."""
    return states[-1].copy() if ends is None else states[ends, np.arange(states.shape[1])]


def sum_rows(work: Workspace, rows: FloatArray, out: FloatArray) -> None:
    """Write the sum over rows to ``out``; as a product, which is faster than a sum over the first axis."""
    np.dot(work.array("ones", (rows.shape[0],), fill=1.0), rows, out)
