"""Matrix products in the pieces that the linear algebra library multiplies fastest."""

from __future__ import annotations

import functools

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn.activations import wide_registers
from rnncallbacks.rnn.workspace import Workspace

# OpenBLAS has kernels that read their operands in place, for products of at most this many multiplications. Larger
# products copy both operands first, which pays only when they are much larger.
_SMALL_PRODUCT = 10**6

# A copy of a matrix costs about as much as is saved over so many rows that are multiplied by it.
_COPY_FROM = 64


def rows_per_block(rows: int, matrix_size: int) -> int:
    """How many of the rows to multiply at a time by a matrix with ``matrix_size`` entries; all of them, or 8 to 64.

    Depends on the shapes and the machine alone, so that a computation repeated on one machine rounds as before.
    """
    if rows * matrix_size > _SMALL_PRODUCT and _has_small_kernels():
        for block in (64, 32, 16, 8):
            if rows % block == 0 and block * matrix_size <= _SMALL_PRODUCT:
                return block
    return rows


def multiply_rows(work: Workspace, rows: FloatArray, matrix: FloatArray, out: FloatArray) -> None:
    """Write ``rows @ matrix`` to ``out``; all two-dimensional, rows and out contiguous.

    A product in blocks needs a copy of the matrix, which is made in the scratch memory of ``work``.

    Example
    -------
    >>> out = np.empty((1, 2))
    >>> multiply_rows(Workspace("float64"), np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]), out)
    >>> out
    array([[13., 16.]])
    """
    count, inner = rows.shape
    block = rows_per_block(count, matrix.size)
    if block == count:
        np.dot(rows, matrix, out)
    else:
        if count >= _COPY_FROM:
            copy = work.scratch(matrix.shape)
            np.copyto(copy, matrix)
            matrix = copy
        np.matmul(rows.reshape(-1, block, inner), matrix, out.reshape(-1, block, out.shape[1]))


def add_product(work: Workspace, left: FloatArray, right: FloatArray, out: FloatArray, is_first: bool) -> None:
    """Add ``left @ right`` to ``out``; write it there if it is the first of a sum.

    Example
    -------
    >>> out, work = np.empty(1), Workspace("float64")
    >>> for is_first in (True, False):
    ...     add_product(work, np.array([2.0, 1.0]), np.array([[3.0], [1.0]]), out, is_first)
    >>> out
    array([14.])
    """
    if is_first:
        np.dot(left, right, out)
        return
    product = work.scratch(out.shape)
    np.dot(left, right, product)
    np.add(out, product, out)


def near(work: Workspace, name: str, matrix: FloatArray, uses: int, anew: bool = True) -> FloatArray:
    """The matrix itself, or its copy in aligned and contiguous memory if at least 64 rows are multiplied by it.

    Without ``anew``, the copy is that of an earlier call.
    """
    if uses < _COPY_FROM:
        return matrix
    copy = work.array(name, matrix.shape)
    if anew:
        np.copyto(copy, matrix)
    return copy


@functools.cache
def _has_small_kernels() -> bool:
    return wide_registers() and "openblas" in np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
