from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.rnn import activations
from rnncallbacks.rnn.activations import tanh_by_exponential, tanh_for


@given(values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
def test_the_exponential_gives_tanh_to_a_rounding_of_one(values: list[float]) -> None:
    for dtype in (np.float32, np.float64):
        array = np.array(values, dtype=dtype)
        wanted = np.tanh(array.astype(np.float64))
        with np.errstate(all="ignore"):
            tanh_by_exponential(array, array)
        np.testing.assert_allclose(array, wanted, rtol=0, atol=np.finfo(dtype).eps)


def test_nan_is_kept() -> None:
    array = np.array([np.nan, 1.0])
    tanh_by_exponential(array, array)
    assert np.isnan(array).tolist() == [True, False]


@pytest.mark.parametrize(
    ("size", "dtype", "wide", "quick"),
    [
        (100, "float32", False, False),
        (5000, "float32", False, True),
        (5000, "float64", False, False),
        (5000, "float32", True, False),
    ],
)
def test_the_way_depends_on_size_dtype_and_machine(
    size: int, dtype: str, wide: bool, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activations, "wide_registers", lambda: wide)
    assert tanh_for(size, np.dtype(dtype)) is (tanh_by_exponential if quick else np.tanh)
