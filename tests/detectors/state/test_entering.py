"""Transitions: with whose final state a batch enters, row by row, and which batches are looked at."""

import numpy as np
import pytest

from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.entering import EACH, ENOUGH, PERIOD, Look, Phase, transition
from rnncallbacks.detectors.state.stream import edges_of

HIDDEN, ROWS, SEQ_LEN = 5, 3, 4
rng = np.random.default_rng(0)


def look(serial, final, mask=None):
    tokens = rng.integers(9, size=(SEQ_LEN, ROWS))
    return Look(serial, serial, edges_of(Sequences(tokens, tokens, 0, None), mask), final, ROWS)


def phase(name="train", serial=4, before=None, carried=None):
    return Phase(name, serial=serial, before=before, carried=carried)


def test_the_batch_before_ended_with_it():
    final = rng.normal(size=(HIDDEN, ROWS))
    found = transition(phase(before=look(3, final)), [], final.T)
    assert (found.other, found.rows.tolist()) == (None, [True] * ROWS)
    assert found.rms == pytest.approx(np.sqrt(np.mean(final**2)))


def test_rows_that_were_reset_are_not_carried_over():
    final = rng.normal(size=(HIDDEN, ROWS))
    entering = final.T.copy()
    entering[1] = 0.0
    found = transition(phase(before=look(3, final)), [], entering)
    assert found.rows.tolist() == [True, False, True]
    assert found.rms == pytest.approx(np.sqrt(np.mean(entering[[0, 2]] ** 2)))


def test_a_state_of_nobodys_was_set_on_purpose():
    before = look(3, rng.normal(size=(HIDDEN, ROWS)))
    other = rng.normal(size=(ROWS, HIDDEN))
    assert transition(phase(before=before), [], other) is None
    # Not even if the run carried it: the hidden states show with what the batch ended.
    assert transition(phase(before=before, carried=other), [], other) is None
    assert transition(phase(), [], other) is None


def test_without_hidden_states_what_the_run_carried_is_the_final_state():
    carried = rng.normal(size=(HIDDEN, ROWS))
    assert transition(phase(before=look(3, None), carried=carried), [], carried.T).rows.all()


def test_with_padding_what_the_run_carried_counts_too():
    final, carried = rng.normal(size=(HIDDEN, ROWS)), rng.normal(size=(HIDDEN, ROWS))
    carried[:, 0] = final[:, 0]
    mask = np.ones((SEQ_LEN, ROWS), dtype=bool)
    mask[-1, 1:] = False
    assert transition(phase(before=look(3, final, mask), carried=carried), [], carried.T).rows.all()
    unpadded = transition(phase(before=look(3, final), carried=carried), [], carried.T)
    assert unpadded.rows.tolist() == [True, False, False]


def test_a_batch_that_was_not_looked_at_leaves_a_gap():
    final = rng.normal(size=(HIDDEN, ROWS))
    assert transition(phase(serial=5, before=look(3, final)), [], final.T) is None


def test_another_phase_ended_with_it():
    final = rng.normal(size=(HIDDEN, ROWS))
    val = phase("val", before=look(2, final), serial=2)
    train = phase(before=look(3, rng.normal(size=(HIDDEN, ROWS))))
    found = transition(train, [train, val], final.T)
    assert (found.other, found.rows.all(), found.before) == ("val", True, val.before)


def test_another_phase_is_not_held_responsible_where_the_batch_before_was_not_looked_at():
    final = np.ones((HIDDEN, ROWS))
    val = phase("val", before=look(2, final), serial=2)
    train = phase(before=look(3, final), serial=9)
    train.index = 7
    assert transition(train, [train, val], final.T) is None
    train.index = 1
    assert transition(train, [train, val], final.T).other == "val"


def test_which_batches_are_looked_at():
    one = Phase("train")
    due = []
    for serial in range(1, 10 * PERIOD):
        one.begin(index=serial, count=None)
        if one.due:
            due.append(serial)
    assert due[:EACH] == list(range(1, EACH + 1))
    later = due[EACH:]
    assert later[::2] == [serial for serial in range(PERIOD, 10 * PERIOD, PERIOD) if serial > EACH]
    assert later[1::2] == [serial + 1 for serial in later[::2]]


def test_of_batches_with_many_rows_fewer_are_looked_at():
    one = Phase("train")
    due = []
    for serial in range(1, PERIOD):
        one.begin(index=serial, count=None)
        if one.due:
            due.append(serial)
            one.rows += 50
    assert due == list(range(1, ENOUGH + 1))


def test_the_ends_of_epochs_are_always_looked_at():
    one = Phase("train", serial=EACH + 1)
    for index, due in ((1, True), (2, False), (3, False), (4, True)):
        one.begin(index, count=4)
        assert one.due == due


def test_what_a_phase_learns_in_its_first_batches():
    tokens = np.random.default_rng(1).integers(7, size=(40, 3))
    for layout, axis in ((tokens, 0), (tokens.T, 1)):
        one = Phase("train", serial=1)
        x, y = (layout[:-1], layout[1:]) if axis == 0 else (layout[:, :-1], layout[:, 1:])
        one.learn(Sequences(x, y, axis, None), None)
        assert (one.vocab_size, one.shift.steps) == (7, 1)
        mask = np.ones(x.shape, dtype=bool)
        one.learn(Sequences(x, y, axis, 11), mask)
        assert (one.vocab_size, one.shift.share) == (11, 1.0)
    late = Phase("train", serial=EACH + 1)
    late.learn(Sequences(x, y, 1, None), None)
    assert (late.vocab_size, late.shift.steps) == (0, None)
