"""Dependence of targets on inputs: found wherever a network could learn it, and never in what was shuffled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncallbacks.detectors.progress.dependence import (
    MISSING_TOKEN,
    chi_squared_test,
    strongest_dependence,
    token_classes,
)

ROWS, STEPS = 200, 15


def tokens(vocab_size, seed=0, rows=ROWS, steps=STEPS):
    return np.random.default_rng(seed).integers(0, vocab_size, (rows, steps))


def lagged(x, lag):
    y = np.zeros_like(x)
    y[:, lag:] = x[:, : x.shape[1] - lag]
    return y


def noisy(y, share, vocab_size, seed=1):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(y.shape) < share, rng.integers(0, vocab_size, y.shape), y)


X, BITS = tokens(6), tokens(2)
TASKS = {
    "the input itself": (X, X),
    "the input 3 steps before": (X, lagged(X, 3)),
    "the input 14 steps before": (X, lagged(X, 14)),
    "seven labels in ten are noise": (X, noisy(lagged(X, 2), 0.7, 6)),
    "backwards": (X, X[:, ::-1]),
    "two neighbours differ": (BITS, BITS ^ lagged(BITS, 1)),
    "the parity of all bits so far": (BITS, np.cumsum(BITS, axis=1) % 2),
    "how many so far": (BITS, np.cumsum(BITS, axis=1)),
    "the commonest of a thousand tokens": (
        tokens(1000) * (tokens(3, seed=5) > 0),
        lagged(tokens(1000) * (tokens(3, seed=5) > 0), 1),
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_what_can_be_learned_shows(name):
    x, y = TASKS[name]
    found = strongest_dependence(x, y)
    assert found.z > 6.0, found


@pytest.mark.parametrize("name", TASKS)
def test_nothing_shows_in_shuffled_targets(name):
    x, y = TASKS[name]
    rng = np.random.default_rng(3)
    for _ in range(5):
        found = strongest_dependence(x, rng.permutation(y.ravel()).reshape(y.shape))
        assert found.z < 4.5, found
        assert found.pairs == ROWS * STEPS


def test_targets_of_other_sequences_do_not_depend_on_the_inputs_though_both_depend_on_the_position():
    """In a^n b^n, an input and a target of two sentences often agree: both are later in their sentence."""
    n = np.random.default_rng(4).integers(1, 8, 400)
    position = np.arange(16)
    sentences = np.where(position < n[:, None], 0, np.where(position < 2 * n[:, None], 1, 2))
    x, y = sentences[:, :-1], sentences[:, 1:]
    assert strongest_dependence(x, y).z > 8.0
    assert strongest_dependence(x, np.roll(y, 1, axis=0)).z < 4.5
    together = chi_squared_test(x.ravel(), np.roll(y, 1, axis=0).ravel(), np.zeros(x.size, dtype=int))
    assert together[0] > 8.0  # what it would be if positions were put together


def test_chunks_that_differ_in_what_they_are_about_are_no_dependence():
    """Each half of the stream has tokens of its own, and the targets are shuffled within each."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.integers(0, 4, (16, 60)), rng.integers(3, 8, (16, 60))], axis=1)
    y = np.concatenate([rng.integers(0, 4, (16, 60)), rng.integers(3, 8, (16, 60))], axis=1)
    assert strongest_dependence(x, y, np.zeros(120, dtype=int)).z > 8.0
    assert strongest_dependence(x, y, np.arange(120) // 60).z < 4.5


LABELS = {
    "which token comes first": lambda x: x[:, 0],
    "which token is in the middle": lambda x: x[:, 7],
    "more 1 than 2": lambda x: ((x == 1).sum(axis=1) > (x == 2).sum(axis=1)).astype(int),
    "an even number of 3": lambda x: (x == 3).sum(axis=1) % 2,
    "as many 0 as 1": lambda x: ((x == 0).sum(axis=1) == (x == 1).sum(axis=1)).astype(int),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_whole_sequences(name):
    x = tokens(6, rows=1000)
    y = LABELS[name](x)
    assert strongest_dependence(x, y).z > 5.0
    assert strongest_dependence(x, np.random.default_rng(6).permutation(y)).z < 4.0


def test_padding_counts_nowhere():
    x, y = X.copy(), tokens(6, seed=9)
    padded = np.arange(STEPS) >= np.random.default_rng(7).integers(3, STEPS, ROWS)[:, None]
    assert strongest_dependence(np.where(padded, 0, x), np.where(padded, 0, y)).z > 8.0
    hidden = strongest_dependence(np.where(padded, MISSING_TOKEN, x), np.where(padded, MISSING_TOKEN, y))
    assert hidden.z < 4.5
    assert hidden.pairs == (~padded).sum()


@pytest.mark.parametrize("size", [300, 3000])
def test_a_strength_that_would_have_shown_shows(size):
    scores = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 4, size)
        _, visible = chi_squared_test(x, rng.integers(0, 4, size), np.zeros(size, dtype=int))
        assert visible < 12 / np.sqrt(size)
        dependent = np.where(rng.random(size) < visible, x, rng.integers(0, 4, size))
        scores.append(chi_squared_test(x, dependent, np.zeros(size, dtype=int))[0])
    assert np.mean(scores) > 2.3


@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 30), st.integers(0, 10**6))
def test_mean_and_variance_are_those_of_permutations(width, height, strata, seed):
    """The score of independent tokens is about standard normal, also in tables with fewer counts than cells."""
    rng = np.random.default_rng(seed)
    size = 40 * strata
    shares = (1.0 / width + rng.dirichlet(np.ones(width))) / 2.0
    groups = np.arange(size) % strata
    scores = []
    for _ in range(40):
        x, y = rng.choice(width, size, p=shares), rng.integers(0, height, size)
        scores.append(chi_squared_test(x, y, groups)[0])
    assert abs(np.mean(scores)) < 0.9
    assert 0.4 < np.std(scores) < 1.7


settings_of_many = settings(max_examples=50)


@settings_of_many
@given(st.lists(st.integers(-1, 60), min_size=1, max_size=200), st.integers(2, 40))
def test_classes_are_few_and_keep_tokens_apart_where_they_can(values, most):
    array = np.array(values)
    classes = token_classes(array, most)
    assert ((classes == MISSING_TOKEN) == (array < 0)).all()
    real = array[array >= 0]
    if len(real):
        assert len(np.unique(classes[array >= 0])) == min(most, len(np.unique(real)))
    for token in np.unique(real):
        assert len(np.unique(classes[array == token])) == 1


@pytest.mark.parametrize(
    "x", [np.full((3, 4), MISSING_TOKEN), np.zeros((3, 4), dtype=int), np.zeros((1, 1), dtype=int)]
)
def test_nothing_to_test_is_no_dependence(x):
    found = strongest_dependence(x, x)
    assert (found.z, found.detectable_association) == (0.0, 1.0)


def test_two_inputs_that_decide_together_are_a_dependence():
    inputs = np.random.default_rng(0).integers(0, 2, (400, 6))
    found = strongest_dependence(inputs, inputs[:, 1] ^ inputs[:, 4])
    assert found.between == "the inputs at steps 2 and 5 together"
    assert found.z > 8


def test_sequences_without_a_step_show_no_dependence():
    found = strongest_dependence(np.zeros((9, 0), dtype=int), np.zeros((9, 0), dtype=int))
    assert (found.z, found.pairs, found.detectable_association) == (0.0, 0, 1.0)
