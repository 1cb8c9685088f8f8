"""Input layers: from tokens or features to the projection that enters the recurrence, for all steps at once."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from rnncallbacks.arrays import Array, FloatArray
from rnncallbacks.errors import DataError, ShapeError
from rnncallbacks.rnn.checks import IntArray, check_values, is_integer
from rnncallbacks.rnn.products import add_product, multiply_rows
from rnncallbacks.rnn.workspace import Workspace

# As many multiplications cost a matrix product less than the calls of a sum that goes from token to token.
_SMALL_SUM = 3 * 2**20

# So many numbers that were put in order stay in the processor's cache until they are summed.
_IN_ORDER = 2**15

# But all rows of a token, up to so many.
_MOST_IN_ORDER = 256


class Input(Protocol):
    """What a recurrent layer reads."""

    def forward(self, work: Workspace, weight_ih: FloatArray, bias: FloatArray, inputs: Array, out: FloatArray) -> None:
        """Write the projections, the inputs times :math:`W_{ih}^T` plus the bias, to ``out`` (seq_len, batch, size)."""

    def backward(
        self,
        work: Workspace,
        weight_ih: FloatArray,
        written: FloatArray,
        inputs: Array,
        projected: FloatArray,
        is_first: bool,
    ) -> None:
        """Add the gradient of ``weight_ih`` to ``written``, or write it there, and add to those of own parameters.

        ``projected`` are the gradients with respect to the projections of the inputs, (steps * batch, size).
        ``is_first``: nothing is in ``written`` yet.
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
        self,
        work: Workspace,
        weight_ih: FloatArray,
        written: FloatArray,
        inputs: Array,
        projected: FloatArray,
        is_first: bool,
    ) -> None:
        """Add to the gradients of ``weight_ih`` and of the embedding."""
        if self.embedding is None or self.written is None:
            self._sum_by_token(work, inputs, projected, written.T, is_first)
            return
        sums = work.array("embedding_gradient", self.embedding.shape)
        if inputs.size > self.vocab_size:
            by_token = work.array("by_token", (self.vocab_size, projected.shape[1]))
            self._sum_by_token(work, inputs, projected, by_token, True)
            add_product(work, by_token.T, self.embedding, written, is_first)
            np.dot(by_token, weight_ih, sums)
        else:
            embedded = work.array("embedded", (inputs.size, self.embedding.shape[1]))
            self.embedding.take(inputs.reshape(-1), axis=0, out=embedded, mode="clip")
            add_product(work, projected.T, embedded, written, is_first)
            np.dot(projected, weight_ih, embedded)
            self._sum_by_token(work, inputs, embedded, sums, True)
        np.add(self.written, sums, self.written)

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
        multiply_rows(work, self._rows(work, inputs), weight_ih.T, flat)
        np.add(flat, bias, flat)

    def backward(
        self,
        work: Workspace,
        weight_ih: FloatArray,
        written: FloatArray,
        inputs: Array,
        projected: FloatArray,
        is_first: bool,
    ) -> None:
        """Add to the gradient of ``weight_ih``."""
        add_product(work, projected.T, self._rows(work, inputs), written, is_first)

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


def sum_by_token(work: Workspace, tokens: IntArray, values: FloatArray, out: FloatArray, is_first: bool) -> None:
    """Add to ``out`` (vocab_size, size) the sums of the rows of ``values`` (positions, size) that belong to one token.

    ``out`` may be the transposed view of an array. Either the product with a one-hot matrix, or a sum over the rows of
    each token after they were put in order, whichever is faster.
    """
    tokens = tokens.reshape(-1)
    positions, size = values.shape
    vocab_size = out.shape[0]
    if vocab_size * positions * size <= _SMALL_SUM:
        one_hot = work.array("one_hot", (positions, vocab_size), fill=0.0)
        places = np.arange(0, positions * vocab_size, vocab_size) + tokens
        flat = one_hot.reshape(-1)
        try:
            flat[places] = 1.0
            if out.flags.c_contiguous:
                add_product(work, one_hot.T, values, out, is_first)
            else:
                add_product(work, values.T, one_hot, out.T, is_first)
        finally:
            # Also after Ctrl-C: a one that is left behind would be in all gradients to come.
            flat[places] = 0.0
        return
    present, sums = _sums_of_present(work, tokens, values, vocab_size)
    if is_first:
        # The array as it lies in memory, which is faster to fill.
        (out if out.flags.c_contiguous else out.T).fill(0.0)
        out[present] = sums
    else:
        out[present] += sums


def _sums_of_present(
    work: Workspace, tokens: IntArray, values: FloatArray, vocab_size: int
) -> tuple[IntArray, FloatArray]:
    """The tokens that there are, and the sums of their rows.

    Tokens that are there equally often come one behind the other, for their sums are a single call.
    """
    size = values.shape[1]
    counts = np.bincount(tokens, minlength=vocab_size)
    by_count = np.argsort(counts, kind="stable")
    present = by_count[vocab_size - np.count_nonzero(counts) :]
    rank = np.empty(vocab_size, dtype=np.intp)
    rank[by_count] = np.arange(vocab_size)
    # NumPy sorts numbers of 16 bits by radix, several times faster than longer ones.
    ranks = rank[tokens]
    order = np.argsort(ranks.astype(np.uint16) if vocab_size <= 2**16 else ranks, kind="stable")
    # In the memory of the table, which the forward pass alone needs.
    sums = work.array("table", (len(present), size))
    # The rows are put in order some at a time, as a copy of all would take as much memory as the gates. A power of two,
    # so that work arrays of few lengths are made.
    room = max(_IN_ORDER // size, min(_MOST_IN_ORDER, 1 << int(counts.max() - 1).bit_length()))
    ordered, ones = work.scratch((room, size)), work.array("ones", (room,), fill=1.0)
    begin = token = 0
    alike = np.bincount(counts[present])
    for count in np.flatnonzero(alike).tolist():
        end = token + int(alike[count])
        while token < end:
            some = max(1, min(room // count, end - token))
            for first in range(0, some * count, room):
                rows = ordered[: min(room, some * count - first)]
                values.take(order[begin : begin + len(rows)], axis=0, out=rows, mode="clip")
                begin += len(rows)
                if some > 1:
                    np.add.reduce(rows.reshape(some, count, size), axis=1, out=sums[token : token + some])
                elif first == 0:
                    ones[: len(rows)].dot(rows, sums[token])
                else:
                    sums[token] += ones[: len(rows)].dot(rows)
            token += some
    return present, sums


def _check_steps(inputs: Array, name: str = "inputs") -> None:
    if not inputs.size:
        raise DataError(f"{name}: expected at least one sequence of one step, got shape {inputs.shape}")
