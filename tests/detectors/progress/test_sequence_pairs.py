"""Inputs and targets in every layout: sequences in rows, padding marked, and batches joined as they belong together."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.progress.dependence import MISSING_TOKEN
from rnncallbacks.detectors.progress.sequence_pairs import NO_BATCH_AXIS, NOT_PAIRS, NOT_SHOWN, SequencePairs, pairs_of
from rnncallbacks.rnn.data.batches import SequenceBatch

STEPS, ROWS = 5, 3
INPUTS = np.arange(STEPS * ROWS).reshape(STEPS, ROWS)


def batch(data, sequences=ROWS, **given):
    return Batch(data=data, phase="train", index=1, sequences=sequences, **given)


def test_sequences_are_in_rows_whatever_the_layout():
    for data in (SequenceBatch(INPUTS, INPUTS + 1), (INPUTS.T, INPUTS.T + 1), (INPUTS.astype(float), INPUTS + 1.0)):
        inputs, targets, _ = pairs_of(batch(data))
        np.testing.assert_array_equal(inputs, INPUTS.T)
        np.testing.assert_array_equal(targets, INPUTS.T + 1)


def test_padding_is_marked_in_inputs_and_targets():
    mask = np.ones((STEPS, ROWS), dtype=bool)
    mask[3:, 1] = False
    inputs, targets, _ = pairs_of(batch(SequenceBatch(INPUTS, INPUTS, mask)))
    assert (inputs == MISSING_TOKEN).sum() == (targets == MISSING_TOKEN).sum() == 2
    assert (inputs[1, 3:] == MISSING_TOKEN).all()


def test_a_class_of_each_step_may_have_an_axis_of_its_own():
    _, targets, _ = pairs_of(batch((INPUTS.T, INPUTS.T[:, :, None])))
    np.testing.assert_array_equal(targets, INPUTS.T)


def test_whole_numbers_as_features_are_no_tokens():
    counts = np.arange(2 * STEPS * ROWS).reshape(STEPS, ROWS, 2) % 3
    pairs = SequencePairs()
    assert pairs.add(batch((counts, np.array([0, 1, 2])))) == ""
    assert (pairs.inputs[0].shape, pairs.tokens) == ((ROWS, STEPS, 2), False)


def test_a_one_hot_target_of_each_sequence_is_a_class():
    _, targets, _ = pairs_of(batch((INPUTS, np.eye(7, dtype=int)[[4, 0, 6]])))
    assert targets.tolist() == [4, 0, 6]


@pytest.mark.parametrize(
    ("data", "sequences", "reason"),
    [
        (7, ROWS, NOT_SHOWN),
        ((INPUTS, np.arange(2)), None, NO_BATCH_AXIS),
        ((INPUTS, np.arange(2)), ROWS, NOT_PAIRS),
        ((np.zeros((STEPS, ROWS, 2, 2)), INPUTS), ROWS, NOT_PAIRS),
        ((INPUTS, np.ones((ROWS, 7))), ROWS, NOT_PAIRS),
    ],
)
def test_the_reason_why_there_are_none(data, sequences, reason):
    pairs = SequencePairs()
    assert pairs.add(batch(data, sequences)) == reason
    assert (pairs.pairs, pairs.batches) == (0, 0)


def test_independent_batches_are_joined_along_the_batch_and_padded():
    pairs = SequencePairs()
    for steps in (5, 3):
        assert pairs.add(batch(SequenceBatch(INPUTS[:steps], INPUTS[:steps]))) == ""
    inputs, targets, groups = pairs.joined()
    assert (inputs.shape, targets.shape, groups) == ((2 * ROWS, STEPS), (2 * ROWS, STEPS), None)
    assert (pairs.pairs, pairs.batches) == (8 * ROWS, 2)
    assert (inputs[ROWS:, 3:] == MISSING_TOKEN).all()


def test_contiguous_batches_are_joined_along_time_and_numbered():
    pairs = SequencePairs()
    for steps in (5, 3):
        pairs.add(batch(SequenceBatch(INPUTS[:steps], INPUTS[:steps]), entering_state=np.ones(1)))
    inputs, targets, groups = pairs.joined()
    assert inputs.shape == targets.shape == (ROWS, 8)
    assert groups.tolist() == [0] * 5 + [1] * 3


def test_targets_of_whole_sequences():
    pairs = SequencePairs()
    for _ in range(2):
        pairs.add(batch(SequenceBatch(INPUTS, np.arange(ROWS)), entering_state=np.ones(1)))
    inputs, targets, groups = pairs.joined()
    assert (inputs.shape, targets.shape, groups) == ((2 * ROWS, STEPS), (2 * ROWS,), None)


def test_real_numbers_are_cut_to_the_shortest_and_one_output_a_sequence_may_lie_on_any_axis():
    features = np.arange(STEPS * ROWS * 2).reshape(STEPS, ROWS, 2) + 0.5
    pairs = SequencePairs()
    for steps in (5, 3):
        assert pairs.add(batch((features[:steps], features[:steps]))) == ""
    assert [array.shape for array in pairs.joined()[:2]] == [(2 * ROWS, 3, 2)] * 2
    for target in (np.ones((ROWS, 1)) / 2, np.ones((1, ROWS)) / 2):
        assert pairs_of(batch((features, target)))[1].shape == (ROWS, 1)


def test_an_axis_of_time_that_is_not_known_leaves_the_axes_as_they_are():
    pairs = SequencePairs()
    assert pairs.add(batch((INPUTS, INPUTS[::-1]), sequences=None)) == ""
    assert not pairs.axis_known
    assert pairs.joined()[0].shape == (STEPS, ROWS)
    assert pairs.joined(transposed=True)[0].shape == (ROWS, STEPS)


def test_rows_that_come_again_in_a_later_epoch_are_left_out():
    generator, pairs = np.random.default_rng(0), SequencePairs()
    rows = generator.integers(0, 9, (12, STEPS))
    for later in (False, True):
        order = generator.permutation(12)
        for first in range(0, 12, ROWS):
            chosen = rows[order[first : first + ROWS]]
            pairs.add(batch((chosen, chosen)), later_epoch=later)
    assert pairs.pairs == rows.size
    pairs.add(batch((rows[:ROWS] + 9, rows[:ROWS])), later_epoch=True)
    assert pairs.pairs == rows.size + ROWS * STEPS


def test_a_batch_of_bits_that_are_one_hot_by_chance_is_left_out():
    bits = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    pairs = SequencePairs()
    for inputs in (bits, np.eye(2)[[0, 1, 1, 0]], bits[::-1]):
        assert pairs.add(batch((inputs, np.array([1.0, 0.0, 0.0, 1.0])), sequences=1)) == ""
    assert pairs.batches == 2
    assert pairs.joined()[0].shape[0] == 2


def test_real_targets_of_sequences_of_different_lengths_are_cut_as_their_inputs_are():
    pairs = SequencePairs()
    for steps in (7, 4, 6):
        pairs.add(batch((np.arange(steps) % 3, np.linspace(0.1, 0.9, 2 * steps).reshape(steps, 2)), sequences=1))
    inputs, targets, _ = pairs.joined()
    assert (inputs.shape, targets.shape) == ((3, 4), (3, 4, 2))


def test_a_batch_with_another_number_of_features_is_left_out():
    pairs = SequencePairs()
    for rows, features in ((4, 1), (1, 4)):
        data = (np.zeros((rows, 6, features)) + 0.5, np.zeros((rows, 6, features)) + 0.5)
        assert pairs.add(Batch(data=data, phase="train", index=1)) == ""
    assert pairs.batches == 1
