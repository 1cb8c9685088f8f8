"""Input layers: from tokens or features to the projection that enters the recurrence, for all steps at once."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from rnncallbacks.arrays import Array, FloatArray
from rnncallbacks.errors import DataError, ShapeError
from rnncallbacks.rnn.checks import IntArray, check_values, is_integer
from rnncallbacks.rnn.products import multiply_rows
from rnncallbacks.rnn.workspace import Workspace

# One row of a segment sum costs a call, about as much as this many multiplications inside of a matrix product.
_CALL_COST = 2**16

# As many rows of gradients stay in the processor's caches until they are summed.
_ROWS_IN_ORDER = 256


class Input(Protocol):
    """What a recurrent layer reads."""

    def forward(self, work: Workspace, weight_ih: FloatArray, bias: FloatArray, inputs: Array, out: FloatArray) -> None:
        """Write the projections, the inputs times :math:`W_{ih}^T` plus the bias, to ``out`` (seq_len, batch, size)."""

    def backward(
        self, work: Workspace, weight_ih: FloatArray, written: FloatArray, inputs: Array, projected: FloatArray
    ) -> None:
        """Write the gradient of ``weight_ih`` to ``written``, and add to those of the input's own parameters.

        ``projected`` are the gradients with respect to the projections, (seq_len * batch, size).
        """


class TokenInput:
    r"""Tokens, by way of an embedding or directly.

    .. math:: p_t = E_{x_t} W_{ih}^T + b

    Without an embedding, the token numbers choose columns of :math:`W_{ih}`: what one-hot inputs would compute, and
    nothing is ever encoded. A batch with more positions than there are tokens is gathered from a table of the
    projections of all tokens.

    Parameters
    ----------
    vocab_size:
        Number of tokens.
    embedding, written:
        The embedding :math:`E` and its gradient, (vocab_size, embedding_size); None: no embedding.
    """

    def __init__(self, vocab_size: int, embedding: FloatArray | None = None, written: FloatArray | None = None) -> None:
        self.vocab_size = vocab_size
        self.embedding = embedding
        self.written = written

    def check(self, inputs: Array) -> IntArray:
        """The tokens as indices of shape (seq_len, batch); DataError or ShapeError if they are none."""
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
            # The tokens were checked; mode="raise" would gather into a copy first.
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
        self, work: Workspace, weight_ih: FloatArray, written: FloatArray, inputs: Array, projected: FloatArray
    ) -> None:
        """Write the gradient of ``weight_ih``, and add to that of the embedding."""
        if self.embedding is None or self.written is None:
            self._sum_by_token(work, inputs, projected, written.T)
            return
        sums = work.array("embedding_gradient", self.embedding.shape)
        if inputs.size > self.vocab_size:
            by_token = work.array("by_token", (self.vocab_size, projected.shape[1]))
            self._sum_by_token(work, inputs, projected, by_token)
            np.dot(by_token.T, self.embedding, written)
            np.dot(by_token, weight_ih, sums)
        else:
            embedded = work.array("embedded", (inputs.size, self.embedding.shape[1]))
            np.dot(projected.T, embedded, written)
            np.dot(projected, weight_ih, embedded)
            self._sum_by_token(work, inputs, embedded, sums)
        np.add(self.written, sums, self.written)

    def _sum_by_token(self, work: Workspace, tokens: IntArray, values: FloatArray, out: FloatArray) -> None:
        sum_by_token(work, tokens, values, out)


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
        """The features, if finite and of shape (seq_len, batch, input_size); DataError or ShapeError if not."""
        if not np.issubdtype(inputs.dtype, np.floating):
            raise DataError(
                f"inputs: expected floats (seq_len, batch, {self.input_size}), got {inputs.dtype} {inputs.shape}",
                hint="a model of tokens is made with vocab_size instead of input_size" if is_integer(inputs) else "",
            )
        if inputs.ndim != 3 or inputs.shape[2] != self.input_size:
            raise ShapeError(f"inputs: expected shape (seq_len, batch, {self.input_size}), got {inputs.shape}")
        _check_steps(inputs)
        check_values("inputs", inputs)
        return inputs

    def forward(self, work: Workspace, weight_ih: FloatArray, bias: FloatArray, inputs: Array, out: FloatArray) -> None:
        """Write the projections of inputs (seq_len, batch, input_size) to ``out`` (seq_len, batch, size)."""
        flat = out.reshape(-1, out.shape[2])
        multiply_rows(work, "weight_ih.T", self._rows(work, inputs), weight_ih.T, flat)
        np.add(flat, bias, flat)

    def backward(
        self, work: Workspace, weight_ih: FloatArray, written: FloatArray, inputs: Array, projected: FloatArray
    ) -> None:
        """Write the gradient of ``weight_ih``."""
        np.dot(projected.T, self._rows(work, inputs), written)

    def _rows(self, work: Workspace, inputs: Array) -> FloatArray:
        """The features of the model's dtype, (positions, input_size), without a copy where they are that already."""
        if inputs.dtype == work.dtype and inputs.flags.c_contiguous:
            return inputs.reshape(-1, self.input_size)
        features = work.array("features", inputs.shape)
        np.copyto(features, inputs, casting="same_kind")
        return features.reshape(-1, self.input_size)


def as_indices(name: str, tokens: Array, vocab_size: int, option: str = "vocab_size") -> IntArray:
    """The tokens as array indices, at no more cost than one pass over them. ``option`` is what sets their number.

    Raises
    ------
    DataError
        They are no integers, there are none, or one is outside of 0 to vocab_size - 1.
    """
    if not is_integer(tokens):
        raise DataError(
            f"{name}: expected token numbers, which are integers, got {tokens.dtype} {tokens.shape}",
            hint='floats are for a model made with input_size, or with loss="mse"',
        )
    _check_steps(tokens, name)
    indices = np.ascontiguousarray(tokens, dtype=np.intp)
    # As unsigned numbers the negative ones are the largest of all.
    if indices.view(np.uintp).max() >= vocab_size:
        wrong = (indices < 0) | (indices >= vocab_size)
        position = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise DataError(
            f"{name}: token {indices[position]} at {position} is out of range: {option} is {vocab_size}, so tokens "
            f"are 0 to {vocab_size - 1} ({int(wrong.sum())} of {wrong.size} positions are wrong)",
            hint="positions that the mask leaves out need a valid token too, such as 0",
        )
    return indices


def sum_by_token(work: Workspace, tokens: IntArray, values: FloatArray, out: FloatArray) -> None:
    """Sum the rows of ``values`` (positions, size) that belong to the same token, into ``out`` (vocab_size, size).

    ``out`` may be the transposed view of an array. Either the product with a one-hot matrix, or a sum over the rows of
    each token after they were sorted by token, whichever is faster.
    """
    tokens = tokens.reshape(-1)
    positions, size = values.shape
    vocab_size = out.shape[0]
    if vocab_size * positions * size <= _CALL_COST * min(vocab_size, positions):
        one_hot = work.array("one_hot", (positions, vocab_size), fill=0.0)
        places = np.arange(0, positions * vocab_size, vocab_size) + tokens
        flat = one_hot.reshape(-1)
        try:
            flat[places] = 1.0
            if out.flags.c_contiguous:
                np.dot(one_hot.T, values, out)
            else:
                np.dot(values.T, one_hot, out.T)
        finally:
            # Also after Ctrl-C: a one that is left behind would be in all gradients to come.
            flat[places] = 0.0
        return
    # The array as it lies in memory, which is faster to fill.
    (out if out.flags.c_contiguous else out.T).fill(0.0)
    # NumPy sorts numbers of 16 bits by radix, several times faster than longer ones.
    order = np.argsort(tokens.astype(np.uint16) if vocab_size <= 2**16 else tokens, kind="stable")
    counts = np.bincount(tokens)
    present = np.flatnonzero(counts)
    sums = work.array("sums", (len(present), size))
    # The rows are put in order some at a time, with all rows of a token in one piece: a copy of all would take as much
    # memory as the gates. A power of two, so that work arrays of few lengths are made.
    room = max(_ROWS_IN_ORDER, 1 << int(counts.max() - 1).bit_length())
    ordered, ones = work.array("ordered", (room, size)), work.array("ones", (room,), fill=1.0)
    begin = first = filled = 0
    for row, end in zip(sums, np.cumsum(counts[present]).tolist(), strict=True):
        if end > filled:
            first, filled = begin, min(begin + room, positions)
            values.take(order[first:filled], axis=0, out=ordered[: filled - first], mode="clip")
        np.dot(ones[: end - begin], ordered[begin - first : end - first], row)
        begin = end
    out[present] = sums


def _check_steps(inputs: Array, name: str = "inputs") -> None:
    if not inputs.size:
        raise DataError(f"{name}: expected at least one sequence of one step, got shape {inputs.shape}")
