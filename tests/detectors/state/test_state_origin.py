"""Origins: the batch with whose final state a batch enters, row by row."""

import numpy as np
import pytest

from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.inspected_batches import LatestBatch, PhaseHistory
from rnncallbacks.detectors.state.row_ends import row_ends
from rnncallbacks.detectors.state.state_origin import find_origin

HIDDEN, ROWS, SEQ_LEN = 5, 3, 4
rng = np.random.default_rng(0)


def latest(number, final, mask=None):
    tokens = rng.integers(9, size=(SEQ_LEN, ROWS))
    return LatestBatch(number, number, row_ends(Sequences(tokens, tokens, 0, None), mask), final, ROWS)


def phase(name="train", number=4, before=None, carried=None):
    history = PhaseHistory(name)
    history.number, history.latest, history.carried = number, before, carried
    return history


def test_the_batch_before_ended_with_it():
    final = rng.normal(size=(HIDDEN, ROWS))
    found = find_origin(phase(before=latest(3, final)), [], final.T)
    assert (found.other_phase, found.rows.tolist()) == (None, [True] * ROWS)
    assert found.rms == pytest.approx(np.sqrt(np.mean(final**2)))


def test_rows_that_were_reset_are_not_carried_over():
    final = rng.normal(size=(HIDDEN, ROWS))
    entering = final.T.copy()
    entering[1] = 0.0
    found = find_origin(phase(before=latest(3, final)), [], entering)
    assert found.rows.tolist() == [True, False, True]
    assert found.rms == pytest.approx(np.sqrt(np.mean(entering[[0, 2]] ** 2)))


def test_a_state_of_nobodys_was_set_on_purpose():
    before = latest(3, rng.normal(size=(HIDDEN, ROWS)))
    other = rng.normal(size=(ROWS, HIDDEN))
    assert find_origin(phase(before=before), [], other) is None
    # Not even if the run carried it: the hidden states show with what the batch ended.
    assert find_origin(phase(before=before, carried=other), [], other) is None
    assert find_origin(phase(), [], other) is None


def test_without_hidden_states_what_the_run_carried_is_the_final_state():
    carried = rng.normal(size=(HIDDEN, ROWS))
    assert find_origin(phase(before=latest(3, None), carried=carried), [], carried.T).rows.all()


def test_with_padding_what_the_run_carried_counts_too():
    final, carried = rng.normal(size=(HIDDEN, ROWS)), rng.normal(size=(HIDDEN, ROWS))
    carried[:, 0] = final[:, 0]
    mask = np.ones((SEQ_LEN, ROWS), dtype=bool)
    mask[-1, 1:] = False
    assert find_origin(phase(before=latest(3, final, mask), carried=carried), [], carried.T).rows.all()
    unpadded = find_origin(phase(before=latest(3, final), carried=carried), [], carried.T)
    assert unpadded.rows.tolist() == [True, False, False]


def test_a_batch_that_was_not_inspected_leaves_a_gap():
    final = rng.normal(size=(HIDDEN, ROWS))
    assert find_origin(phase(number=5, before=latest(3, final)), [], final.T) is None


def test_another_phase_ended_with_it():
    final = rng.normal(size=(HIDDEN, ROWS))
    val = phase("val", before=latest(2, final), number=2)
    train = phase(before=latest(3, rng.normal(size=(HIDDEN, ROWS))))
    found = find_origin(train, [train, val], final.T)
    assert (found.other_phase, found.rows.all(), found.earlier) == ("val", True, val.latest)


def test_another_phase_is_not_held_responsible_where_the_batch_before_was_not_inspected():
    final = np.ones((HIDDEN, ROWS))
    val = phase("val", before=latest(2, final), number=2)
    train = phase(before=latest(3, final), number=9)
    train.index = 7
    assert find_origin(train, [train, val], final.T) is None
    train.index = 1
    assert find_origin(train, [train, val], final.T).other_phase == "val"
