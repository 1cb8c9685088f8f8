"""What recurrent cells have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import attrs
import numpy as np

from rnncallbacks.arrays import FlatArrays, FloatArray
from rnncallbacks.rnn.checks import IntArray
from rnncallbacks.rnn.products import add_product, near, rows_per_block
from rnncallbacks.rnn.workspace import Workspace

# So many numbers, read and written, stay in the processor's second-level cache.
_CHUNK = 2**16

# As few numbers of a gradient are not worth going back in more than one piece.
_PIECE = 3 * 2**15


@attrs.frozen
class Piece:
    """The steps from ``begin`` to ``end`` of ``seq_len``: as many as the backward pass goes back at a time.

    Pieces come in the order of going back, the last steps first, so that gradients with respect to states are in memory
    for the steps of one piece only. Gradients of parameters are sums over the pieces.
    """

    begin: int
    end: int
    seq_len: int

    @property
    def is_first(self) -> bool:
        """Whether it is the first that is worked on, in which sums begin."""
        return self.end == self.seq_len

    @property
    def steps(self) -> slice:
        return slice(self.begin, self.end)


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
    pieces:
        In how many pieces to go back through a long sequence: in one where the gradients with respect to states are
        small beside what is kept for all steps anyway.
    """

    gates: ClassVar[int]
    pieces: ClassVar[int] = 1

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
    def backward(self, work: Workspace, arrays: CellArrays, gradients: FloatArray, piece: Piece) -> None:
        """Go back through the steps of a piece, one after the other.

        ``gradients`` is the work array of that name, (steps, batch, hidden_size): the gradients with respect to the
        hidden states as the layer above sees them. It is overwritten. What this piece brings to the one before stays in
        work arrays.
        """

    def to_states(self, work: Workspace, arrays: CellArrays, gradients: FloatArray) -> None:
        """Turn ``gradients`` of all steps into dL/dh, with what later steps bring back, and write no others."""
        self.backward(work, arrays, gradients, Piece(0, len(gradients), len(gradients)))

    def write(self, work: Workspace, batch_size: int, written: CellArrays, piece: Piece) -> FloatArray:
        """After ``backward``, add the gradients of the recurrent matrix and of the biases to ``written``.

        Returns the gradients with respect to the projections, (steps * batch, gates * hidden_size).
        """
        flat = self._entering(work, batch_size, piece)
        add_product(work, flat.T, self._previous(work, batch_size, piece), written.weight_hh, piece.is_first)
        add_rows(work, flat, written.bias_ih, piece.is_first)
        np.copyto(written.bias_hh, written.bias_ih)
        return flat

    def _entering(self, work: Workspace, batch_size: int, piece: Piece) -> FloatArray:
        """Where ``backward`` leaves the gradients of what enters the gates: in their memory."""
        gates = self.projections(work, piece.seq_len, batch_size)[piece.steps]
        return gates.reshape(-1, self.gates * self.hidden_size)

    def _previous(self, work: Workspace, batch_size: int, piece: Piece) -> FloatArray:
        """The states before the steps of a piece, (steps * batch, hidden_size)."""
        return self.states(work, piece.seq_len, batch_size)[piece.steps].reshape(-1, self.hidden_size)

    def there_matrix(self, work: Workspace, weight_hh: FloatArray, seq_len: int, batch_size: int) -> FloatArray:
        """The matrix that states are multiplied by on their way to the next step."""
        return near(work, "recurrent_matrix", weight_hh.T, seq_len * batch_size)

    def back_matrix(self, work: Workspace, weight_hh: FloatArray, batch_size: int, piece: Piece) -> FloatArray:
        """The matrix that gradients are multiplied by on their way one step back."""
        return near(work, "recurrent_matrix", weight_hh, piece.seq_len * batch_size, anew=piece.is_first)

    def multiplications(self, batch_size: int) -> int:
        """Of the product of one step."""
        return batch_size * self.gates * self.hidden_size**2

    def _product(self, batch_size: int) -> tuple[Callable[..., object], tuple[int, ...]]:
        """What multiplies a step's rows by the cell's matrix, and the shape, less its last axis, that it wants."""
        block = rows_per_block(batch_size, self.gates * self.hidden_size**2)
        if block == batch_size:
            # The method, for the function of this name asks first whose arrays they are.
            return np.ndarray.dot, (batch_size,)
        return np.matmul, (batch_size // block, block)


def pieces(seq_len: int, numbers: int, matrix: int, most: int) -> Iterator[Piece]:
    """At most so many pieces of nearly equal length, the last first.

    Fewer where a step has few ``numbers``, or where the recurrent ``matrix`` has more than a piece: each piece makes a
    gradient of it, to be added up.

    Example
    -------
    >>> [(piece.begin, piece.end) for piece in pieces(10, 2**15, 2**10, most=3)]
    [(6, 10), (3, 6), (0, 3)]
    """
    count = min(most, seq_len, -(-seq_len * numbers // max(_PIECE, matrix)))
    for number in range(count, 0, -1):
        yield Piece(seq_len * (number - 1) // count, seq_len * number // count, seq_len)


def chunks(piece: Piece, numbers: int) -> Iterator[tuple[int, int]]:
    """First step and end of parts of a piece, last first, that stay in the cache with ``numbers`` per step."""
    length = max(1, _CHUNK // numbers)
    for end in range(piece.end, piece.begin, -length):
        yield max(piece.begin, end - length), end


def states_at(states: FloatArray, ends: IntArray | None) -> FloatArray:
    """A copy of each row's state behind step ``ends[row]``, where 0 is the entering one; None: the last of all."""
    return states[-1].copy() if ends is None else states[ends, np.arange(states.shape[1])]


def add_rows(work: Workspace, rows: FloatArray, out: FloatArray, is_first: bool) -> None:
    """Add the sum over rows to ``out``; as a product, which is faster than a sum over the first axis."""
    add_product(work, work.array("ones", (rows.shape[0],), fill=1.0), rows, out, is_first)
