from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.rnn.cells import cell as cell_module
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.linalg import products
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.model import RecurrentModel


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


@given(rows=st.integers(1, 300), inner=st.integers(1, 3000), columns=st.integers(1, 3000))
def test_blocks_divide_a_product_and_are_small_unless_it_is_whole(rows: int, inner: int, columns: int) -> None:
    height, width = products._small_blocks(rows, inner, columns)
    assert rows % height == columns % width == 0
    assert (height, width) == (rows, columns) or height * inner * width <= 10**6


@pytest.mark.parametrize(("kernels", "threads"), [(True, 1), (False, 1), (True, 2)])
def test_only_large_products_of_one_thread_are_in_blocks(
    kernels: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_has_small_kernels", lambda: kernels)
    monkeypatch.setattr(products, "linear_algebra_threads", lambda: threads)
    assert products.product_blocks(32, 64, 256) == (32, 256)
    assert products.product_blocks(1, 512, 2048) == (1, 2048)
    assert products.product_blocks(32, 512, 2048) == ((16, 64) if (kernels, threads) == (True, 1) else (32, 2048))


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
@pytest.mark.parametrize("seq_len", [2, 5])
def test_steps_in_blocks_have_the_same_gradients(cell: str, seq_len: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the matrix in place, and with a copy of it."""
    tokens = np.random.default_rng(0).integers(0, 3, (seq_len, 18))
    batch, found = SequenceBatch(tokens, tokens), []
    for blocks in [(9, 48), None]:
        monkeypatch.setattr(
            cell_module, "product_blocks", lambda rows, _, columns, blocks=blocks: blocks or (rows, columns)
        )
        model = RecurrentModel(96, vocab_size=3, cell=cell, dtype="float64")
        model.forward(batch, model.zero_state(batch.size))
        gradients = model.backward().flat.copy()
        found.append((gradients, model.hidden_gradients(batch, model.zero_state(batch.size))))
    for in_blocks, whole in zip(*found, strict=True):
        np.testing.assert_allclose(in_blocks, whole, rtol=0, atol=1e-14)


def test_a_matrix_is_copied_each_time_and_only_for_many_rows() -> None:
    work, matrix = Workspace("float64"), np.arange(6.0).reshape(2, 3).T
    assert products.prepared_matrix(work, matrix, rows=2) is matrix
    for _ in range(2):
        copy = products.prepared_matrix(work, matrix, rows=1000)
        assert copy.flags.c_contiguous
        np.testing.assert_array_equal(copy, matrix)
        matrix += 1.0
