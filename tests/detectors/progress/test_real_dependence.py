"""Dependence of real targets, and of classes on real inputs: what depends is found, what is shuffled is not."""

import numpy as np
import pytest

from rnncallbacks.detectors.progress.real_dependence import dependence_within_sequences, strongest_real_dependence

N, STEPS = 400, 12


def draw(seed=0, features=1):
    return np.random.default_rng(seed).random((N, STEPS, features))


def adding():
    marked = draw(features=2)
    marked[:, :, 1] = np.random.default_rng(1).permuted(np.tile(np.arange(STEPS) < 2, (N, 1)), axis=1)
    return marked, (marked[:, :, 0] * marked[:, :, 1]).sum(axis=1)


def frequency():
    """The class is the frequency of a sine with a random phase: no entry shows it alone."""
    generator = np.random.default_rng(2)
    label = generator.integers(0, 3, N)
    wave = np.sin(generator.uniform(0, 6.3, N) + (0.3 + 0.5 * label) * np.arange(STEPS)[:, None]).T
    return wave[:, :, None], label


def signs():
    values = np.sign(draw(3) - 0.5)
    return values + np.random.default_rng(4).normal(0, 0.05, values.shape), values.prod(axis=1)


DEPENDENT = {
    "the sum of two marked numbers": adding(),
    "a frequency": frequency(),
    "the product of all signs": signs(),
    "the largest so far": (draw(), np.maximum.accumulate(draw(), axis=1)),
    "the input three steps before": (draw()[:, 3:], draw()[:, :-3] + 0.1),
    "the square of the input": (draw() - 0.5, (draw() - 0.5) ** 2),
    "a share of tokens": (
        np.arange(N * 10).reshape(N, 10) ** 2 % 7 % 5,
        (np.arange(N * 10).reshape(N, 10) ** 2 % 7 % 5 == 2).mean(axis=1),
    ),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_a_dependence_is_found_and_lost_by_shuffling(name):
    inputs, targets = DEPENDENT[name]
    assert strongest_real_dependence(inputs, targets).z > 8.0
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(N)
        assert strongest_real_dependence(inputs, targets[order]).z < 4.0


def test_smooth_series_that_do_not_belong_together_do_not_depend():
    """Within a series all steps are alike, so that each series counts once."""
    generator = np.random.default_rng(5)
    waves = np.sin(generator.uniform(0, 6, (2, 60, 1, 1)) + 0.3 * np.arange(40)[:, None])
    assert strongest_real_dependence(waves[0], waves[1]).z < 4.0


def test_few_sequences_detect_nothing():
    found = strongest_real_dependence(draw()[:20], draw(1)[:20])
    assert (found.z < 4.0, found.detectable_association) == (True, 1.0)


def test_the_product_of_three_signs_is_found_in_300_sequences():
    signs = np.random.default_rng(3).choice([-1.0, 1.0], (300, 5, 1))
    assert strongest_real_dependence(signs, (signs[:, :3, 0].prod(axis=1) > 0).astype(int)).z > 8
    assert strongest_real_dependence(signs, np.random.default_rng(4).integers(0, 2, 300)).z < 4


def test_targets_that_repeat_one_class_at_each_step_are_not_compared_within_sequences():
    random = np.random.default_rng(5)
    classes = np.repeat(random.integers(0, 10, (300, 1)), 8, axis=1)
    within = dependence_within_sequences(random.normal(size=(300, 8, 4)), classes)
    assert (within.tests, within.detectable_association) == (0, 1.0)
