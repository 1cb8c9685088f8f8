"""Dropout between layers."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.linalg.workspace import Workspace


class Dropout:
    r"""Sets each number to zero with probability p, and divides the others by 1 - p.

    .. math:: y = \frac{m x}{1 - p}, \qquad m \sim \mathrm{Bernoulli}(1 - p)

    The mask of a forward pass depends only on the seed and on the number of the pass, so a pass can be repeated.

    Parameters
    ----------
    probability:
        p, at least 0 and less than 1.
    seed:
        Integers that distinguish this dropout from others.

    Example
    -------
    >>> dropout, work = Dropout(0.5, (0,)), Workspace("float64")
    >>> dropout.forward(work, np.ones((2, 1, 4)), 3).tolist()
    [[[2.0, 2.0, 0.0, 0.0]], [[0.0, 2.0, 0.0, 2.0]]]

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014); only between
    layers, as in Zaremba, Sutskever and Vinyals, "Recurrent neural network regularization" (2014).
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

    def backward(self, work: Workspace, gradients: FloatArray, segment: Segment) -> None:
        """Turn the gradients with respect to a segment's outputs into those with respect to the values, in place."""
        factors = work.array("dropout", (segment.seq_len, *gradients.shape[1:]))
        np.multiply(gradients, factors[segment.steps], gradients)
