"""Gradients that add up are found in the gradients alone, and those that only resemble each other are not."""

import numpy as np
import pytest

from rnncallbacks.detectors.gradient.gradient_history import (
    GRADIENT_HISTORY,
    GradientHistory,
    sample_entries,
)
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD, Adam
from rnncallbacks.testing.setups import healthy

JUDGED, ENTRIES = GRADIENT_HISTORY.checked_batches, GRADIENT_HISTORY.sampled_entries


def train(seed, optimizer, rate, *, summed, batches=None, vocab=27):
    """The first gradients of a network, each plus all before it if ``summed``; the batches after which it was found."""
    loader = healthy("characters", "tanh", "sgd", seed, "loop").train if batches is None else batches
    model = RecurrentModel(32, vocab_size=vocab, seed=seed)
    optimizer.bind(model.parameters)
    history, total, found = GradientHistory(), np.zeros_like(model.gradients.flat), []
    for number, batch in zip(range(1, JUDGED[-1] + 1), loader, strict=False):
        loss, _ = model.forward(batch, model.zero_state(batch.size))
        gradients = model.backward()
        if summed:
            gradients.flat += total
            total[:] = gradients.flat
        history.add(loss, gradients.values(), list(model.parameters.values()))
        if history.contains_sums:
            found.append(number)
        optimizer.step(gradients, rate)
    return history, found


@pytest.mark.parametrize(("optimizer", "rate"), [(SGD, 0.1), (Adam, 1e-3)])
def test_most_sums_are_found_within_sixteen_batches(optimizer, rate):
    found = [train(seed, optimizer(), rate, summed=True)[1] for seed in range(8)]
    assert sum(bool(batches) for batches in found) >= 6
    assert any(set(batches) & set(JUDGED) for batches in found)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("optimizer", "rate"), [(SGD, 0.1), (SGD, 1.0), (Adam, 1e-2)])
def test_fresh_gradients_are_not(seed, optimizer, rate):
    assert train(seed, optimizer(), rate, summed=False)[1] == []


def single_rows(seed, vocab=60, length=10):
    generator = np.random.default_rng(seed)
    for _ in range(JUDGED[-1]):
        tokens = generator.integers(vocab, size=(length + 1, 1))
        yield SequenceBatch(tokens[:-1], tokens[1:])


@pytest.mark.parametrize("seed", range(3))
def test_entries_of_tokens_that_a_batch_lacks_give_a_sum_away_at_once(seed):
    history, found = train(seed, SGD(), 1.0, summed=True, batches=single_rows(seed), vocab=60)
    assert found[0] == 4
    assert history.unchanged_share > 0.02
    assert train(seed, SGD(), 1.0, summed=False, batches=single_rows(seed), vocab=60)[1] == []


def test_the_derivative_of_a_penalty_on_resting_weights_is_no_sum():
    generator = np.random.default_rng(0)
    weights = generator.normal(size=200)
    history = GradientHistory()
    for _ in range(12):
        gradient = 1e-4 * weights
        gradient[:100] += generator.normal(size=100)
        history.add(1.0, [gradient], [weights])
        weights[:100] -= 0.1 * gradient[:100]
    assert not history.contains_sums


def test_nothing_is_concluded_where_the_loss_rises_as_norms_do():
    step = np.random.default_rng(0).normal(size=300)
    for rises in (False, True):
        history = GradientHistory()
        for number in range(1, 13):
            history.add(float(number) if rises else 1.0, [number * step + 1e-3 * number], [])
        assert history.contains_sums is not rises


def test_large_gradients_are_sampled_evenly():
    arrays = [np.arange(3 * ENTRIES, dtype=np.float32).reshape(3, ENTRIES), np.ones(10)]
    taken = sample_entries(arrays)
    assert ENTRIES / 2 < taken.size <= ENTRIES + 2
    assert taken[1] - taken[0] == taken[101] - taken[100] == 5.0
    assert sample_entries([]).size == 0


@pytest.mark.parametrize(("batches_of_update", "expected"), [(1, True), (2, False), (4, False)])
def test_sums_over_batches_without_an_update_are_on_purpose(batches_of_update, expected):
    generator = np.random.default_rng(0)
    history, params, common = GradientHistory(), np.zeros(50), generator.normal(size=50)
    total = np.zeros(50)
    for batch in range(1, 13):
        total = total + common + 0.3 * generator.normal(size=50)
        history.add(1.0, [total], [params])
        if batch % batches_of_update == 0:
            params = params - 0.01 * total
    assert history.contains_sums == expected


@pytest.mark.parametrize(("summed", "found"), [(False, False), (True, True)])
def test_clipped_sums_that_turn_are_known_by_increments_that_are_alike(summed, found):
    generator = np.random.default_rng(1)
    slopes, history, total = generator.normal(size=(2, 300)), GradientHistory(), np.zeros(300)
    for number in range(16):
        # The slope turns as the weights do, by a full circle in 20 batches.
        turning = np.cos(0.3 * number) * slopes[0] + np.sin(0.3 * number) * slopes[1]
        fresh = turning + generator.normal(size=300)
        total = total + fresh if summed else fresh
        history.add(1.0, [total])
    assert history.contains_sums is found
