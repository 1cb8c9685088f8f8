"""Layer normalisation of what a recurrent layer hands on."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn.cells import Piece, add_rows
from rnncallbacks.rnn.workspace import Workspace

# As in PyTorch: keeps the scale of units that are all alike from dividing by zero.
_EPS = 1e-5


class LayerNorm:
    r"""Each step's outputs, less their mean and divided by their standard deviation, with a gain and a bias per unit.

    .. math:: y = w \frac{x - \bar{x}}{\sqrt{\mathrm{var}(x) + 10^{-5}}} + b

    with mean and variance over the units of one step of one sequence. Equal to ``torch.nn.LayerNorm``.

    Source: Ba, Kiros and Hinton, "Layer normalization" (2016).

    Parameters
    ----------
    weight, bias:
        The gain and the bias, (size,).
    written_weight, written_bias:
        Their gradients.

    Example
    -------
    >>> ones, zeros, written = np.ones(2), np.zeros(2), np.empty((2, 2))
    >>> LayerNorm(ones, zeros, *written).forward(Workspace("float64"), np.array([[[1.0, 3.0]]])).round(3)
    array([[[-1.,  1.]]])
    """

    def __init__(
        self, weight: FloatArray, bias: FloatArray, written_weight: FloatArray, written_bias: FloatArray
    ) -> None:
        self.weight, self.bias = weight, bias
        self.written_weight, self.written_bias = written_weight, written_bias

    def forward(self, work: Workspace, values: FloatArray) -> FloatArray:
        """The normalised values (seq_len, batch, size), in a work array."""
        shape = values.shape
        centred = work.array("centred", shape)
        np.subtract(values, values.mean(axis=2, keepdims=True), centred)
        scale = work.array("scale", (*shape[:2], 1))
        np.einsum("tbi,tbi->tb", centred, centred, out=scale[:, :, 0])
        np.divide(scale, shape[2], scale)
        np.add(scale, _EPS, scale)
        np.sqrt(scale, scale)
        np.divide(centred, scale, centred)
        normed = work.array("normed", shape)
        np.multiply(centred, self.weight, normed)
        return np.add(normed, self.bias, normed)

    def backward(self, work: Workspace, gradients: FloatArray, piece: Piece) -> None:
        """Turn gradients with respect to the outputs of a piece into those with respect to the values, in place."""
        _, batch_size, size = gradients.shape
        centred = work.array("centred", (piece.seq_len, batch_size, size))[piece.steps]
        scale = work.array("scale", (piece.seq_len, batch_size, 1))[piece.steps]
        product = work.array("norm_product", gradients.shape)
        np.multiply(gradients, centred, product)
        add_rows(work, product.reshape(-1, size), self.written_weight, piece.is_first)
        add_rows(work, gradients.reshape(-1, size), self.written_bias, piece.is_first)
        np.multiply(gradients, self.weight, gradients)
        along = np.einsum("tbi,tbi->tb", gradients, centred)[:, :, None] / size
        np.multiply(centred, along, product)
        np.subtract(gradients, gradients.mean(axis=2, keepdims=True), gradients)
        np.subtract(gradients, product, gradients)
        np.divide(gradients, scale, gradients)
