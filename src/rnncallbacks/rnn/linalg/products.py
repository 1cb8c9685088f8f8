"""Matrix products in the block sizes that the linear algebra library multiplies fastest."""

from __future__ import annotations

import functools

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.linalg.activations import has_avx512
from rnncallbacks.rnn.linalg.workspace import Workspace

# Multiplications of one product, rows times matrix entries. OpenBLAS's kernels for small matrices, which exist for
# AVX-512, read their operands in place up to this size. Larger products copy both operands first.
_MAX_SMALL_KERNEL_MULTIPLICATIONS = 10**6

# Rows. Copying a matrix takes about as long as this many rows save when they are multiplied by the aligned copy.
# Chosen by eye.
_MIN_ROWS_FOR_COPY = 64


def rows_per_block(rows: int, matrix_size: int) -> int:
    """Number of rows to multiply at a time by a matrix with ``matrix_size`` entries: all of them, or 8 to 64.

    Depends on the shapes and the machine only, so a repeated computation rounds in the same way.
    """
    if rows * matrix_size > _MAX_SMALL_KERNEL_MULTIPLICATIONS and _has_small_kernels():
        for block in (64, 32, 16, 8):
            if rows % block == 0 and block * matrix_size <= _MAX_SMALL_KERNEL_MULTIPLICATIONS:
                return block
    return rows


def multiply_rows(work: Workspace, rows: FloatArray, matrix: FloatArray, out: FloatArray) -> None:
    """Write ``rows @ matrix`` to ``out``. All are two-dimensional; ``rows`` and ``out`` are contiguous.

    Products in blocks copy the matrix to the scratch memory of ``work``.

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
        return
    if count >= _MIN_ROWS_FOR_COPY:
        copy = work.scratch(matrix.shape)
        np.copyto(copy, matrix)
        matrix = copy
    np.matmul(rows.reshape(-1, block, inner), matrix, out.reshape(-1, block, out.shape[1]))


def add_product(work: Workspace, left: FloatArray, right: FloatArray, out: FloatArray, is_first: bool) -> None:
    """Add ``left @ right`` to ``out``, or overwrite ``out`` with it if this is the first summand.

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


def add_column_sums(work: Workspace, rows: FloatArray, out: FloatArray, is_first: bool) -> None:
    """Add the sum over rows to ``out``. Computed as a product, which is faster than a sum over the first axis."""
    add_product(work, work.array("ones", (rows.shape[0],), fill=1.0), rows, out, is_first)


def prepared_matrix(work: Workspace, name: str, matrix: FloatArray, rows: int, *, copy: bool = True) -> FloatArray:
    """The matrix itself, or an aligned contiguous copy if at least 64 ``rows`` are multiplied by it.

    ``copy=False`` returns the copy that an earlier call with the same name made.
    """
    if rows < _MIN_ROWS_FOR_COPY:
        return matrix
    prepared = work.array(name, matrix.shape)
    if copy:
        np.copyto(prepared, matrix)
    return prepared


@functools.cache
def _has_small_kernels() -> bool:
    return has_avx512() and "openblas" in np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
