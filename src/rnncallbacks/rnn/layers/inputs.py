"""Input layers: the projections of tokens or features that enter the recurrence, for all steps at once."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from rnncallbacks.arrays.containers import Array, FloatArray
from rnncallbacks.errors import DataError, ShapeError
from rnncallbacks.rnn.linalg.products import add_product, multiply_rows
from rnncallbacks.rnn.linalg.token_sums import sum_by_token
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.validation import IntArray, as_indices, check_steps, check_values, is_integer


class Input(Protocol):
    """The interface of the input layer of a recurrent layer."""

    def forward(self, work: Workspace, weight_ih: FloatArray, bias: FloatArray, inputs: Array, out: FloatArray) -> None:
        """Write the projections, the inputs times :math:`W_{ih}^T` plus the bias, to ``out`` (seq_len, batch, size)."""

    def backward(
        self,
        work: Workspace,
        weight_ih: FloatArray,
        weight_gradient: FloatArray,
        inputs: Array,
        projected: FloatArray,
        is_first: bool,
    ) -> None:
        """Add the gradient of ``weight_ih`` to ``weight_gradient``, and add to the gradients of its own parameters.

        ``projected`` holds the gradients with respect to the projections, (steps * batch, size). If ``is_first``,
        ``weight_gradient`` is overwritten.
        """


class TokenInput:
    r"""Tokens, with or without an embedding.

    .. math:: p_t = E_{x_t} W_{ih}^T + b

    Without an embedding, a token selects a column of :math:`W_{ih}`, which equals the product with a one-hot vector. A
    batch with more positions than the vocabulary has tokens is gathered from a table of the projections of all tokens.

    Parameters
    ----------
    vocab_size:
        Number of tokens.
    embedding, embedding_gradient:
        The embedding :math:`E` and its gradient, (vocab_size, embedding_size); None: no embedding.
    """

    def __init__(
        self, vocab_size: int, embedding: FloatArray | None = None, embedding_gradient: FloatArray | None = None
    ) -> None:
        self.vocab_size = vocab_size
        self.embedding = embedding
        self.embedding_gradient = embedding_gradient

    def check(self, inputs: Array) -> IntArray:
        """The tokens as indices of shape (seq_len, batch).

        Raises
        ------
        DataError
            The inputs are not integers, or a token is not in the vocabulary.
        ShapeError
            The inputs do not have two axes.
        """
        if inputs.ndim != 2:
            raise ShapeError(f"inputs: expected tokens of shape (seq_len, batch), got {inputs.dtype} {inputs.shape}")
        return as_indices("inputs", inputs, self.vocab_size)

    def forward(self, work: Workspace, weight_ih: FloatArray, bias: FloatArray, inputs: Array, out: FloatArray) -> None:
        """Write the projections of tokens (seq_len, batch) to ``out`` (seq_len, batch, size)."""
        size = out.shape[2]
        if inputs.size > self.vocab_size:
            table = work.array("table", (self.vocab_size, size))
            if self.embedding is None:
                np.add(weight_ih.T, bias, table)
            else:
                np.dot(self.embedding, weight_ih.T, table)
                np.add(table, bias, table)
            # The tokens have been checked. With mode="raise", NumPy would gather into a temporary array.
            table.take(inputs, axis=0, out=out, mode="clip")
            return
        if self.embedding is None:
            np.add(weight_ih.T[inputs], bias, out)
            return
        embedded = work.array("embedded", (inputs.size, self.embedding.shape[1]))
        self.embedding.take(inputs.reshape(-1), axis=0, out=embedded, mode="clip")
        flat = out.reshape(-1, size)
        np.dot(embedded, weight_ih.T, flat)
        np.add(flat, bias, flat)

    def backward(
        self,
        work: Workspace,
        weight_ih: FloatArray,
        weight_gradient: FloatArray,
        inputs: Array,
        projected: FloatArray,
        is_first: bool,
    ) -> None:
        """Add to the gradients of ``weight_ih`` and of the embedding."""
        if self.embedding is None or self.embedding_gradient is None:
            self._sum_by_token(work, inputs, projected, weight_gradient.T, is_first)
            return
        sums = work.array("embedding_gradient", self.embedding.shape)
        if inputs.size > self.vocab_size:
            by_token = work.array("by_token", (self.vocab_size, projected.shape[1]))
            self._sum_by_token(work, inputs, projected, by_token, True)
            add_product(work, by_token.T, self.embedding, weight_gradient, is_first)
            np.dot(by_token, weight_ih, sums)
        else:
            embedded = work.array("embedded", (inputs.size, self.embedding.shape[1]))
            self.embedding.take(inputs.reshape(-1), axis=0, out=embedded, mode="clip")
            add_product(work, projected.T, embedded, weight_gradient, is_first)
            np.dot(projected, weight_ih, embedded)
            self._sum_by_token(work, inputs, embedded, sums, True)
        np.add(self.embedding_gradient, sums, self.embedding_gradient)

    def _sum_by_token(
        self, work: Workspace, tokens: IntArray, values: FloatArray, out: FloatArray, is_first: bool
    ) -> None:
        sum_by_token(work, tokens, values, out, is_first)


class DenseInput:
    r"""Vectors of features.

    .. math:: p_t = x_t W_{ih}^T + b

    Parameters
    ----------
    input_size:
        Number of features.
    """

    def __init__(self, input_size: int) -> None:
        self.input_size = input_size

    def check(self, inputs: Array) -> FloatArray:
        """The features, unchanged.

        Raises
        ------
        DataError
            The inputs are not floats, are empty, or have a value that is not finite.
        ShapeError
            They do not have the shape (seq_len, batch, input_size).
        """
        if not np.issubdtype(inputs.dtype, np.floating):
            raise DataError(
                f"inputs: expected floats (seq_len, batch, {self.input_size}), got {inputs.dtype} {inputs.shape}",
                hint="for tokens, make the model with vocab_size instead of input_size" if is_integer(inputs) else "",
            )
        if inputs.ndim != 3 or inputs.shape[2] != self.input_size:
            raise ShapeError(f"inputs: expected shape (seq_len, batch, {self.input_size}), got {inputs.shape}")
        check_steps("inputs", inputs)
        check_values("inputs", inputs)
        return inputs

    def forward(self, work: Workspace, weight_ih: FloatArray, bias: FloatArray, inputs: Array, out: FloatArray) -> None:
        """Write the projections of inputs (seq_len, batch, input_size) to ``out`` (seq_len, batch, size)."""
        flat = out.reshape(-1, out.shape[2])
        multiply_rows(work, self._rows(work, inputs), weight_ih.T, flat)
        np.add(flat, bias, flat)

    def backward(
        self,
        work: Workspace,
        weight_ih: FloatArray,
        weight_gradient: FloatArray,
        inputs: Array,
        projected: FloatArray,
        is_first: bool,
    ) -> None:
        """Add to the gradient of ``weight_ih``."""
        add_product(work, projected.T, self._rows(work, inputs), weight_gradient, is_first)

    def _rows(self, work: Workspace, inputs: Array) -> FloatArray:
        """The features in the model's dtype, (positions, input_size); a copy only where one is needed."""
        if inputs.dtype == work.dtype and inputs.flags.c_contiguous:
            return inputs.reshape(-1, self.input_size)
        features = work.array("features", inputs.shape)
        np.copyto(features, inputs, casting="same_kind")
        return features.reshape(-1, self.input_size)
