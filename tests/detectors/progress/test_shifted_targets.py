"""Targets that are the inputs of another step than the next one."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.progress.shifted_targets import SHIFTED_TARGETS, ShiftedTargets
from rnncallbacks.rnn.data.batches import SequenceBatch


def play(shift, *, steps=9, rows=3, vocab_size=5, lag=None, batches=SHIFTED_TARGETS.batches):
    """What is found in batches whose targets are ``shift`` steps ahead of the inputs, or ``lag`` steps behind them."""
    detector, found = ShiftedTargets(), []
    for number in range(batches):
        tokens = np.random.default_rng(number).integers(0, vocab_size, (steps + 4, rows))
        targets = tokens[shift : shift + steps] if lag is None else np.roll(tokens[:steps], lag, axis=0)
        data = SequenceBatch(tokens[:steps], targets)
        found.append(detector.add_batch(Batch(data=data, phase="train", index=number + 1, sequences=rows)).finding)
    return found


@pytest.mark.parametrize(
    ("shift", "where"), [(0, "the inputs of the same step"), (2, "2 steps ahead"), (3, "3 steps ahead")]
)
def test_a_wrong_shift_is_named_after_five_batches(shift, where):
    *before, finding = play(shift)
    assert before == [None] * (SHIFTED_TARGETS.batches - 1)
    assert (finding.code, finding.evidence["target_shift"]) == ("RNN603", shift)
    assert where in finding.message.partition(":")[0]


@pytest.mark.parametrize("healthy", [{"shift": 1}, {"shift": 2, "vocab_size": 1}, {"shift": 0, "lag": 2}])
def test_other_targets_are_left_alone(healthy):
    assert play(**healthy, batches=10) == [None] * 10
