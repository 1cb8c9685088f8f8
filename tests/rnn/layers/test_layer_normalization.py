from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.layers.layer_normalization import LayerNormalization
from rnncallbacks.rnn.linalg.workspace import Workspace


@given(seq_len=st.integers(1, 4), batch=st.integers(1, 4), size=st.integers(2, 20), seed=st.integers(0, 99))
def test_each_step_has_the_mean_and_deviation_of_bias_and_gain(seq_len: int, batch: int, size: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(5.0, 3.0, (seq_len, batch, size))
    weight, bias = np.full(size, 2.0), np.full(size, -1.0)
    out = LayerNormalization(weight, bias, np.empty(size), np.empty(size)).forward(Workspace("float64"), values)
    np.testing.assert_allclose(out.mean(axis=2), -1.0, atol=1e-9)
    variance = values.var(axis=2)
    np.testing.assert_allclose(out.std(axis=2), 2.0 * np.sqrt(variance / (variance + 1e-5)), rtol=1e-9)


def test_backward_is_the_slope_of_forward() -> None:
    generator = np.random.default_rng(0)
    values, seen = generator.standard_normal((2, 3, 2, 5))
    weight, bias = generator.standard_normal((2, 5))
    weight_gradient, bias_gradient = np.empty(5), np.empty(5)
    norm, work = LayerNormalization(weight, bias, weight_gradient, bias_gradient), Workspace("float64")
    norm.forward(work, values)
    gradients = seen.copy()
    for segment in (Segment(1, 3, 3), Segment(0, 1, 3)):
        norm.backward(work, gradients[segment.steps], segment)
    for array, gradient in ((values, gradients), (weight, weight_gradient), (bias, bias_gradient)):
        slopes = np.empty_like(array)
        for index in np.ndindex(*array.shape):
            kept = array[index]
            array[index] = kept + 1e-6
            above = np.vdot(norm.forward(Workspace("float64"), values), seen)
            array[index] = kept - 1e-6
            below = np.vdot(norm.forward(Workspace("float64"), values), seen)
            array[index] = kept
            slopes[index] = (above - below) / 2e-6
        np.testing.assert_allclose(gradient, slopes, atol=1e-8)


def test_units_that_are_all_alike_are_no_division_by_zero() -> None:
    out = LayerNormalization(np.ones(3), np.zeros(3), np.empty(3), np.empty(3)).forward(
        Workspace("float64"), np.ones((1, 1, 3))
    )
    assert out.tolist() == [[[0.0, 0.0, 0.0]]]
