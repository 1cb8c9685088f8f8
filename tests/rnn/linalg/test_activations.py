from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rnncallbacks.rnn.linalg import activations
from rnncallbacks.rnn.linalg.activations import select_tanh, tanh_by_exponential

# Errors of 1.5 to 1.63 ulp of 1 in float32: the first three with AVX2 and AVX-512, the others also without.
LARGEST_ERRORS = [-0.5168309211730957, -0.5156720280647278, -1.90625, -3.929605484008789, -4.331360816955566]


@given(values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
@example(values=LARGEST_ERRORS)
@example(values=[-value for value in LARGEST_ERRORS])
def test_the_exponential_gives_tanh_within_two_ulp_of_one(values: list[float]) -> None:
    for dtype in (np.float32, np.float64):
        array = np.array(values, dtype=dtype)
        wanted = np.tanh(array.astype(np.float64))
        with np.errstate(all="ignore"):
            tanh_by_exponential(array, array)
        np.testing.assert_allclose(array, wanted, rtol=0, atol=2 * np.finfo(dtype).eps)


def test_a_dense_grid_is_within_two_ulp_of_one() -> None:
    values = np.linspace(-9, 9, 2_000_001, dtype=np.float32)
    wanted = np.tanh(values.astype(np.float64))
    tanh_by_exponential(values, values)
    assert np.abs(values - wanted).max() <= 2 * np.finfo(np.float32).eps


def test_nan_is_kept() -> None:
    array = np.array([np.nan, 1.0])
    tanh_by_exponential(array, array)
    assert np.isnan(array).tolist() == [True, False]


@pytest.mark.parametrize(
    ("size", "dtype", "avx512", "by_exponential"),
    [
        (100, "float32", False, False),
        (5000, "float32", False, True),
        (5000, "float64", False, False),
        (5000, "float32", True, False),
    ],
)
def test_the_way_depends_on_size_dtype_and_machine(
    size: int, dtype: str, avx512: bool, by_exponential: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activations, "has_avx512", lambda: avx512)
    assert select_tanh(size, np.dtype(dtype)) is (tanh_by_exponential if by_exponential else np.tanh)
