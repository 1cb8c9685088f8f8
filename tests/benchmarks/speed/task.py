"""The work that all contenders of the speed benchmark do: one training step of a character model.

Forward pass, backward pass, clipping to a global norm and one update of Adam, in float32, from the same parameters, on
the same tokens, from a state of zeros. The GRU is that of PyTorch: the reset gate acts on the recurrent product.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import numpy as np

LEARNING_RATE = 1e-3
MAX_NORM = 5.0
BETAS = (0.9, 0.999)
EPS = 1e-8

GATES = {"vanilla": 1, "lstm": 4, "gru": 3}
"""Blocks of rows in the weights of each cell, in PyTorch's order: i, f, g, o for the LSTM; r, z, n for the GRU."""

Arrays = dict[str, np.ndarray]


@attrs.frozen
class Task:
    """A cell and the sizes of a step."""

    cell: str
    seq_len: int
    batch_size: int
    vocab_size: int
    hidden_size: int

    @property
    def positions(self) -> int:
        return self.seq_len * self.batch_size

    @property
    def rows(self) -> int:
        """Rows of the cell's weights."""
        return GATES[self.cell] * self.hidden_size

    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, (seq_len, batch) each."""
        shape = (self.seq_len + 1, self.batch_size)
        tokens = np.random.default_rng(0).integers(0, self.vocab_size, shape)
        return tokens[:-1], tokens[1:]

    def parameters(self) -> Arrays:
        """Where all contenders begin, by PyTorch's names and in its layouts."""
        shapes = {
            "rnn.weight_ih_l0": (self.rows, self.vocab_size),
            "rnn.weight_hh_l0": (self.rows, self.hidden_size),
            "rnn.bias_ih_l0": (self.rows,),
            "rnn.bias_hh_l0": (self.rows,),
            "head.weight": (self.vocab_size, self.hidden_size),
            "head.bias": (self.vocab_size,),
        }
        bound = self.hidden_size**-0.5
        rng = np.random.default_rng(1)
        return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


class Contender(Protocol):
    """One way to do the work."""

    def gradients(self) -> tuple[float, Arrays]:
        """Loss and unclipped gradients of the parameters as they are, by PyTorch's names; nothing is updated."""

    def step(self) -> float:
        """One training step; the loss before its update, as a float that is really there."""
