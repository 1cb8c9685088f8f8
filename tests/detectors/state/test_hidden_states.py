"""States: their rows in every layout, whether two are the same, and widths that do not fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.hidden_states import (
    SeenState,
    all_alike,
    certain_size,
    first_array,
    is_part_of,
    is_spread,
    root_mean_square,
    rows_of,
    same_rows,
    state_of,
    steps_of,
    wrong_width,
)

H, B, T = 7, 3, 5
rng = np.random.default_rng(0)


def batch_of(batch_size=None, entering_state=None, **observed):
    return Batch(None, "train", 1, batch_size=batch_size, entering_state=entering_state, observed=observed)


# --- what is seen ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(H, B), (B, H), (2, B, H)])
def test_rows_are_sequences_wherever_their_axis_lies(shape):
    state = rng.normal(size=shape)
    rows = rows_of(state, B)
    assert rows.shape == (B, state.size // B)
    axis = shape.index(B)
    for number, row in enumerate(rows):
        np.testing.assert_array_equal(np.sort(row), np.sort(np.take(state, number, axis).ravel()))


def test_one_sequence_may_have_no_axis_and_others_must():
    assert rows_of(np.ones(H), 1).tolist() == [[1.0] * H]
    assert rows_of(np.ones((H, 1)), 1).shape == (1, H)
    assert rows_of(np.ones((H, B)), 4) is None
    assert rows_of(np.ones(H), B) is None


@pytest.mark.parametrize("axis", [0, 1])
def test_of_two_axes_that_fit_the_one_with_zero_lines_is_the_batchs(axis):
    state = rng.normal(size=(B, B))
    state[(slice(None),) * axis + (1,)] = 0.0
    assert rows_of(state, B).any(axis=1).tolist() == [True, False, True]


def test_what_the_script_observed_wins_over_what_the_run_handed_out():
    handed, own, hiddens = rng.normal(size=(H, B)), rng.normal(size=(H, B)), rng.normal(size=(T + 1, H, B))
    assert not state_of(batch_of()).known
    zeros = state_of(batch_of(batch_size=B))
    assert (zeros.known, zeros.entering) == (True, None)
    assert state_of(batch_of(batch_size=B, entering_state=(handed, own))).entering is handed
    assert state_of(batch_of(entering_state=None, batch_size=B)).known
    seen = state_of(batch_of(batch_size=B, entering_state=handed, hidden_states=list(hiddens)))
    np.testing.assert_array_equal((seen.entering, seen.following, seen.final), (hiddens[0], hiddens[1], hiddens[-1]))
    assert seen.count == T + 1
    batch = batch_of(hidden_states=hiddens)
    batch.observed["entering_state"] = own
    seen = state_of(batch)
    np.testing.assert_array_equal(seen.entering, own)
    assert seen.count == 0
    assert state_of(Batch(None, "train", 1, observed={"entering_state": own})).known


def test_what_is_seen_outlives_the_buffer():
    hiddens = rng.normal(size=(T + 1, B, H))
    final, entering = hiddens[-1].copy(), hiddens[0].copy()
    seen = state_of(batch_of(hidden_states=hiddens))
    hiddens[...] = 0.0
    np.testing.assert_array_equal((seen.entering, seen.final), (entering, final))


def test_states_of_containers_are_their_first_arrays():
    h, c = np.ones((B, H)), np.zeros((B, H))
    assert first_array({"h": h, "c": c}) is h
    assert first_array((h, c)) is h
    assert first_array(None) is first_array(()) is first_array("state") is first_array(3.0) is None
    assert [step is h for step in steps_of([(h, c)] * 3)] == [True] * 3


@pytest.mark.parametrize(
    "hidden_states", [None, [], [np.ones(3)], np.ones(3), np.ones((1, 3)), ["a", "b"], 7, [None, None]]
)
def test_what_are_no_hidden_states(hidden_states):
    assert steps_of(hidden_states) is None
    assert not state_of(batch_of(hidden_states=hidden_states)).known


# --- the same --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from([np.float32, np.float64]), st.integers(0, 1000))
def test_copies_are_the_same_and_other_states_are_not(rows, units, dtype, seed):
    state = np.tanh(np.random.default_rng(seed).normal(size=(rows, units)))
    assert same_rows(state.astype(dtype), state).all()
    assert not same_rows(state, state + 0.01).any()
    longer = np.concatenate([state, state])
    assert same_rows(longer, state).tolist() == [True] * rows + [False] * rows
    assert same_rows(state, longer).all()


def test_states_of_other_kinds_and_without_numbers_are_not_the_same():
    assert not same_rows(np.ones((B, H)), np.ones((B, H + 1))).any()
    for bad in (np.nan, np.inf):
        assert not same_rows(np.full((B, H), bad), np.full((B, H), bad)).any()


def test_a_state_that_all_sequences_share():
    row = rng.normal(size=(1, H))
    assert all_alike(np.repeat(row, B, axis=0))
    assert not all_alike(row)
    assert not all_alike(rng.normal(size=(B, H)))


def test_root_mean_square():
    assert root_mean_square(np.array([[3.0, -4.0]], dtype=np.float32)) == pytest.approx(12.5**0.5)
    assert root_mean_square(np.full((2, 2), 1e200)) == np.inf


# --- widths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entering", "following", "size", "words"),
    [
        ((H, B), (H, B), B, None),
        ((B, H), None, B, None),
        ((H,), (H,), 1, None),
        ((H, 4), None, None, None),
        ((H, 1), (H, B), None, "has the shape (7, 1), and the state after the first time step (7, 3)"),
        ((H, 4), (H, 4), B, "has the shape (7, 4), and no axis of the batch's size, 3"),
        ((H, 4), None, 1, "has the shape (7, 4), and no axis of the batch's size, 1"),
        ((H,), None, B, "has the shape (7,), and no axis of the batch's size, 3"),
    ],
)
def test_widths(entering, following, size, words):
    state = SeenState(True, np.ones(entering), None if following is None else np.ones(following))
    assert wrong_width(state, size) == words
    assert wrong_width(SeenState(True), size) is None


@pytest.mark.parametrize(
    ("entering", "following", "spread"),
    [
        ((H, 1), (H, B), True),
        ((1, H), (B, H), True),
        ((H,), (B, H), True),
        ((H, 4), (H, B), False),
        ((H, B), (H, B), False),
    ],
)
def test_a_state_of_width_one_is_spread_over_the_batch(entering, following, spread):
    assert is_spread(SeenState(True, np.ones(entering), np.ones(following))) == spread
    assert not is_spread(SeenState(True, np.ones(entering)))
    assert not is_spread(SeenState(True))


def test_a_part_of_the_final_state():
    final = rng.normal(size=(H, B))
    assert is_part_of(final[:, :1], final)
    assert is_part_of(final, final)
    assert not is_part_of(final[:, 1:2], final)
    assert not is_part_of(np.ones((H, B + 1)), final)
    assert not is_part_of(final[:, 0], final)
    assert not is_part_of(final, None)


def test_the_inputs_tell_the_size_only_if_the_state_does_not_look_like_their_other_axis():
    shown = Sequences(np.zeros((T, B), dtype=int), None, 0, None)
    assert certain_size(batch_of(), shown, np.ones((H, 4))) == B
    assert certain_size(batch_of(), shown, np.ones((H, T))) is None  # time and batch may have been mistaken
    columns = Sequences(np.zeros((T, 2, B)), None, 0, None)
    assert certain_size(batch_of(), columns, np.ones((H, B))) is None  # and features and batch
    assert certain_size(batch_of(batch_size=9), shown, np.ones((H, T))) == 9
    assert certain_size(batch_of(), Sequences(None, None, None, None), np.ones((H, 4))) is None
