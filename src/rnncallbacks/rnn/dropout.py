"""Dropout between layers."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn.cells import Piece
from rnncallbacks.rnn.workspace import Workspace


class Dropout:
    """Zeroes each number with a probability, and divides the others by what is left of 1.

    The numbers that are zeroed in a pass depend on the seed and on the number of the pass alone, so that a pass can be
    repeated.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014); between
    layers only, as in Zaremba, Sutskever and Vinyals, "Recurrent neural network regularization" (2014).

    Parameters
    ----------
    probability:
        Of being zeroed, 0 or more and less than 1.
    seed:
        Numbers that tell this dropout from others.

    Example
    -------
    >>> dropout, work = Dropout(0.5, (0,)), Workspace("float64")
    >>> dropout.forward(work, np.ones((2, 1, 4)), 3).tolist()
    [[[2.0, 2.0, 0.0, 0.0]], [[0.0, 2.0, 0.0, 2.0]]]
    """

    def __init__(self, probability: float, seed: tuple[int, ...]) -> None:
        self.probability = probability
        self.seed = seed

    def forward(self, work: Workspace, values: FloatArray, number: int) -> FloatArray:
        """The values of pass ``number``, in a work array."""
        factors = work.array("dropout", values.shape)
        np.random.default_rng([*self.seed, number]).random(dtype=factors.dtype.type, out=factors)
        np.greater_equal(factors, self.probability, out=factors, casting="unsafe")
        np.divide(factors, 1.0 - self.probability, factors)
        return np.multiply(values, factors, work.array("kept", values.shape))

    def backward(self, work: Workspace, gradients: FloatArray, piece: Piece) -> None:
        """Turn gradients with respect to the outputs of a piece into those with respect to the values, in place."""
        factors = work.array("dropout", (piece.seq_len, *gradients.shape[1:]))
        np.multiply(gradients, factors[piece.steps], gradients)
