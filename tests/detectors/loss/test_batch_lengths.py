"""Lengths of batches in the layouts of loaders, and what targets say of an untrained network's loss."""

import math

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.batch_lengths import BatchLengths

SIZE, STEPS, VOCAB = 4, 6, 5
TOKENS = np.arange(SIZE * (STEPS + 1)).reshape(SIZE, STEPS + 1) % VOCAB


def batch(data, **given):
    return Batch(data, "train", 1, **given)


@pytest.mark.parametrize(
    "data",
    [
        (TOKENS[:, :-1], TOKENS[:, 1:]),
        {"inputs": TOKENS[:, :-1], "targets": TOKENS[:, 1:]},
        (TOKENS[:, :-1].tolist(), TOKENS[:, 1:].tolist()),
        TOKENS[:, :-1],
        (TOKENS[:, :-1], TOKENS[::-1, :-1]),
    ],
    ids=["pair", "mapping", "lists", "an array", "no order of axes"],
)
def test_sequences_steps_and_tokens(data):
    assert BatchLengths().read(batch(data)) == (SIZE, STEPS, SIZE * STEPS)


def test_what_the_script_gives_counts_where_nothing_is_shown():
    lengths = BatchLengths()
    assert lengths.read(batch(7)) == (None, None, None)
    assert lengths.read(batch(7, sequences=3)) == (3, None, None)
    assert lengths.read(batch(7, sequences=3, tokens=60)) == (3, None, 60)


def test_the_loss_of_an_untrained_network():
    lengths = BatchLengths()
    assert (lengths.vocab_size("train"), lengths.uniform_loss("train")) == (None, None)
    lengths.read(batch((TOKENS[:, :-1], TOKENS[:, 1:])))
    assert lengths.vocab_size("train") == VOCAB
    assert lengths.uniform_loss("train") == pytest.approx(math.log(VOCAB))
    assert lengths.uniform_loss("val") is None
    numbers = np.random.default_rng(0).normal(size=(SIZE, STEPS, 2))
    regression = BatchLengths()
    regression.read(batch((numbers, numbers), batch_size=SIZE))
    assert regression.uniform_loss("train") == pytest.approx(np.mean(numbers**2))


def test_arrays_of_a_known_shape_are_read_in_the_first_batches_only():
    class Data:
        reads = 0
        inputs = np.zeros((STEPS, SIZE), dtype=int)

        @property
        def targets(self):
            Data.reads += 1
            return self.inputs

    lengths = BatchLengths(batches_read=2)
    counts = []
    for _ in range(5):
        before = Data.reads
        assert lengths.read(batch(Data(), batch_size=SIZE)) == (SIZE, STEPS, SIZE * STEPS)
        counts.append(Data.reads - before)
    assert counts[0] == counts[1] > counts[2] == counts[4]
