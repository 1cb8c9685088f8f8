"""Tokens of batches in every layout: sequences in rows, padding marked, and batches joined as they belong together."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.progress.dependence import MISSING
from rnncallbacks.detectors.progress.token_pairs import NO_BATCH_AXIS, NOT_SHOWN, NOT_TOKENS, TokenPairs, tokens_of
from rnncallbacks.rnn.data.batches import SequenceBatch

STEPS, ROWS = 5, 3
INPUTS = np.arange(STEPS * ROWS).reshape(STEPS, ROWS)


def batch(data, sequences=ROWS, **given):
    return Batch(data=data, phase="train", index=1, sequences=sequences, **given)


def test_sequences_are_in_rows_whatever_the_layout():
    for data in (SequenceBatch(INPUTS, INPUTS + 1), (INPUTS.T, INPUTS.T + 1), (INPUTS.astype(float), INPUTS + 1.0)):
        inputs, targets = tokens_of(batch(data))
        np.testing.assert_array_equal(inputs, INPUTS.T)
        np.testing.assert_array_equal(targets, INPUTS.T + 1)


def test_padding_is_marked_in_inputs_and_targets():
    mask = np.ones((STEPS, ROWS), dtype=bool)
    mask[3:, 1] = False
    inputs, targets = tokens_of(batch(SequenceBatch(INPUTS, INPUTS, mask)))
    assert (inputs == MISSING).sum() == (targets == MISSING).sum() == 2
    assert (inputs[1, 3:] == MISSING).all()


@pytest.mark.parametrize(
    ("data", "sequences", "reason"),
    [
        (7, ROWS, NOT_SHOWN),
        ((INPUTS, INPUTS), None, NO_BATCH_AXIS),
        ((INPUTS + 0.5, INPUTS), ROWS, NOT_TOKENS),
        ((np.zeros((STEPS, ROWS, 2)), INPUTS), ROWS, NOT_TOKENS),
    ],
)
def test_the_reason_why_there_are_none(data, sequences, reason):
    pairs = TokenPairs()
    assert pairs.add(batch(data, sequences)) == reason
    assert (pairs.pairs, pairs.batches) == (0, 0)


def test_independent_batches_are_joined_along_the_batch_and_padded():
    pairs = TokenPairs()
    for steps in (5, 3):
        assert pairs.add(batch(SequenceBatch(INPUTS[:steps], INPUTS[:steps]))) == ""
    inputs, targets, groups = pairs.joined()
    assert (inputs.shape, targets.shape, groups) == ((2 * ROWS, STEPS), (2 * ROWS, STEPS), None)
    assert (pairs.pairs, pairs.batches) == (8 * ROWS, 2)
    assert (inputs[ROWS:, 3:] == MISSING).all()


def test_contiguous_batches_are_joined_along_time_and_numbered():
    pairs = TokenPairs()
    for steps in (5, 3):
        pairs.add(batch(SequenceBatch(INPUTS[:steps], INPUTS[:steps]), entering_state=np.ones(1)))
    inputs, targets, groups = pairs.joined()
    assert inputs.shape == targets.shape == (ROWS, 8)
    assert groups.tolist() == [0] * 5 + [1] * 3


def test_targets_of_whole_sequences():
    pairs = TokenPairs()
    for _ in range(2):
        pairs.add(batch(SequenceBatch(INPUTS, np.arange(ROWS)), entering_state=np.ones(1)))
    inputs, targets, groups = pairs.joined()
    assert (inputs.shape, targets.shape, groups) == ((2 * ROWS, STEPS), (2 * ROWS,), None)
