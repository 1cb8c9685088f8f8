"""The ends of a batch's rows: copied, in every layout."""

import numpy as np
import pytest

from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.row_ends import row_ends

TOKENS = np.random.default_rng(0).integers(30, size=(41, 5))


def test_no_ends_without_an_axis_of_time():
    assert row_ends(Sequences(np.zeros((3, 3)), None, None, None)) is None
    assert row_ends(Sequences(None, None, None, None)) is None


@pytest.mark.parametrize("time_axis", [0, 1])
def test_both_ends_have_time_first(time_axis):
    x, y = (TOKENS[:-1], TOKENS[1:]) if time_axis == 0 else (TOKENS[:-1].T, TOKENS[1:].T)
    mask = np.ones(x.shape, dtype=bool)
    mask[-1 if time_axis == 0 else slice(None), 2 if time_axis == 0 else -1] = False
    ends = row_ends(Sequences(x, y, time_axis, None), mask)
    assert ends.batch_size == 5
    np.testing.assert_array_equal(ends.first_inputs, TOKENS[:16])
    np.testing.assert_array_equal(ends.last_inputs, TOKENS[24:40])
    np.testing.assert_array_equal(ends.first_targets, TOKENS[1:17])
    np.testing.assert_array_equal(ends.last_targets, TOKENS[25:])
    np.testing.assert_array_equal(ends.tokens, TOKENS[:-1])
    assert ends.ends_early.tolist() == ([False, False, True, False, False] if time_axis == 0 else [True] * 5)
    assert (ends.sequence_targets, ends.largest_change) == (None, None)


def test_ends_are_copies():
    x, y = TOKENS[:-1].copy(), TOKENS[1:].copy()
    ends = row_ends(Sequences(x, y, 0, None))
    x[...] = y[...] = -5
    np.testing.assert_array_equal(ends.last_targets, TOKENS[-16:])
    np.testing.assert_array_equal(ends.tokens, TOKENS[:-1])


def test_a_target_for_each_row_is_kept_as_such():
    ends = row_ends(Sequences(TOKENS, TOKENS[0], 0, None))
    np.testing.assert_array_equal(ends.sequence_targets, TOKENS[0])
    assert (ends.first_targets, ends.last_targets) == (None, None)


def test_floats_have_a_largest_change():
    series = np.array([0.0, 1.0, 3.0, 2.0, 2.5])[:, None, None] * [1.0, 2.0] * np.ones((1, 3, 1))
    ends = row_ends(Sequences(series, None, 0, None))
    assert ends.largest_change.tolist() == [4.0] * 3
    assert ends.tokens is None
    assert row_ends(Sequences(series[:3], None, 0, None)).largest_change is None
