"""Sums over the losses of a pass: which passes can be judged, and which lengths are known."""

import math

import numpy as np
import pytest

from rnncallbacks.detectors.loss.phase_losses import PhaseLosses


def add_all(losses, **lengths):
    seen = PhaseLosses()
    for loss in losses:
        seen.add(loss, **lengths)
    return seen


def test_mean_extremes_and_weighted_sums():
    losses, sizes = [1.0, 2.0, 4.0], [8, 8, 2]
    seen = PhaseLosses(expected=4)
    for loss, size in zip(losses, sizes, strict=True):
        seen.add(loss, sequences=size)
    assert (seen.mean, seen.smallest, seen.largest) == (pytest.approx(7 / 3), 1.0, 4.0)
    assert seen.cut_short
    sums = seen.lengths["sequences"]
    assert sums.losses_times_length == pytest.approx(np.dot(losses, sizes))
    assert sums.losses_over_length == pytest.approx(np.divide(losses, sizes).sum())
    assert (sums.total, sums.largest, sums.complete) == (18, 8, True)


def test_the_last_batch_may_lack_a_loss_and_is_not_counted():
    seen = add_all([1.0, 2.0, None])
    assert (seen.batches, seen.is_comparable) == (2, True)
    seen.add(3.0)
    assert not seen.is_comparable


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_loss_that_is_not_above_zero_and_finite_discards_the_pass(bad):
    assert not add_all([1.0, bad, 2.0]).is_comparable


def test_a_pass_is_not_judged_if_it_is_empty_or_discarded():
    assert not PhaseLosses().is_comparable
    seen = add_all([1.0])
    seen.discard()
    assert not seen.is_comparable


def test_a_total_needs_the_length_of_every_batch():
    seen = add_all([1.0, 2.0], sequences=32)
    assert seen.lengths["sequences"].known_total == 64
    assert seen.lengths["tokens"].known_total is None
    seen.add(1.5)
    assert seen.lengths["sequences"].known_total is None
    assert not seen.lengths["sequences"].complete
