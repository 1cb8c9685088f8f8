"""Recurrent cells: the loop over time, forward and backward."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn.workspace import Workspace

# From as many steps on, copying the transposed recurrent matrix once costs less than multiplying by the transposed
# view in each step. A single row never gains: the product is then one of matrix and vector.
_COPY_FROM_STEPS = 6


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
        self._zero = np.zeros(())

    def zero_state(self, batch_size: int, dtype: np.dtype[np.floating]) -> FloatArray:
        """Zeros of shape (batch_size, hidden_size)."""
        return np.zeros((batch_size, self.hidden_size), dtype=dtype)

    def buffer(self, work: Workspace, seq_len: int, batch_size: int) -> FloatArray:
        """The states of all steps, (seq_len + 1, batch, hidden_size): the entering state first.

        The input layer writes the projection of step t to where the state behind step t will be.
        """
        return work.array("states", (seq_len + 1, batch_size, self.hidden_size))

    def forward(self, work: Workspace, states: FloatArray, weight_hh: FloatArray) -> None:
        """Turn projections into states, in place, one step after the other."""
        batch_size = states.shape[1]
        steps = work.steps("states", states.shape)
        recurrent = work.array("recurrent", states.shape[1:])
        transposed = weight_hh.T
        if batch_size > 1 and len(steps) > _COPY_FROM_STEPS:
            copied = work.array("weight_hh.T", transposed.shape)
            np.copyto(copied, transposed)
            transposed = copied
        # Local names and positional outputs: on small networks the calls cost more than the arithmetic.
        dot, add, tanh = np.dot, np.add, np.tanh
        previous = steps[0]
        if self.nonlinearity == "tanh":
            for step in steps[1:]:
                dot(previous, transposed, recurrent)
                add(step, recurrent, step)
                tanh(step, step)
                previous = step
        else:
            maximum, zero = np.maximum, self._zero.astype(work.dtype)
            for step in steps[1:]:
                dot(previous, transposed, recurrent)
                add(step, recurrent, step)
                maximum(step, zero, out=step)
                previous = step

    def backward(self, work: Workspace, states: FloatArray, gradients: FloatArray, weight_hh: FloatArray) -> None:
        """Turn the gradients with respect to the states, as the head sees them, into those of the projections.

        In place, from the last step to the first. ``gradients`` is the work array "gradients" of shape (seq_len, batch,
        hidden_size).
        """
        hidden = states[1:]
        slopes = work.array("slopes", gradients.shape)
        if self.nonlinearity == "tanh":
            np.multiply(hidden, hidden, slopes)
            np.subtract(1.0, slopes, slopes)
        else:
            # A state is never negative here, so its sign is 1 where the unit is active and 0 elsewhere.
            np.sign(hidden, slopes)
        recurrent = work.array("recurrent", states.shape[1:])
        dot, add, multiply = np.dot, np.add, np.multiply
        later: FloatArray | None = None
        steps = work.steps("gradients", gradients.shape)
        for step, slope in zip(reversed(steps), reversed(work.steps("slopes", slopes.shape)), strict=True):
            if later is not None:
                dot(later, weight_hh, recurrent)
                add(step, recurrent, step)
            multiply(step, slope, step)
            later = step
