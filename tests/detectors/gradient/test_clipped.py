"""What clipping leaves in gradients is seen, and gradients that nobody clipped bear no mark."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.arrays.gradients import clip_by_array_norm, clip_by_global_norm, clip_by_value, global_norm
from rnncallbacks.detectors.gradient.clipped import find_clipping

seeds = st.integers(0, 2**16)


def gradients_of(seed, dtype="float64", scale=1.0):
    generator = np.random.default_rng(seed)
    return {name: (scale * generator.normal(size=shape)).astype(dtype) for name, shape in (("w", (8, 5)), ("b", (8,)))}


@given(seeds, st.sampled_from([0.25, 1.0, 5.0, 0.5]), st.sampled_from(["float32", "float64"]))
def test_a_global_norm_at_a_bound(seed, max_norm, dtype):
    gradients = gradients_of(seed, dtype, scale=10.0)
    clip_by_global_norm(list(gradients.values()), max_norm)
    assert find_clipping(gradients).norm == max_norm


def test_a_bound_as_pytorch_reaches_it():
    gradients = gradients_of(0, scale=10.0)
    norm = global_norm(list(gradients.values()))
    scaled = {name: array * (5.0 / (norm + 1e-6)) for name, array in gradients.items()}
    assert find_clipping(scaled).norm == 5.0


@given(seeds, st.sampled_from([1.0, 0.5, 0.1]))
def test_entries_at_a_bound_are_marked_and_no_others(seed, bound):
    gradients = gradients_of(seed)
    above = {name: np.abs(array) >= bound for name, array in gradients.items()}
    clip_by_value(list(gradients.values()), bound)
    bounds = find_clipping(gradients)
    assert bounds.value == bound
    for name, mask in bounds.entries.items():
        np.testing.assert_array_equal(mask, above[name])


def test_a_bound_of_many_digits_is_seen_where_entries_share_it():
    gradients = gradients_of(0)
    clip_by_value(list(gradients.values()), np.pi / 10)
    assert find_clipping(gradients).value == pytest.approx(np.pi / 10)


def test_arrays_clipped_one_by_one_are_named():
    gradients = gradients_of(0, scale=10.0)
    clip_by_array_norm(list(gradients.values()), 2.0)
    assert set(find_clipping(gradients).arrays) == {"w", "b"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_that_nobody_clipped_are_rarely_marked(dtype):
    marked = [find_clipping(gradients_of(seed, dtype)) for seed in range(2000)]
    assert sum(bounds.norm is not None for bounds in marked) <= 8
    assert not any(bounds.value for bounds in marked)


def test_gradients_of_zero_bear_no_mark():
    bounds = find_clipping({"w": np.zeros((3, 3)), "empty": np.zeros((0, 3))})
    assert (bounds.norm, bounds.value, bounds.entries, bounds.arrays) == (None, None, {}, ())
