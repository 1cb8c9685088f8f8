from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.rnn.linalg import products
from rnncallbacks.rnn.linalg.workspace import Workspace


@given(rows=st.integers(1, 5000), matrix_size=st.integers(1, 10**6))
def test_blocks_divide_the_rows_and_keep_products_small(rows: int, matrix_size: int) -> None:
    block = products.rows_per_block(rows, matrix_size)
    assert rows % block == 0
    assert block == rows or (block in (8, 16, 32, 64) and block * matrix_size <= 10**6)


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("rows", [1, 64, 65, 512])
def test_the_product_is_the_same_in_blocks_and_at_once(
    kernels: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_has_small_kernels", lambda: kernels)
    assert products.rows_per_block(512, 300 * 50) == (64 if kernels else 512)
    generator = np.random.default_rng(0)
    left, right = generator.standard_normal((rows, 300)), generator.standard_normal((300, 50))
    out = np.empty((rows, 50))
    products.multiply_rows(Workspace("float64"), left, right, out)
    np.testing.assert_allclose(out, np.einsum("ij,jk->ik", left, right), atol=1e-11)


def test_a_matrix_is_copied_each_time_and_only_for_many_rows() -> None:
    work, matrix = Workspace("float64"), np.arange(6.0).reshape(2, 3).T
    assert products.prepared_matrix(work, "matrix", matrix, rows=2) is matrix
    for _ in range(2):
        copy = products.prepared_matrix(work, "matrix", matrix, rows=1000)
        assert copy.flags.c_contiguous
        np.testing.assert_array_equal(copy, matrix)
        matrix += 1.0
