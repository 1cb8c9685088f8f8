"""Snapshots: the one that is restored comes from a healthy part of the run, and nothing non-finite is kept."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.arrays.containers import all_finite
from rnncallbacks.detectors.update.snapshots import Snapshots

NAN, INF = math.nan, math.inf


def follow(losses, every=5, weights=None):
    """Plays losses; the weight behind each step is its number."""
    weights = {"w": np.array([0.0])} if weights is None else weights
    kept = Snapshots(every)
    kept.begin(0, weights)
    for step, loss in enumerate(losses, start=1):
        weights["w"][...] = step
        kept.follow(step, loss, weights)
    return kept, weights


def test_a_run_that_is_well_goes_back_to_the_snapshot_before_the_last():
    kept, weights = follow([3.0 - 0.1 * n for n in range(22)])
    assert kept.restore(weights) == 15
    assert weights["w"] == 15.0


def test_before_anything_proved_healthy_it_is_the_beginning():
    kept, weights = follow([3.0, 2.9])
    assert kept.restore(weights) == 0
    assert weights["w"] == 0.0


def test_a_loss_that_rises_keeps_what_was_before_the_rise():
    kept, weights = follow([1.0] * 20 + [5.0] * 40)
    assert kept.has_risen
    assert kept.restore(weights) == 15


def test_a_single_outlier_is_no_rise():
    kept, _ = follow([1.0] * 19 + [50.0] + [1.0] * 5)
    assert not kept.has_risen
    assert kept.healthy.step == 20


def test_a_level_that_varies_below_the_first_loss_is_not_lost_and_one_above_it_is():
    varied, _ = follow([2.0] + [0.8] * 12 + [1.6] * 12)
    assert varied.has_risen
    assert not varied.has_diverged
    blown_up, _ = follow([2.0] + [0.8] * 12 + [2.3] * 12)
    assert blown_up.has_diverged


@pytest.mark.parametrize("bad", [NAN, INF])
def test_parameters_that_are_not_finite_are_never_kept(bad):
    weights = {"w": np.array([0.0]), "sick": np.array([0.0])}
    kept = Snapshots(every=1)
    kept.begin(0, weights)
    for step in range(1, 10):
        weights["sick"][...] = bad if step >= 4 else 0.0
        kept.follow(step, 1.0, weights)
    assert kept.restore(weights) == 2
    assert all_finite(weights.values())


@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_loss_that_is_not_finite_counts_as_risen(bad):
    kept, _ = follow([1.0] * 12 + [bad])
    assert kept.has_risen
    assert kept.has_diverged


def test_a_beginning_that_is_not_finite_cannot_be_gone_back_to():
    kept = Snapshots(every=1)
    weights = {"w": np.array([NAN])}
    kept.begin(0, weights)
    assert kept.restore(weights) is None


def test_going_back_twice_gives_the_same_and_changes_no_copy():
    kept, weights = follow([1.0] * 30)
    kept.restore(weights)
    weights["w"] += 7.0
    assert kept.restore(weights) == 25
    assert weights["w"] == 25.0


@given(st.lists(st.floats(0.0, 100.0), max_size=60), st.integers(1, 9))
def test_what_is_kept_is_always_a_state_that_was(losses, every):
    kept, weights = follow(losses, every)
    step = kept.restore(weights)
    assert step % every == 0
    assert weights["w"] == step <= len(losses)
