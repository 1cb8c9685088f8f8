from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import DataError
from rnncallbacks.rnn.layers.inputs import DenseInput, TokenInput, as_indices
from rnncallbacks.rnn.linalg.token_sums import sum_by_token
from rnncallbacks.rnn.linalg.workspace import Workspace


def token_input(kernels: str, *arguments: Any) -> tuple[TokenInput, Any, float]:
    """The layer, the dtype that it is for, and how near to the truth it is to come."""
    if kernels == "numpy":
        return TokenInput(*arguments), np.float64, 1e-12
    return (
        importlib.import_module("rnncallbacks.rnn.kernels.compiled_layers").CompiledTokenInput(*arguments),
        np.float32,
        1e-4,
    )


@given(
    positions=st.integers(1, 400),
    vocab_size=st.sampled_from([1, 3, 40, 500, 70_000]),
    size=st.sampled_from([1, 5, 300]),
    transposed=st.booleans(),
    seed=st.integers(0, 100),
)
def test_sums_by_token_are_those_of_a_loop(
    positions: int, vocab_size: int, size: int, transposed: bool, seed: int
) -> None:
    size = min(size, 200_000 // vocab_size)
    generator = np.random.default_rng(seed)
    tokens = generator.integers(0, vocab_size, positions)
    values = generator.standard_normal((positions, size))
    out = np.full((size, vocab_size), np.nan).T if transposed else np.full((vocab_size, size), np.nan)
    work = Workspace("float64")
    wanted = np.zeros((vocab_size, size))
    np.add.at(wanted, tokens, values)
    for times in (1, 2):
        sum_by_token(work, tokens, values, out, is_first=times == 1)
        np.testing.assert_allclose(out, times * wanted, atol=1e-12)
    sum_by_token(work, tokens, values, out, is_first=True)
    np.testing.assert_allclose(out, wanted, atol=1e-12)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_token_that_is_everywhere_is_summed_some_rows_at_a_time(share: float) -> None:
    generator = np.random.default_rng(0)
    tokens = np.where(generator.random(5000) < share, 7, generator.integers(0, 300, 5000))
    values = generator.standard_normal((5000, 40))
    out, work = np.empty((300, 40)), Workspace("float64")
    sum_by_token(work, tokens, values, out, True)
    wanted = np.zeros((300, 40))
    np.add.at(wanted, tokens, values)
    np.testing.assert_allclose(out, wanted, atol=1e-10)
    # Of 5,000 rows, no more than about a thousand lie in work arrays.
    assert sum(memory.nbytes for memory in work._memory.values()) < 1200 * 40 * 8


@given(
    seq_len=st.integers(1, 40), vocab_size=st.sampled_from([1, 3, 40, 500]), size=st.sampled_from([1, 5, 300]),
    seed=st.integers(0, 100),
)  # fmt: skip
def test_gradients_of_columns_are_sums_over_the_positions_of_their_tokens(
    seq_len: int, vocab_size: int, size: int, seed: int, kernels: str
) -> None:
    generator = np.random.default_rng(seed)
    layer, dtype, atol = token_input(kernels, vocab_size)
    tokens = generator.integers(0, vocab_size, (seq_len, 3))
    projected = generator.standard_normal((seq_len * 3, size)).astype(dtype)
    weight_gradient = np.full((size, vocab_size), np.nan, dtype)
    wanted = np.zeros((vocab_size, size))
    np.add.at(wanted, tokens.reshape(-1), projected)
    work = Workspace(dtype)
    for times in (1, 2):
        layer.backward(work, weight_gradient, weight_gradient, tokens, projected, times == 1)
        np.testing.assert_allclose(weight_gradient, times * wanted.T, atol=times * atol)


@pytest.mark.parametrize("positions", [4, 30])
@pytest.mark.parametrize("embedding_size", [None, 3])
def test_token_projections_are_those_of_one_hot_vectors(positions: int, embedding_size: int | None) -> None:
    """Few positions are gathered one by one, many from a table of all tokens."""
    generator = np.random.default_rng(0)
    embedding = None if embedding_size is None else generator.standard_normal((10, embedding_size))
    weight_ih, bias = generator.standard_normal((5, embedding_size or 10)), generator.standard_normal(5)
    tokens = generator.integers(0, 10, (positions, 2))
    out = np.empty((positions, 2, 5))
    TokenInput(10, embedding, embedding).forward(Workspace("float64"), weight_ih, bias, tokens, out)
    vectors = np.eye(10)[tokens] @ (np.eye(10) if embedding is None else embedding)
    np.testing.assert_allclose(out, vectors @ weight_ih.T + bias, atol=1e-12)


@pytest.mark.parametrize("positions", [4, 30])
def test_gradients_are_added_to_those_of_the_embedding(positions: int, kernels: str) -> None:
    generator = np.random.default_rng(0)
    _, dtype, atol = token_input(kernels, 10)
    embedding, added = generator.standard_normal((10, 3)).astype(dtype), np.ones((10, 3), dtype)
    weight_ih, weight_gradient = generator.standard_normal((5, 3)).astype(dtype), np.empty((5, 3), dtype)
    tokens = generator.integers(0, 10, (positions, 2))
    projected = generator.standard_normal((positions * 2, 5)).astype(dtype)
    work = Workspace(dtype)
    layer, _, _ = token_input(kernels, 10, embedding, added)
    layer.forward(work, weight_ih, np.zeros(5, dtype), tokens, np.empty((positions, 2, 5), dtype))
    layer.backward(work, weight_ih, weight_gradient, tokens, projected, True)
    one_hot = np.eye(10)[tokens.reshape(-1)]
    np.testing.assert_allclose(added, 1.0 + one_hot.T @ projected @ weight_ih, atol=atol)
    np.testing.assert_allclose(weight_gradient, projected.T @ one_hot @ embedding, atol=atol)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_sum_that_was_broken_off_leaves_nothing_behind(transposed: bool) -> None:
    work, values = Workspace("float64"), np.array([[1.0, 2.0], [3.0, 4.0]])
    out, unfit = np.empty((2, 3)).T if transposed else np.empty((3, 2)), np.empty((3, 2), np.float32)
    with pytest.raises(ValueError, match="out"):
        sum_by_token(work, np.array([0, 1]), values, unfit, True)
    sum_by_token(work, np.array([2, 2]), values, out, True)
    np.testing.assert_array_equal(out, [[0.0, 0.0], [0.0, 0.0], [4.0, 6.0]])


def test_dense_inputs_of_another_precision_are_converted() -> None:
    layer = DenseInput(3)
    weight_ih, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(2, dtype=np.float32)
    out = np.empty((4, 1, 2), np.float32)
    inputs = layer.check(np.random.default_rng(0).standard_normal((4, 3, 1)).transpose(0, 2, 1))
    layer.forward(Workspace("float32"), weight_ih, bias, inputs, out)
    np.testing.assert_allclose(out, inputs @ weight_ih.T + bias, rtol=1e-5)


@given(tokens=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5), vocab_size=st.integers(1, 2**40))
def test_exactly_the_tokens_of_the_vocabulary_pass(tokens: list[int], vocab_size: int) -> None:
    array = np.array(tokens)
    if all(0 <= token < vocab_size for token in tokens):
        assert as_indices("inputs", array, vocab_size).tolist() == tokens
    else:
        first = next(index for index, token in enumerate(tokens) if not 0 <= token < vocab_size)
        with pytest.raises(DataError) as caught:
            as_indices("inputs", array, vocab_size)
        assert f"token {tokens[first]} at ({first},) is out of range: vocab_size is {vocab_size}" in str(caught.value)
