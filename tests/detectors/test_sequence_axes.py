"""The axes of time and batch: told by sizes, by states and by targets, and by nothing else."""

import numpy as np
import pytest

from rnncallbacks.detectors.sequence_axes import aligned, find_time_axis

T, B, F = 7, 4, 3
TOKENS = np.random.default_rng(0).integers(9, size=(T + 1, B))
X, Y = TOKENS[:-1], TOKENS[1:]
OTHER = np.random.default_rng(1).integers(9, size=(T, B))


@pytest.mark.parametrize(
    ("batch_size", "states", "targets", "axis"),
    [
        (B, None, None, 0),
        (T, None, None, 1),
        (None, [0] * (T + 1), None, 0),
        (None, [0] * (B + 1), None, 1),
        (99, [0] * (T + 1), None, 0),
        (None, None, Y, 0),
        (None, None, OTHER, None),
        (None, None, Y[0], None),
        (None, None, None, None),
    ],
)
def test_what_tells_the_axis_of_time(batch_size, states, targets, axis):
    assert find_time_axis(X, targets, batch_size, states) == axis


@pytest.mark.parametrize(("state", "axis"), [((8, 20), 1), ((20, 8), 1), ((9, 20), 0), ((8, 9), 0), ((20,), 0)])
def test_states_without_the_entering_one_are_told_by_their_shape(state, axis):
    assert find_time_axis(np.zeros((8, 9), int), None, None, [np.zeros(state)] * 9) == axis


def test_a_few_targets_may_differ_from_the_next_input():
    noisy = Y.copy()
    noisy[0, :2] += 1
    assert find_time_axis(X, noisy, None, None) == 0
    noisy[:3] += 1
    assert find_time_axis(X, noisy, None, None) is None


@pytest.mark.parametrize(
    ("batch_size", "targets", "states"),
    [
        (B, None, None),
        (None, np.zeros(B), None),
        (None, np.zeros((T, F + 1, B)), [np.zeros((9, B))] * (T + 1)),
        (None, None, [np.zeros((9, B))] * (T + 1)),
    ],
)
def test_a_batch_axis_that_comes_last_is_moved(batch_size, targets, states):
    columns = np.random.default_rng(0).normal(size=(T, F, B))
    x, _ = aligned(columns, targets, batch_size, states)
    np.testing.assert_array_equal(x, columns.transpose(0, 2, 1))


def test_axes_of_targets_alone_do_not_tell_columns_from_forecasts_of_several_steps():
    windows = np.random.default_rng(0).normal(size=(B, T, F))  # (sequence, time, feature)
    x, _ = aligned(windows, np.zeros((B, T - 2, F)), None, None)
    assert x is windows


def test_without_a_sign_the_last_axis_is_features():
    columns = np.zeros((T, F, B))
    for states in (None, [], [3.0], [np.zeros((B, F))]):
        assert aligned(columns, None, None, states)[0] is columns


def test_targets_follow_the_order_of_the_inputs():
    columns = np.zeros((T, F, B))
    assert aligned(columns, columns, B, None)[1].shape == (T, B, F)
    assert aligned(X, Y.T, None, None)[1].shape == X.shape


@pytest.mark.parametrize(("state", "axis"), [((T, 20), 1), ((20, B), 0), ((20, 30), None), ((T, B), None)])
def test_states_of_other_steps_than_the_inputs_tell_the_axis_by_their_shape(state, axis):
    assert find_time_axis(X, OTHER, None, [np.zeros(state)] * 19) == axis
