"""Batches that become harder in their order show it in the epoch before, and in their targets."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.batch_difficulty import BatchDifficulty, target_statistics


def difficulty_of(*epochs, targets=lambda number: None):
    """The record of some epochs, the last of which is open."""
    found = BatchDifficulty()
    for number, losses in enumerate(epochs):
        if number:
            found.end_epoch()
        for loss in losses:
            found.add(float(loss), lambda: targets(found.batches))
    return found


def flat(level, count, seed=0):
    return level * (1.0 + 0.05 * np.random.default_rng(seed).normal(size=count))


HARDER = np.concatenate([flat(1.0, 30), flat(3.0, 30, seed=1)])


def test_losses_as_high_as_an_epoch_before_name_the_level_of_then():
    found = difficulty_of(HARDER, 0.9 * HARDER)
    assert found.level_an_epoch_before(30) == pytest.approx(3.0, rel=0.05)
    assert not found.has_risen_since(30)
    assert found.high_level_before() == pytest.approx(3.0, rel=0.1)


def test_losses_above_those_of_an_epoch_before_have_risen():
    found = difficulty_of(HARDER, 3.0 * HARDER)
    assert found.level_an_epoch_before(30) is None
    assert found.has_risen_since(30)


@pytest.mark.parametrize("epochs", [(HARDER,), (HARDER, HARDER[:10]), (HARDER[:5], HARDER)])
def test_places_that_are_not_known_tell_nothing(epochs):
    found = difficulty_of(*epochs)
    assert found.level_an_epoch_before(30) is None
    assert not found.has_risen_since(30)


def test_targets_that_grow_differ_from_those_of_the_best_batches():
    rng = np.random.default_rng(0)
    growing = difficulty_of(HARDER, targets=lambda number: (8.0, 0.1 * number, 0.01 * number**2))
    assert growing.difference_of_targets(30, 30) == "the mean of their targets is 4.6, and was 1.6"
    longer = difficulty_of(HARDER, targets=lambda number: (float(number), *rng.normal(size=2)))
    assert longer.difference_of_targets(30, 30).startswith("the number of their targets is ")


@pytest.mark.parametrize("seed", range(20))
def test_targets_of_shuffled_batches_do_not_differ(seed):
    rng = np.random.default_rng(seed)
    found = difficulty_of(HARDER, targets=lambda number: (8.0, *rng.normal(size=2)))
    assert found.difference_of_targets(30, 30) is None


def test_targets_are_looked_at_in_the_first_epoch_alone():
    seen = []
    difficulty_of(HARDER, HARDER, targets=seen.append)
    assert max(seen) <= len(HARDER)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ((np.zeros(4), np.array([[1, 2], [3, 4]])), (4.0, 2.5, 7.5)),
        (([np.zeros(2)], [np.array([1.0, 2.0]), np.array([3.0])]), (3.0, 2.0, 14 / 3)),
        ({"inputs": np.zeros(2), "targets": np.array([2, 2])}, (2.0, 2.0, 4.0)),
        (np.zeros(3), None),
        (None, None),
        ((np.zeros(3), "ab"), None),
        ((np.zeros(3), []), None),
    ],
)
def test_statistics_of_the_targets(data, expected):
    found = target_statistics(Batch(data=data, phase="train", index=1))
    assert found == (None if expected is None else pytest.approx(expected))


def test_observed_targets_come_first_and_no_function_is_called():
    batch = Batch(data=(np.zeros(3), np.zeros(3)), phase="train", index=1)
    batch.observed.add({"targets": np.array([2.0, 4.0])})
    assert target_statistics(batch) == (2.0, 3.0, 10.0)
    batch.observed.add({"targets": lambda: 1 / 0})
    assert target_statistics(batch) is None
