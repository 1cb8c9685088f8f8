"""Batches of a stream are told from batches that were shuffled."""

import numpy as np
import pytest

from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.shuffling import BatchOrder

STEPS, ROWS, VOCAB = 10, 6, 12


def stream(batches, *, rows=ROWS, lag=1):
    """Chunks of one long text, and what comes ``lag`` steps later."""
    text = np.random.default_rng(0).integers(0, VOCAB, (batches * STEPS + lag, rows))
    return [(text[n : n + STEPS], text[n + lag : n + lag + STEPS]) for n in range(0, batches * STEPS, STEPS)]


def shuffled(batches, *, rows=ROWS, lag=1):
    generator = np.random.default_rng(1)
    pairs = [generator.integers(0, VOCAB, (STEPS + lag, rows)) for _ in range(batches)]
    return [(text[:STEPS], text[lag:]) for text in pairs]


def check(pairs, *, time_axis=0, mask=None):
    order = BatchOrder()
    for x, y in pairs:
        x, y = (x, y) if time_axis == 0 else (x.T, y.T)
        order.add(Sequences(x, y, time_axis, VOCAB), mask)
    return order.shuffled, order.contiguous


@pytest.mark.parametrize("time_axis", [0, 1])
@pytest.mark.parametrize("rows", [1, 2, 16])
@pytest.mark.parametrize("lag", [1, 3])
def test_pieces_of_a_stream_are_related_and_shuffled_ones_are_not(time_axis, rows, lag):
    assert check(stream(20, rows=rows, lag=lag), time_axis=time_axis) == (False, True)
    assert check(shuffled(20, rows=rows, lag=lag), time_axis=time_axis) == (True, False)


def test_a_mask_takes_padding_out():
    mask = np.ones((STEPS, ROWS), dtype=bool)
    mask[-2:] = False
    assert check(shuffled(20), mask=mask) == (True, False)


def test_little_is_not_enough():
    assert check(stream(3)) == (False, False)
    assert check(shuffled(2, rows=1)) == (False, False)


def test_targets_that_have_nothing_to_do_with_inputs_tell_nothing():
    generator = np.random.default_rng(2)
    pairs = [(x, generator.integers(0, VOCAB, x.shape)) for x, _ in stream(20)]
    assert check(pairs) == (False, False)


def test_without_inputs_or_their_axis_of_time_nothing_is_known():
    order = BatchOrder()
    for _ in range(20):
        order.add(Sequences(None, None, None, None), None)
        order.add(Sequences(np.zeros((4, 4), dtype=int), None, None, None), None)
    assert (order.shuffled, order.contiguous) == (False, False)


def test_one_label_for_each_sequence_makes_it_one_by_itself():
    generator = np.random.default_rng(3)
    order = BatchOrder()
    for _ in range(6):
        tokens = generator.integers(0, VOCAB, (STEPS, ROWS))
        order.add(Sequences(tokens, generator.integers(0, 2, ROWS), 0, 2), None)
    assert order.shuffled


def alike(pairs):
    order = BatchOrder()
    for x, y in pairs:
        order.add(Sequences(x, y, 0, VOCAB), None)
    return order.neighbors_similar


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("rows", [1, 16])
def test_shuffled_batches_are_not_alike(seed, rows):
    generator = np.random.default_rng(seed)
    # Tokens of very different frequency, and each row with tokens of its own.
    shares = [generator.dirichlet(np.full(VOCAB, 0.3)) for _ in range(40 * rows)]
    x = np.stack([generator.choice(VOCAB, STEPS, p=one) for one in shares], axis=1).reshape(STEPS, 40, rows)
    assert not alike([(x[:, n], x[:, n]) for n in range(40)])


def test_batches_that_are_sorted_or_overlap_or_come_from_the_same_document_are_alike():
    generator = np.random.default_rng(0)
    text = generator.integers(0, VOCAB, 1000)
    windows = [np.stack([text[n + row : n + row + STEPS] for row in range(ROWS)], axis=1) for n in range(0, 240, 3)]
    assert alike([(x, x[-1]) for x in windows])
    by_label = np.sort(generator.integers(0, 4, 60 * ROWS)).reshape(60, ROWS)
    assert alike([(generator.integers(0, VOCAB, (STEPS, ROWS)), labels) for labels in by_label])
    documents = np.repeat([generator.dirichlet(np.full(VOCAB, 0.5)) for _ in range(8)], 10, axis=0)
    assert alike([(x, x) for x in (generator.choice(VOCAB, (STEPS, ROWS), p=one) for one in documents)])


def test_numbers_that_are_no_tokens_tell_nothing_of_it():
    generator = np.random.default_rng(0)
    assert alike(
        [(generator.normal(size=(STEPS, ROWS, 2)), generator.normal(size=(STEPS, ROWS, 1))) for _ in range(40)]
    )
    assert BatchOrder().neighbors_similar
