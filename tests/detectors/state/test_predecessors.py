"""Sequences are known again in a later epoch, and whether another one came before."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.state.predecessors import PREDECESSORS, Predecessors

ROWS, STEPS, BATCHES = 4, 7, 12
STREAM = np.random.default_rng(0).integers(0, 9, (ROWS, BATCHES * STEPS))


def chunks():
    return [STREAM[:, t : t + STEPS] for t in range(0, STREAM.shape[1], STEPS)]


def play(epochs, batch_axis=0, given=lambda rows: (rows, rows)):
    """The share of moved rows of each compared batch, in these epochs of batches."""
    detector, shares = Predecessors(), []
    detector.start(batch_axis)
    for epoch, batches in enumerate(epochs, start=1):
        for index, rows in enumerate(batches, start=1):
            moved = detector.add(Batch(given(rows), "train", index), epoch, ROWS)
            if moved is not None:
                shares.append(float(moved.mean()))
    return shares


def shuffled(batches, seed):
    return [batches[place] for place in np.random.default_rng(seed).permutation(len(batches))]


def reshuffled_rows(seed):
    rows = np.concatenate(chunks())
    return list(rows[np.random.default_rng(seed).permutation(len(rows))].reshape(BATCHES, ROWS, STEPS))


def test_in_a_stream_nothing_moves():
    assert play([chunks()] * 3) == [0.0] * PREDECESSORS.compared_batches


@pytest.mark.parametrize(
    "given", [lambda rows: (rows, rows), lambda rows: {"x": list(rows.T)}, lambda rows: {"x": rows[:, :, None] / 2}]
)
def test_shuffled_batches_move_in_every_layout(given):
    shares = play([shuffled(chunks(), 1), shuffled(chunks(), 2)], batch_axis=None, given=given)
    assert len(shares) == PREDECESSORS.compared_batches
    assert np.mean(shares) > 0.7


def test_rows_that_are_put_into_other_batches_move():
    assert np.mean(play([reshuffled_rows(1), reshuffled_rows(2)])) > 0.7


def test_new_sequences_and_those_that_come_often_are_not_compared():
    fresh = [np.random.default_rng(seed).integers(0, 9, (ROWS, STEPS)) for seed in range(BATCHES)]
    assert play([chunks(), fresh]) == []
    assert play([[np.zeros((ROWS, STEPS))] * 5] * 2) == []


def test_nothing_is_kept_before_the_start_and_in_a_very_long_epoch():
    detector = Predecessors()
    assert detector.add(Batch((STREAM, STREAM), "train", 1), 1, ROWS) is None
    detector.start(0)
    for index in range(PREDECESSORS.batches + 3):
        detector.add(Batch((STREAM + index, None), "train", index + 1), 1, ROWS)
    assert not detector.tracking


def test_a_row_is_known_again_whatever_its_padding():
    words, rng = [[3, 1], [2, 5, 4], [7, 1, 1, 2], [6], [5, 5, 2, 8, 1], [9, 2]], np.random.default_rng(0)
    detector, moved = Predecessors(), []
    detector.start(batch_axis=1)
    for epoch in (1, 2):
        order = [0, 1, 2, 3, 4, 5] if epoch == 1 else [0, 1, 3, 2, 4, 5]
        for index in range(3):
            chosen = [words[place] for place in order[2 * index :][:2]]
            padded = np.zeros((max(map(len, chosen)) + int(rng.integers(3)), 2), dtype=int)
            for column, word in enumerate(chosen):
                padded[: len(word), column] = word
            moved.append(detector.add(Batch((padded, None), "train", index + 1), epoch, rows=2))
    assert [one.tolist() for one in moved if one is not None] == [[True, True], [True, True]]


@pytest.mark.parametrize("size", [1, 3])
def test_indices_stand_for_inputs_that_are_not_shown(size):
    order, found = Predecessors(), []
    order.start(batch_axis=None)
    for epoch in (1, 2):
        places = np.random.default_rng(epoch).permutation(12).reshape(-1, size)
        for index, place in enumerate(places, start=1):
            data = place if size > 1 else int(place[0])
            found.append(order.add(Batch(data, "train", index), epoch, rows=size))
    moved = [one for one in found if one is not None]
    assert sum(one.sum() for one in moved) > 0.7 * sum(map(len, moved)) > 0
