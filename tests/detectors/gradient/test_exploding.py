"""An explosion is an update that did harm and that clipping would have prevented; large norms alone are none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.gradient.exploding import Explosion, ExplosionWatch, describe

MAX_NORM = 5.0


def follow(batches, cosine=1.0):
    """Play (loss, norm, size of the update, size if it had been clipped) and return the findings by batch number."""
    watch, found = ExplosionWatch(), {}
    for number, (loss, norm, update, clipped) in enumerate(batches, start=1):
        finding = watch.see(loss, norm, MAX_NORM)
        if finding is not None:
            found[number] = finding
        if watch.wants_update(norm):
            watch.measure(norm, update, clipped, cosine)
    return watch, found


CALM = (1.0, 0.5, 0.01, 0.01)


def test_one_leap_that_raised_the_loss_is_enough():
    _, found = follow([CALM, CALM, (0.9, 110.0, 5.2, 0.24), (6.4, 1.0, 0.01, 0.01)])
    assert found == {4: Explosion(110.0, 5.2, 0.24, pytest.approx(1 / 3), 6.4)}


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_behind_it_is_harm(loss):
    assert list(follow([CALM, (0.9, 110.0, 5.2, 0.24), (loss, 1.0, 0.01, 0.01)])[1]) == [3]


def test_a_leap_that_the_loss_survives_is_none():
    assert follow([CALM, CALM, (0.9, 110.0, 5.2, 0.24), (0.8, 1.0, 0.01, 0.01)])[1] == {}


def test_an_update_that_clipping_would_leave_insane_is_the_learning_rates_doing():
    assert follow([CALM, (0.9, 10.0, 5.2, 2.6), (6.4, 1.0, 0.01, 0.01)])[1] == {}


def test_an_update_that_does_not_follow_the_gradient_is_none():
    assert follow([CALM, (0.9, 110.0, 5.2, 0.24), (6.4, 1.0, 0.01, 0.01)], cosine=0.5)[1] == {}


def test_a_loss_that_had_risen_before_is_the_learning_rates_doing():
    rising = [(1.0 + 0.3 * step, 0.5, 0.01, 0.01) for step in range(6)]
    watch, found = follow([*rising, (2.0, 110.0, 5.2, 0.24), (9.0, 1.0, 0.01, 0.01)])
    assert found == {}
    assert watch.over


def test_jumps_count_twice_where_a_tenth_of_the_norms_is_above_the_bound():
    jump = [(1.0, 8.0, 0.4, 0.2), (1.5, 0.5, 0.01, 0.01)]
    assert list(follow([CALM] * 20 + jump + jump + jump)[1]) == [26]
    assert follow([CALM] * 20 + jump)[1] == {}
    assert follow([CALM] * 10 + jump + [CALM] * 40 + jump)[1] == {}


@given(st.lists(st.floats(6.0, 60.0), min_size=40, max_size=80))
def test_norms_above_the_bound_whose_updates_are_sane_are_let_be(norms):
    # The loss is a sum, so that its gradients are large, and the learning rate suits it.
    watch, found = follow([(70.0, norm, 1e-3 * norm, 5e-3) for norm in norms])
    assert found == {}
    assert watch.share == 1.0


def test_what_proved_harmless_is_not_measured_again_and_again():
    watch, _ = follow([(1.0, 10.0, 0.01, 0.005)] * 30)
    assert watch.measured == 20
    assert not watch.wants_update(10.0)
    assert watch.wants_update(30.0)


def test_the_arithmetic_in_words():
    words = describe(Explosion(110.0, 5.2, 0.24, 0.2, 6.4), 5.0, 1.1)
    assert "norm 110 moved the weights by 5.2 times their size" in words
    assert "6.4, at first 1.1" in words
    assert "max_norm = 5 would have been 0.24" in words
