"""Matrix products in the block sizes that the linear algebra library multiplies fastest."""

from __future__ import annotations

import functools

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.linalg.activations import has_avx512
from rnncallbacks.rnn.linalg.threads import linear_algebra_threads
from rnncallbacks.rnn.linalg.workspace import Workspace

# Multiplications of one product, rows times matrix entries. OpenBLAS's kernels for small matrices, which exist for
# AVX-512, read their operands in place up to this size. Larger products copy both operands first.
_MAX_SMALL_KERNEL_MULTIPLICATIONS = 10**6

# Rows. Copying a matrix takes about as long as this many rows save when they are multiplied by the aligned copy.
# Chosen by eye.
_MIN_ROWS_FOR_COPY = 64

# Columns of a block, the best first: 64 are 5 to 20 % faster than 32. Other widths that are no multiples of 16, the
# numbers of a register, were slower.
_BLOCK_WIDTHS = (64, 48, 32)

# Rows. With fewer, the matrix is read so often that blocks save nothing. Chosen by eye.
_MIN_BLOCK_HEIGHT = 8


def rows_per_block(rows: int, matrix_size: int) -> int:
    """Number of rows to multiply at a time by a matrix with ``matrix_size`` entries: all of them, or 8 to 64.

    Depends on the shapes and the machine only, so a repeated computation rounds in the same way.
    """
    if rows * matrix_size > _MAX_SMALL_KERNEL_MULTIPLICATIONS and _has_small_kernels():
        for block in (64, 32, 16, 8):
            if rows % block == 0 and block * matrix_size <= _MAX_SMALL_KERNEL_MULTIPLICATIONS:
                return block
    return rows


def product_blocks(rows: int, inner: int, columns: int) -> tuple[int, int]:
    """Rows and columns of the blocks in which a product ``(rows, inner) @ (inner, columns)`` is fastest.

    A product that is too large for the kernels for small matrices copies its matrix each time, so in each step of a
    recurrence. Blocks of it do not. They are computed by one thread, so with several the product is not divided. The
    blocks depend on shapes, threads and machine only, so a repeated computation rounds in the same way.
    """
    too_large = rows > 1 and rows * inner * columns > _MAX_SMALL_KERNEL_MULTIPLICATIONS
    if too_large and _has_small_kernels() and linear_algebra_threads() == 1:
        return _small_blocks(rows, inner, columns)
    return rows, columns


@functools.cache
def _small_blocks(rows: int, inner: int, columns: int) -> tuple[int, int]:
    for width in (*_BLOCK_WIDTHS, columns):
        most = min(rows, _MAX_SMALL_KERNEL_MULTIPLICATIONS // (inner * width))
        height = next((height for height in range(most, 0, -1) if rows % height == 0), 0)
        if columns % width == 0 and (height == rows or height >= _MIN_BLOCK_HEIGHT):
            return height, width
    return rows, columns


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


def prepared_matrix(
    work: Workspace, matrix: FloatArray, rows: int, *, width: int | None = None, copy: bool = True
) -> FloatArray:
    """The recurrent matrix itself, or an aligned contiguous copy if at least 64 ``rows`` are multiplied by it.

    With a ``width``, its blocks of ``width`` columns, (blocks, inner, width). ``copy=False`` returns the copy that an
    earlier call made.
    """
    if width is not None:
        matrix = matrix.reshape(len(matrix), -1, width).swapaxes(0, 1)
    if rows < _MIN_ROWS_FOR_COPY:
        return matrix
    prepared = work.array("recurrent_matrix", matrix.shape)
    if copy:
        np.copyto(prepared, matrix)
    return prepared


@functools.cache
def _has_small_kernels() -> bool:
    return has_avx512() and "openblas" in np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
