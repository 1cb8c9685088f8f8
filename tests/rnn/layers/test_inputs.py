from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.rnn.layers.inputs import DenseInput, TokenInput
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


def test_dense_inputs_of_another_precision_are_converted() -> None:
    layer = DenseInput(3)
    weight_ih, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(2, dtype=np.float32)
    out = np.empty((4, 1, 2), np.float32)
    inputs = layer.check(np.random.default_rng(0).standard_normal((4, 3, 1)).transpose(0, 2, 1))
    layer.forward(Workspace("float32"), weight_ih, bias, inputs, out)
    np.testing.assert_allclose(out, inputs @ weight_ih.T + bias, rtol=1e-5)
