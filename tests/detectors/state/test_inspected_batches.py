"""Phases: which batches are inspected, what is learned of them, and what is kept for the next."""

import numpy as np

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.inspected_batches import InspectionSchedule, PhaseHistory

SCHEDULE = InspectionSchedule()
FIRST, FEW, PERIOD = SCHEDULE.first_batches, SCHEDULE.first_batches_of_many_rows, SCHEDULE.period


def inspected_numbers(phase, count, rows=0):
    """The numbers of the inspected batches, each of which has some rows."""
    numbers = []
    for number in range(1, count):
        if phase.begin(index=number, count=None):
            numbers.append(number)
            phase.keep(phase.inspect(Batch(None, "train", number, batch_size=rows)))
    return numbers


def test_which_batches_are_inspected():
    numbers = inspected_numbers(PhaseHistory("train"), 25 * PERIOD)
    assert numbers[:FIRST] == list(range(1, FIRST + 1))
    later = numbers[FIRST:]
    assert later[::2] == [PERIOD * times for times in (1, 2, 4, 8, 16, 24)]
    assert later[1::2] == [number + 1 for number in later[::2]]


def test_of_batches_with_many_rows_fewer_are_inspected():
    assert inspected_numbers(PhaseHistory("train"), PERIOD, rows=50) == list(range(1, FEW + 1))


def test_the_ends_of_epochs_are_always_inspected():
    phase = PhaseHistory("train")
    phase.number = FIRST + 1
    assert [phase.begin(index, count=4) for index in (1, 2, 3, 4)] == [True, False, False, True]


def test_what_a_phase_learns_in_its_first_batches():
    tokens = np.random.default_rng(1).integers(7, size=(40, 3))
    for layout, axis in ((tokens, 0), (tokens.T, 1)):
        phase = PhaseHistory("train")
        phase.number = 1
        x, y = (layout[:-1], layout[1:]) if axis == 0 else (layout[:, :-1], layout[:, 1:])
        phase.learn(Sequences(x, y, axis, None), None)
        assert (phase.vocab_size, phase.shift.steps) == (7, 1)
        mask = np.ones(x.shape, dtype=bool)
        phase.learn(Sequences(x, y, axis, 11), mask)
        assert (phase.vocab_size, phase.shift.agreement) == (11, 1.0)
    late = PhaseHistory("train")
    late.number = FIRST + 1
    late.learn(Sequences(x, y, 1, None), None)
    assert (late.vocab_size, late.shift.steps) == (0, None)


def test_what_is_kept_of_a_batch_is_there_for_the_next_one_only():
    phase, states = PhaseHistory("train"), np.ones((6, 2, 3))
    tokens = np.arange(12).reshape(6, 2)
    batch = Batch((tokens[:-1], tokens[1:]), "train", 1, observed={"hidden_states": states})
    phase.begin(1, None)
    current = phase.inspect(batch)
    assert (current.before, current.batch_size, current.state.known) == (None, 2, True)
    phase.keep(current)
    phase.begin(2, None)
    assert phase.adjacent is phase.latest
    assert (phase.latest.number, phase.latest.index, phase.latest.batch_size) == (1, 1, 2)
    np.testing.assert_array_equal(phase.latest.final_state, states[-1])
    phase.begin(3, None)
    assert phase.adjacent is None


def test_the_state_that_was_observed_first_stays():
    """The arrays of the states may be overwritten before the batch ends."""
    phase, states = PhaseHistory("train"), np.ones((6, 2, 3))
    batch = Batch(None, "train", 1, batch_size=2, observed={"hidden_states": states})
    phase.begin(1, None)
    phase.observe(batch)
    states[...] = 7.0
    current = phase.inspect(batch)
    assert (current.state.entering == 1.0).all()
    assert not current.zeros_enter
    assert [rows.shape for rows in current.entering_rows()] == [(2, 3)]


def test_the_loaders_starts_count_if_there_is_one_for_each_row():
    phase = PhaseHistory("train")
    current = phase.inspect(Batch(None, "train", 1, starts=np.array([True, False])))
    assert current.batch_size == 2
    assert current.new_sequences(2).tolist() == [True, False]
    assert current.new_sequences(3) is None
    assert (current.zeros_enter, current.entering_rows()) == (True, [])


def test_with_as_many_sequences_as_time_steps_the_batch_size_needs_no_axis():
    states = [np.zeros((6, 4))] * 7
    for inputs, size in ((np.zeros((6, 6, 2)), 6), (np.zeros((6, 6), int), 6), (np.zeros((6, 6)), None)):
        phase = PhaseHistory("train")
        phase.begin(1, None)
        observed = {"inputs": inputs, "targets": inputs, "hidden_states": states}
        assert phase.inspect(Batch(None, "train", 1, observed=observed)).batch_size == size
