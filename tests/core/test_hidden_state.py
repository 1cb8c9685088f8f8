"""The state between batches: layouts, ragged batches, resets of some rows, and nothing shared with the script."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.core.hidden_state import HiddenState, HiddenStates, zeros_of
from rnncallbacks.errors import ContainerError, OptionError, RunStateError, ShapeError

HIDDEN = 3
LAYOUTS = {
    "columns": lambda batch: np.zeros((HIDDEN, batch), np.float32),
    "rows": lambda batch: np.zeros((batch, HIDDEN), np.float32),
    "layers": lambda batch: np.zeros((2, batch, HIDDEN), np.float32),
    "lstm": lambda batch: (np.zeros((batch, HIDDEN), np.float32), np.zeros((batch, HIDDEN), np.float32)),
    "mixed": lambda batch: {"h": np.zeros((HIDDEN, batch)), "c": [np.zeros((batch, 1)), None]},
}
BATCH_AXIS = {"columns": [1], "rows": [0], "layers": [1], "lstm": [0, 0], "mixed": [1, 0]}


def leaves(state):
    if isinstance(state, np.ndarray):
        return [state]
    children = state.values() if isinstance(state, dict) else state
    return [leaf for child in children if child is not None for leaf in leaves(child)]


def filled(layout, batch, start=1.0):
    """A state of numbers that are all different."""
    state = LAYOUTS[layout](batch)
    for leaf in leaves(state):
        leaf[...] = np.arange(start, start + leaf.size).reshape(leaf.shape)
        start += leaf.size
    return state


def assert_same(state, expected):
    assert type(state) is type(expected)
    for one, other in zip(leaves(state), leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_state_is_zero_and_a_carried_one_comes_back_in_its_structure(layout):
    state = HiddenState(LAYOUTS[layout])
    assert_same(state.enter(4), LAYOUTS[layout](4))
    carried = filled(layout, 4)
    state.carry(carried)
    assert_same(state.enter(4), carried)
    assert_same(state.enter(4), carried)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_after_a_reset_the_width_may_change_and_without_one_it_may_not(layout):
    state = HiddenState(LAYOUTS[layout])
    state.carry(filled(layout, 4))
    before, needed = leaves(LAYOUTS[layout](4))[0].shape, leaves(LAYOUTS[layout](2))[0].shape
    with pytest.raises(ShapeError) as caught:
        state.enter(2)
    assert f"shape {before}" in str(caught.value)
    assert f"batch size 2 needs {needed}" in str(caught.value)
    assert "reset" in caught.value.hint
    state.reset()
    assert_same(state.enter(2), LAYOUTS[layout](2))


@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    steps=st.lists(
        st.one_of(
            st.just("carry"),
            st.just("reset"),
            st.lists(st.booleans(), min_size=4, max_size=4),
        ),
        max_size=12,
    ),
)
def test_resets_of_rows_are_what_a_plain_loop_over_rows_does(layout, steps):
    state, expected = HiddenState(LAYOUTS[layout]), LAYOUTS[layout](4)
    for number, step in enumerate(steps):
        if step == "carry":
            expected = filled(layout, 4, start=1.0 + 100 * number)
            state.carry(expected)
        elif step == "reset":
            expected = LAYOUTS[layout](4)
            state.reset()
        else:
            expected = type(expected)(expected) if isinstance(expected, dict) else expected
            for leaf, axis in zip(leaves(expected), BATCH_AXIS[layout], strict=True):
                for row, begins_anew in enumerate(step):
                    if begins_anew:
                        np.moveaxis(leaf, axis, 0)[row] = 0.0
            state.reset(np.array(step))
        if number % 2:  # a reset need not be asked for at once
            assert_same(state.enter(4), expected)
    assert_same(state.enter(4), expected)


def test_a_reset_of_rows_keeps_the_carried_dtype():
    state = HiddenState(lambda batch: np.zeros((batch, HIDDEN)))
    state.carry(np.ones((2, HIDDEN), np.float32))
    state.reset(np.array([True, False]))
    entered = state.enter(2)
    assert entered.dtype == np.float32
    assert entered.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_rows_begin_with_what_zeros_gives_which_need_not_be_zero():
    state = HiddenState(lambda batch: np.full((batch, 2), 0.5))
    state.carry(np.ones((2, 2)))
    state.reset(np.array([False, True]))
    assert state.enter(2).tolist() == [[1, 1], [0.5, 0.5]]


def test_zeros_are_made_for_their_shapes_once_a_batch_size():
    made = []

    def zeros(batch_size):
        made.append(batch_size)
        return np.zeros((2, batch_size))

    state = HiddenState(zeros)
    for batch_size in (3, 3, 3, 4, 4):
        if batch_size == 4 and made[-1] == 3:
            state.reset()
        state.carry(state.enter(batch_size))
    # The first state and the one behind the reset, and for the shapes of each size.
    assert made == [3, 3, 4, 4]


def test_what_the_script_does_to_its_arrays_does_not_reach_the_state():
    state, carried = HiddenState(LAYOUTS["lstm"]), filled("lstm", 2)
    state.carry(carried)
    carried[0][:] = -1.0
    entered = state.enter(2)
    assert_same(entered, filled("lstm", 2))
    entered[1][:] = -1.0
    assert_same(state.enter(2), filled("lstm", 2))


def test_a_carried_state_cancels_the_reset_of_rows_that_was_due():
    state = HiddenState(LAYOUTS["rows"])
    state.carry(filled("rows", 2))
    state.reset(np.array([True, False]))
    state.carry(filled("rows", 2, start=50.0))
    assert_same(state.enter(2), filled("rows", 2, start=50.0))


def test_a_mask_of_another_length_than_the_batch_is_refused():
    state = HiddenState(LAYOUTS["columns"])
    state.carry(filled("columns", 4))
    state.reset(np.array([True, False, True]))
    with pytest.raises(ShapeError, match=r"mask has shape \(3,\), but the state \(3, 4\) has 4 sequences on axis 1"):
        state.enter(4)


def test_two_masks_of_different_lengths_are_refused():
    state = HiddenState(LAYOUTS["columns"])
    state.carry(filled("columns", 4))
    state.reset(np.array([True, False, True, False]))
    with pytest.raises(ShapeError, match=r"expected a mask of shape \(4,\), got \(1,\)"):
        state.reset(np.array([True]))


@pytest.mark.parametrize(
    "zeros",
    [
        lambda batch: np.zeros((2, 2)) if batch < 3 else np.zeros((batch, 2)),
        lambda batch: np.zeros((batch, batch)),
        lambda batch: np.squeeze(np.zeros((batch, 4))),
    ],
    ids=["no axis", "two axes", "squeezed"],
)
def test_zeros_without_one_axis_for_the_batch_are_refused_when_rows_are_reset(zeros):
    state = HiddenState(zeros)
    state.carry(zeros(5))
    state.reset(np.array([True, False, False, False, False]))
    with pytest.raises(ShapeError, match="expected the batch size on exactly one axis"):
        state.enter(5)


@pytest.mark.parametrize(
    ("carried", "message"),
    [
        (np.zeros((4, HIDDEN)), "has one array, but a zero state has the arrays '0', '1'"),
        ((np.zeros((4, HIDDEN)),), "has the arrays '0', but a zero state has the arrays '0', '1'"),
    ],
)
def test_half_an_lstm_state_is_refused(carried, message):
    state = HiddenState(LAYOUTS["lstm"])
    state.carry(carried)
    with pytest.raises(ContainerError, match=message):
        state.enter(4)


@pytest.mark.parametrize("nothing", [None, (), {"h": None}])
def test_nothing_cannot_be_carried(nothing):
    with pytest.raises(ContainerError, match="at least one array, got none"):
        HiddenState(LAYOUTS["rows"]).carry(nothing)


def test_without_a_shape_there_is_no_state_to_enter_with():
    with pytest.raises(RunStateError, match="pass hidden_size= to Run, or zeros="):
        HiddenState(None).enter(4)


def test_each_phase_has_a_state_of_its_own():
    states = HiddenStates(LAYOUTS["rows"], reset=None)
    states["train"].carry(filled("rows", 2))
    assert not states["val"].enter(2).any()
    states["val"].carry(filled("rows", 3, start=9.0))
    states.reset("val", None)
    assert_same(states["train"].enter(2), filled("rows", 2))
    assert_same(states.carried()["train"], filled("rows", 2))
    assert states.carried()["val"] is None


def test_all_rows_are_a_whole_reset_so_that_the_width_may_change():
    states = HiddenStates(LAYOUTS["rows"], reset=None)
    states["train"].carry(filled("rows", 4))
    states.reset("train", [True, True])
    assert states["train"].enter(2).shape == (2, HIDDEN)


def test_positions_in_place_of_truth_values_are_refused():
    with pytest.raises(OptionError, match="one truth value for each sequence, got int"):
        HiddenStates(LAYOUTS["rows"], reset=None).reset("train", [0, 2])


def test_a_reset_function_is_called_for_all_rows_and_for_none_left_alone():
    calls = []
    states = HiddenStates(None, reset=lambda: calls.append("reset"))
    states.reset("train", None)
    states.reset("train", [True, True])
    assert calls == ["reset", "reset"]
    states.reset("train", [False, False])
    assert calls == ["reset", "reset"]
    with pytest.raises(RunStateError, match="1 of 2 sequences begin here, but reset= resets all of them"):
        states.reset("train", [True, False])
    assert calls == ["reset", "reset"]


def test_with_neither_a_shape_nor_a_function_there_is_nothing_to_reset():
    with pytest.raises(RunStateError, match="no hidden state to reset"):
        HiddenStates(None, reset=None).reset("train", None)


@pytest.mark.parametrize("option", ["zeros", "reset"])
def test_a_result_in_place_of_a_function_is_refused(option):
    with pytest.raises(OptionError, match=rf"expected {option} to be a function, got an array of shape \(2,\)"):
        HiddenStates(**({"zeros": None, "reset": None} | {option: np.zeros(2)}))


@pytest.mark.parametrize(
    ("params", "dtype"),
    [({"ids": np.zeros(1, int), "w": np.zeros(1, np.float32)}, np.float32), (None, np.float64)],
)
def test_zeros_are_columns_in_the_dtype_of_the_parameters(params, dtype):
    np.testing.assert_array_equal(zeros_of(2, params)(3), np.zeros((2, 3), dtype), strict=True)


@pytest.mark.parametrize("hidden_size", [0, -1, 2.0, True, "50", None])
def test_a_hidden_size_that_is_no_count_is_refused(hidden_size):
    with pytest.raises(OptionError, match="hidden_size to be an integer >= 1, got"):
        zeros_of(hidden_size, None)
