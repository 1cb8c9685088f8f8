"""Layer normalization of the outputs of a recurrent layer."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.linalg.products import add_column_sums
from rnncallbacks.rnn.linalg.workspace import Workspace

# Added to the variance, in the squared unit of the values, so that equal values are not divided by zero. PyTorch's
# default.
_EPSILON = 1e-5


class LayerNormalization:
    r"""Normalizes the outputs of each step, with a gain and a bias per unit.

    .. math:: y = w \frac{x - \bar{x}}{\sqrt{\mathrm{var}(x) + 10^{-5}}} + b

    with mean and variance over the units of one step of one sequence. Equal to ``torch.nn.LayerNorm``.

    Parameters
    ----------
    weight, bias:
        Gain and bias, (size,).
    weight_gradient, bias_gradient:
        The arrays that receive their gradients.

    Example
    -------
    >>> ones, zeros, gradients = np.ones(2), np.zeros(2), np.empty((2, 2))
    >>> layer = LayerNormalization(ones, zeros, *gradients)
    >>> layer.forward(Workspace("float64"), np.array([[[1.0, 3.0]]])).round(3)
    array([[[-1.,  1.]]])

    Source: Ba, Kiros and Hinton, "Layer normalization" (2016).
    """

    def __init__(
        self, weight: FloatArray, bias: FloatArray, weight_gradient: FloatArray, bias_gradient: FloatArray
    ) -> None:
        self.weight, self.bias = weight, bias
        self.weight_gradient, self.bias_gradient = weight_gradient, bias_gradient

    def forward(self, work: Workspace, values: FloatArray) -> FloatArray:
        """The normalized values (seq_len, batch, size), in a work array."""
        shape = values.shape
        standardized = work.array("standardized", shape)
        np.subtract(values, values.mean(axis=2, keepdims=True), standardized)
        deviation = work.array("deviation", (*shape[:2], 1))
        np.einsum("tbi,tbi->tb", standardized, standardized, out=deviation[:, :, 0])
        np.divide(deviation, shape[2], deviation)
        np.add(deviation, _EPSILON, deviation)
        np.sqrt(deviation, deviation)
        np.divide(standardized, deviation, standardized)
        normalized = work.array("normalized", shape)
        np.multiply(standardized, self.weight, normalized)
        return np.add(normalized, self.bias, normalized)

    def backward(self, work: Workspace, gradients: FloatArray, segment: Segment) -> None:
        """Turn the gradients with respect to a segment's outputs into those with respect to the values, in place."""
        _, batch_size, size = gradients.shape
        standardized = work.array("standardized", (segment.seq_len, batch_size, size))[segment.steps]
        deviation = work.array("deviation", (segment.seq_len, batch_size, 1))[segment.steps]
        product = work.array("product", gradients.shape)
        np.multiply(gradients, standardized, product)
        add_column_sums(work, product.reshape(-1, size), self.weight_gradient, segment.is_first)
        add_column_sums(work, gradients.reshape(-1, size), self.bias_gradient, segment.is_first)
        # With g = w dL/dy and s the standardized values: dL/dx = (g - mean(g) - s mean(g s)) / deviation
        np.multiply(gradients, self.weight, gradients)
        mean_product = np.einsum("tbi,tbi->tb", gradients, standardized)[:, :, None] / size
        np.multiply(standardized, mean_product, product)
        np.subtract(gradients, gradients.mean(axis=2, keepdims=True), gradients)
        np.subtract(gradients, product, gradients)
        np.divide(gradients, deviation, gradients)
