"""States: what is seen of them, their rows in every layout, and whether two are copies of each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.state.observed_state import (
    ObservedState,
    first_array,
    hidden_state_steps,
    matching_rows,
    observed_state,
    rows_all_equal,
    state_rms,
    state_rows,
)

H, B, T = 7, 3, 5
rng = np.random.default_rng(0)


def batch_of(batch_size=None, entering_state=None, **observed):
    return Batch(None, "train", 1, batch_size=batch_size, entering_state=entering_state, observed=observed)


# --- what is seen ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(H, B), (B, H), (2, B, H)])
def test_rows_are_sequences_wherever_their_axis_lies(shape):
    state = rng.normal(size=shape)
    rows = state_rows(state, B)
    assert rows.shape == (B, state.size // B)
    axis = shape.index(B)
    for number, row in enumerate(rows):
        np.testing.assert_array_equal(np.sort(row), np.sort(np.take(state, number, axis).ravel()))


def test_one_sequence_may_have_no_axis_and_others_must():
    assert state_rows(np.ones(H), 1).tolist() == [[1.0] * H]
    assert state_rows(np.ones((H, 1)), 1).shape == (1, H)
    assert state_rows(np.ones((H, B)), 4) is None
    assert state_rows(np.ones(H), B) is None


@pytest.mark.parametrize("axis", [0, 1])
def test_of_two_axes_that_fit_the_one_with_zero_lines_is_the_batchs(axis):
    state = rng.normal(size=(B, B))
    state[(slice(None),) * axis + (1,)] = 0.0
    assert state_rows(state, B).any(axis=1).tolist() == [True, False, True]


def test_what_the_script_observed_wins_over_what_the_run_handed_out():
    handed, own, hiddens = rng.normal(size=(H, B)), rng.normal(size=(H, B)), rng.normal(size=(T + 1, H, B))
    assert not observed_state(batch_of()).known
    zeros = observed_state(batch_of(batch_size=B))
    assert (zeros.known, zeros.entering) == (True, None)
    assert observed_state(batch_of(batch_size=B, entering_state=(handed, own))).entering is handed
    assert observed_state(batch_of(entering_state=None, batch_size=B)).known
    seen = observed_state(batch_of(batch_size=B, entering_state=handed, hidden_states=list(hiddens)))
    np.testing.assert_array_equal(
        (seen.entering, seen.after_first_step, seen.final), (hiddens[0], hiddens[1], hiddens[-1])
    )
    assert seen.count == T + 1
    batch = batch_of(hidden_states=hiddens)
    batch.observed["entering_state"] = own
    seen = observed_state(batch)
    np.testing.assert_array_equal(seen.entering, own)
    assert seen.count == 0
    assert observed_state(Batch(None, "train", 1, observed={"entering_state": own})).known


def test_what_is_seen_outlives_the_buffer():
    hiddens = rng.normal(size=(T + 1, B, H))
    final, entering = hiddens[-1].copy(), hiddens[0].copy()
    seen = observed_state(batch_of(hidden_states=hiddens))
    hiddens[...] = 0.0
    np.testing.assert_array_equal((seen.entering, seen.final), (entering, final))


def test_states_of_containers_are_their_first_arrays():
    h, c = np.ones((B, H)), np.zeros((B, H))
    assert first_array({"h": h, "c": c}) is h
    assert first_array((h, c)) is h
    assert first_array(None) is first_array(()) is first_array("state") is first_array(3.0) is None
    assert [step is h for step in hidden_state_steps([(h, c)] * 3)] == [True] * 3


@pytest.mark.parametrize(
    "hidden_states", [None, [], [np.ones(3)], np.ones(3), np.ones((1, 3)), ["a", "b"], 7, [None, None]]
)
def test_what_are_no_hidden_states(hidden_states):
    assert hidden_state_steps(hidden_states) is None
    assert not observed_state(batch_of(hidden_states=hidden_states)).known


# --- the same --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from([np.float32, np.float64]), st.integers(0, 1000))
def test_copies_are_the_same_and_other_states_are_not(rows, units, dtype, seed):
    state = np.tanh(np.random.default_rng(seed).normal(size=(rows, units)))
    assert matching_rows(state.astype(dtype), state).all()
    assert not matching_rows(state, state + 0.01).any()
    longer = np.concatenate([state, state])
    assert matching_rows(longer, state).tolist() == [True] * rows + [False] * rows
    assert matching_rows(state, longer).all()


def test_states_of_other_kinds_and_without_numbers_are_not_the_same():
    assert not matching_rows(np.ones((B, H)), np.ones((B, H + 1))).any()
    for bad in (np.nan, np.inf):
        assert not matching_rows(np.full((B, H), bad), np.full((B, H), bad)).any()


def test_a_state_that_all_sequences_share():
    row = rng.normal(size=(1, H))
    assert rows_all_equal(np.repeat(row, B, axis=0))
    assert not rows_all_equal(row)
    assert not rows_all_equal(rng.normal(size=(B, H)))


def test_root_mean_square():
    assert state_rms(np.array([[3.0, -4.0]], dtype=np.float32)) == pytest.approx(12.5**0.5)
    assert state_rms(np.full((2, 2), 1e200)) == np.inf


def test_as_many_hidden_states_as_time_steps_lack_the_entering_one():
    assert ObservedState(True, count=T + 1).shows_entering(T)
    assert not ObservedState(True, count=T).shows_entering(T)
    assert ObservedState(True, count=T).shows_entering(None)
    assert not ObservedState(False).shows_entering(T)
