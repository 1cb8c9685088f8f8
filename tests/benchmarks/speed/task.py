"""The task of all contenders of the speed benchmark: one training step of a character model.

A step consists of forward pass, backward pass, clipping to a global norm and one Adam update, in float32. All
contenders start from the same parameters, read the same tokens and begin with zero states. The GRU is PyTorch's, in
which the reset gate acts on the recurrent product.
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
        """Number of rows of the cell's weights."""
        return GATES[self.cell] * self.hidden_size

    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, each of shape (seq_len, batch)."""
        shape = (self.seq_len + 1, self.batch_size)
        tokens = np.random.default_rng(0).integers(0, self.vocab_size, shape)
        return tokens[:-1], tokens[1:]

    def parameters(self) -> Arrays:
        """The initial parameters of all contenders, with PyTorch's names and layouts."""
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
    """An implementation of the task."""

    def gradients(self) -> tuple[float, Arrays]:
        """Loss and unclipped gradients at the current parameters, by PyTorch's names. Updates nothing."""

    def step(self) -> float:
        """Makes one training step and returns the loss before the update, as a computed float."""
