"""Counts that a loss may be summed over: named, where the axes are known, without padding."""

import numpy as np

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.summation_counts import summation_counts

STEPS, SIZE = 12, 4
TOKENS = np.random.default_rng(0).integers(9, size=(STEPS, SIZE))


def test_time_steps_sequences_and_positions():
    assert summation_counts(Batch((TOKENS, TOKENS), "train", 1, batch_size=SIZE)) == {
        "the number of time steps": 12.0,
        "the batch size": 4.0,
        "the number of positions": 48.0,
    }


def test_padding_is_no_token():
    targets = TOKENS.copy()
    targets[9:, 1] = -1
    counts = summation_counts(Batch((TOKENS, targets), "train", 1, batch_size=SIZE))
    assert counts["the tokens that count"] == 45.0
    assert counts["the tokens of a sequence"] == 45 / 4
    assert counts["the tokens of a time step"] == 45 / 12


def test_without_an_order_of_axes_they_are_numbered():
    unrelated = np.random.default_rng(1).integers(9, size=(STEPS, SIZE))
    counts = summation_counts(Batch((TOKENS, unrelated), "train", 1))
    assert counts["the length of axis 0 of the inputs"] == 12.0
    assert counts["the number of positions"] == 48.0


def test_counts_of_one_are_left_out():
    assert summation_counts(Batch((TOKENS[:, :1], TOKENS[:, :1]), "train", 1, batch_size=1)) == {
        "the number of time steps": 12.0,
        "the number of positions": 12.0,
    }
    assert summation_counts(Batch(7, "train", 1)) == {}
