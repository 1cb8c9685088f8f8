"""RNN202: shapes of entering states that do not fit their batch, and those that do."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.inspected_batches import InspectedBatch, LatestBatch, PhaseHistory
from rnncallbacks.detectors.state.observed_state import ObservedState
from rnncallbacks.detectors.state.state_shape import (
    StateShapeDetector,
    certain_batch_size,
    is_broadcast,
    is_slice_of,
    shape_mismatch,
)

H, B, T = 7, 3, 5
rng = np.random.default_rng(0)
TOKENS = Sequences(np.zeros((T, B), dtype=int), None, 0, None)
NOTHING = Sequences(None, None, None, None)


def inspected(state, sequences=NOTHING, batch_size=None, final=None):
    batch = Batch(None, "train", 2, batch_size=batch_size)
    before = None if final is None else LatestBatch(1, 1, None, final, B)
    return InspectedBatch(batch, PhaseHistory("train"), sequences, None, state, before, batch_size)


@pytest.mark.parametrize(
    ("entering", "following", "size", "words"),
    [
        ((H, B), (H, B), B, None),
        ((B, H), None, B, None),
        ((H,), (H,), 1, None),
        ((H, 4), None, None, None),
        ((H, 1), (H, B), None, "it has shape (7, 1), but the state after the first time step has (7, 3)"),
        ((H, 4), (H, 4), B, "it has shape (7, 4), but no axis of the batch's size, 3"),
        ((H, 4), None, 1, "it has shape (7, 4), but no axis of the batch's size, 1"),
        ((H,), None, B, "it has shape (7,), but no axis of the batch's size, 3"),
    ],
)
def test_widths(entering, following, size, words):
    state = ObservedState(True, np.ones(entering), None if following is None else np.ones(following))
    assert shape_mismatch(state, size) == words
    assert shape_mismatch(ObservedState(True), size) is None


@pytest.mark.parametrize(
    ("entering", "following", "broadcast"),
    [
        ((H, 1), (H, B), True),
        ((1, H), (B, H), True),
        ((H,), (B, H), True),
        ((H, 4), (H, B), False),
        ((H, B), (H, B), False),
    ],
)
def test_a_state_of_width_one_is_broadcast_over_the_batch(entering, following, broadcast):
    assert is_broadcast(ObservedState(True, np.ones(entering), np.ones(following))) == broadcast
    assert not is_broadcast(ObservedState(True, np.ones(entering)))
    assert not is_broadcast(ObservedState(True))


def test_a_slice_of_the_final_state():
    final = rng.normal(size=(H, B))
    assert is_slice_of(final[:, :1], final)
    assert is_slice_of(final, final)
    assert not is_slice_of(final[:, 1:2], final)
    assert not is_slice_of(np.ones((H, B + 1)), final)
    assert not is_slice_of(final[:, 0], final)
    assert not is_slice_of(final, None)


def test_the_inputs_tell_the_size_only_if_the_state_does_not_look_like_their_other_axis():
    def size(entering, sequences=TOKENS, batch_size=None):
        return certain_batch_size(inspected(ObservedState(True, np.ones(entering)), sequences, batch_size))

    assert size((H, 4)) == B
    assert size((H, T)) is None  # time and batch may have been mistaken
    columns = Sequences(np.zeros((T, 2, B)), None, 0, None)
    assert size((H, B), columns) is None  # and features and batch
    assert size((H, T), batch_size=9) == 9
    assert size((H, 4), NOTHING) is None


# --- the detector ----------------------------------------------------------------------------------------------------


def check(*args, **options):
    result = StateShapeDetector().check(inspected(*args, **options), epoch=1)
    found = result.finding
    return tuple(result.checked) == ("RNN202",), None if found is None else found.severity or "error"


def test_shapes_that_fit_are_checked():
    assert check(ObservedState(True, np.ones((H, B)), np.ones((H, B)))) == (True, None)
    assert check(ObservedState(True), TOKENS, B) == (True, None)


def test_without_a_shape_to_compare_with_nothing_is_checked():
    assert check(ObservedState(True, np.ones((H, B)))) == (False, None)


def test_a_column_of_the_final_state_is_an_error_and_one_of_zeros_an_info():
    final = rng.normal(size=(H, B))
    column, following = final[:, :1], np.ones((H, B))
    assert check(ObservedState(True, column, following), final=final) == (True, "error")
    assert check(ObservedState(True, np.zeros((H, 1)), following), final=final) == (True, "info")
    # A learned initial state.
    assert check(ObservedState(True, column, following), final=-final) == (True, None)
    assert check(ObservedState(True, column, following)) == (True, None)


def test_the_finding_has_a_headline_and_the_shapes():
    current = inspected(ObservedState(True, 2 * np.ones((H, 4))), batch_size=B)
    found = StateShapeDetector().check(current, epoch=1).finding
    assert found.code == "RNN202"
    assert found.message == (
        "the state that entered batch 2 of train does not fit the batch: "
        "it has shape (7, 4), but no axis of the batch's size, 3"
    )
    assert found.evidence == {"state_rms": 2.0, "state_shape": "(7, 4)", "batch_size": 3}


def test_each_severity_is_reported_once_an_epoch():
    detector = StateShapeDetector()
    wrong, zeros = ObservedState(True, np.ones((H, 4))), ObservedState(True, np.zeros((H, 1)), np.ones((H, B)))
    found = [
        detector.check(inspected(state, batch_size=B), epoch).finding
        for epoch in (1, 2)
        for state in (zeros, wrong, zeros, wrong)
    ]
    assert [one and one.severity for one in found] == ["info", None, None, None] * 2
    assert [one is not None for one in found] == [True, True, False, False] * 2
