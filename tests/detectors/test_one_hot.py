"""One-hot vectors become token numbers, on whatever axis they lie; other arrays stay what they are."""

import numpy as np
import pytest

from rnncallbacks.detectors.one_hot import decode_one_hot

TOKENS = np.random.default_rng(0).integers(5, size=(7, 4))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_axis_is_found_in_any_layout(axis, dtype, order):
    vectors = np.asarray(np.moveaxis(np.eye(5, dtype=dtype)[TOKENS], -1, axis), order=order)
    tokens, found = decode_one_hot(vectors)
    assert found == axis
    np.testing.assert_array_equal(tokens, TOKENS)


def test_vectors_of_zeros_are_padding():
    vectors = np.eye(5)[TOKENS]
    vectors[-2:] = 0.0
    tokens, _ = decode_one_hot(vectors)
    np.testing.assert_array_equal(tokens, np.where(np.arange(7)[:, None] < 5, TOKENS, -1))


def test_of_two_axes_that_fit_the_preferred_one_is_taken():
    permutation = np.eye(4)[[2, 0, 3, 1]]
    assert decode_one_hot(permutation, preferred_axis=0)[0].tolist() == [1, 3, 0, 2]
    assert decode_one_hot(permutation)[0].tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((6, 4, 5)),
        np.ones((6, 4, 5)),
        2.0 * np.eye(5)[TOKENS],
        TOKENS,  # integers of two axes are tokens
        np.eye(4, dtype=int),
        np.zeros(3),
        np.zeros((0, 3)),
    ],
)
def test_other_arrays_stay_what_they_are(array):
    found, axis = decode_one_hot(array)
    assert found is array
    assert axis is None
