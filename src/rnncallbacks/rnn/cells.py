"""Recurrent cells: the loop over time, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn.products import near, rows_per_block
from rnncallbacks.rnn.workspace import Workspace


class VanillaCell:
    r"""The simple recurrent cell.

    .. math:: h_t = \sigma(x_t W_{ih}^T + b_{ih} + b_{hh} + h_{t-1} W_{hh}^T)

    with :math:`\sigma` tanh or the positive part. The cell does the recurrence. The projection
    :math:`x_t W_{ih}^T + b_{ih} + b_{hh}` comes from the input layer, for all steps at once.

    Source: Elman, "Finding structure in time" (1990); for ReLU, Le, Jaitly and Hinton, "A simple way to initialize
    recurrent networks of rectified linear units" (2015). Shapes and names are those of ``torch.nn.RNN``.

    Parameters
    ----------
    hidden_size:
        Number of units.
    nonlinearity:
        ``"tanh"`` or ``"relu"``.
    """

    def __init__(self, hidden_size: int, nonlinearity: str) -> None:
        self.hidden_size = hidden_size
        self.nonlinearity = nonlinearity

    def zero_state(self, batch_size: int, dtype: np.dtype[Any]) -> FloatArray:
        """Zeros of shape (batch_size, hidden_size)."""
        return np.zeros((batch_size, self.hidden_size), dtype=dtype)

    def buffer(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """The states of all steps, (seq_len + 1, batch, hidden_size): the entering state first.

        The input layer writes the projection of step t to where the state behind step t will be.
        """
        return work.array("states", (seq_len + 1, batch_size, self.hidden_size))

    def forward(self, work: Workspace, states: FloatArray, weight_hh: FloatArray) -> None:
        """Turn projections into states, in place, one step after the other."""
        multiply, layout = self._product(states.shape[1])
        matrix = near(work, "weight_hh.T", weight_hh.T, uses=states.shape[0] * states.shape[1])
        recurrent = work.array("recurrent", layout)
        previous, *steps = work.steps("states", (states.shape[0], *layout))
        # Local names and positional outputs: on small networks the calls cost more than the arithmetic.
        add, tanh, maximum = np.add, np.tanh, np.maximum
        if self.nonlinearity == "tanh":
            for step in steps:
                multiply(previous, matrix, recurrent)
                add(step, recurrent, step)
                tanh(step, step)
                previous = step
        else:
            zero = np.zeros((), dtype=work.dtype)
            for step in steps:
                multiply(previous, matrix, recurrent)
                add(step, recurrent, step)
                maximum(step, zero, out=step)
                previous = step

    def backward(self, work: Workspace, states: FloatArray, gradients: FloatArray, weight_hh: FloatArray) -> None:
        """Turn the gradients with respect to the states, as the head sees them, into those of the projections.

        In place, from the last step to the first. ``gradients`` is the work array of that name, of shape (seq_len,
        batch, hidden_size).
        """
        multiply, layout = self._product(states.shape[1])
        shape = (gradients.shape[0], *layout)
        hidden, slopes = states[1:], work.array("slopes", gradients.shape)
        if self.nonlinearity == "tanh":
            np.multiply(hidden, hidden, slopes)
            np.subtract(1.0, slopes, slopes)
        else:
            # A state is never negative here, so its sign is 1 where the unit is active and 0 elsewhere.
            np.sign(hidden, slopes)
        matrix = near(work, "weight_hh", weight_hh, uses=states.shape[0] * states.shape[1])
        recurrent = work.array("recurrent", layout)
        add, times = np.add, np.multiply
        steps = zip(reversed(work.steps("gradients", shape)), reversed(work.steps("slopes", shape)), strict=True)
        later, slope = next(steps)
        times(later, slope, later)
        for step, slope in steps:
            multiply(later, matrix, recurrent)
            add(step, recurrent, step)
            times(step, slope, step)
            later = step

    def _product(self, batch_size: int) -> tuple[Callable[..., object], tuple[int, ...]]:
        """The function that multiplies one step's states by the recurrent matrix, and the shape it wants them in."""
        block = rows_per_block(batch_size, self.hidden_size**2)
        if block == batch_size:
            return np.dot, (batch_size, self.hidden_size)
        return np.matmul, (batch_size // block, block, self.hidden_size)
