"""The shift between inputs and targets: found ahead and behind, in every layout, and not in noise."""

import numpy as np
import pytest

from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.target_shift import TargetShift, chance_agreement, equal_tokens


@pytest.mark.parametrize("lag", [1, 2, 5, 16])
def test_the_shift_is_found_behind_and_ahead(lag):
    tokens = np.random.default_rng(lag).integers(6, size=(60, 3))
    ahead, behind = TargetShift(), TargetShift()
    ahead.add(tokens[:-lag], tokens[lag:])
    behind.add(tokens[lag:], tokens[:-lag])
    assert (ahead.steps, behind.steps, ahead.agreement) == (lag, -lag, 1.0)


def test_a_shift_needs_some_pairs_and_then_settles():
    shift = TargetShift()
    tokens = np.random.default_rng(0).integers(6, size=(4000, 1))
    shift.add(tokens[:5], tokens[1:6])
    assert shift.steps is None
    shift.add(tokens[:-1], tokens[1:])
    assert (shift.steps, shift.settled) == (1, True)
    shift.add(tokens[:3], tokens[1:5])  # of other shapes: no pairs
    assert shift.pairs[1] == 4 + 3998


def test_a_settled_shift_counts_no_further_pairs():
    shift, tokens = TargetShift(), np.random.default_rng(0).integers(6, size=(2500, 1))
    for _ in range(2):
        shift.learn(Sequences(tokens[:-1], tokens[1:], 0, None), None)
    assert shift.pairs[1] == 2498


@pytest.mark.parametrize("time_axis", [0, 1])
def test_positions_outside_the_mask_do_not_count(time_axis):
    tokens = np.random.default_rng(0).integers(6, size=(60, 4))
    x, y = tokens[:-1], tokens[1:].copy()
    y[30:] = 0
    mask = np.ones(x.shape, dtype=bool)
    mask[30:] = False
    x, y, mask = (x, y, mask) if time_axis == 0 else (x.T, y.T, mask.T)
    shift = TargetShift()
    shift.learn(Sequences(x, y, time_axis, None), mask)
    assert (shift.steps, shift.agreement, shift.pairs[1]) == (1, 1.0, 29 * 4)


@pytest.mark.parametrize("noise", [0.45, 0.55])
def test_half_of_the_next_tokens_beyond_chance_are_enough(noise):
    generator = np.random.default_rng(0)
    tokens = generator.integers(100, size=(4001, 1))
    y = np.where(generator.random((4000, 1)) < noise, generator.integers(100, size=(4000, 1)), tokens[1:])
    shift = TargetShift()
    shift.add(tokens[:-1], y)
    assert shift.steps == (1 if noise < 0.5 else None)


def test_constant_tokens_agree_by_chance():
    shift = TargetShift()
    shift.add(np.ones((30, 2), dtype=int), np.ones((30, 2), dtype=int))
    assert (shift.steps, shift.agreement, shift.settled) == (None, 0.0, False)


def test_tokens_and_vectors_are_compared():
    assert equal_tokens(np.array([[1, 2]]), np.array([[1, 3]])).tolist() == [[True, False]]
    vectors = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    assert equal_tokens(vectors, vectors * (1 + 5e-6)).tolist() == [[True, True]]
    assert equal_tokens(vectors, vectors + np.array([0.0, 0.1])).tolist() == [[False, False]]
    assert not equal_tokens(vectors * np.nan, vectors * np.nan).any()


def test_chance_agreement_is_that_of_independent_tokens():
    assert chance_agreement(np.array([-1, 3]), np.array([3, 3])) == pytest.approx(0.5)
    assert chance_agreement(np.array([0.5]), np.array([0.5])) == 0.0
    assert chance_agreement(np.array([], dtype=int), np.array([], dtype=int)) == 0.0
    assert chance_agreement(np.array([0, 2**40]), np.array([0, 2**40])) == 0.0  # times: no count of each number
