from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.rnn.linalg.token_sums import sum_by_token
from rnncallbacks.rnn.linalg.workspace import Workspace


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


@pytest.mark.parametrize("transposed", [False, True])
def test_a_sum_that_was_broken_off_leaves_nothing_behind(transposed: bool) -> None:
    work, values = Workspace("float64"), np.array([[1.0, 2.0], [3.0, 4.0]])
    out, unfit = np.empty((2, 3)).T if transposed else np.empty((3, 2)), np.empty((3, 2), np.float32)
    with pytest.raises(ValueError, match="out"):
        sum_by_token(work, np.array([0, 1]), values, unfit, True)
    sum_by_token(work, np.array([2, 2]), values, out, True)
    np.testing.assert_array_equal(out, [[0.0, 0.0], [0.0, 0.0], [4.0, 6.0]])
