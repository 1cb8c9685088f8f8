"""Levels of losses: compared by quantiles, so that neither units nor tails decide."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.loss.divergence import DivergenceDetector

WINDOW, MAX_RISE = 20, 0.25


def played(losses, code, window=WINDOW, max_rise=MAX_RISE, spike=10.0):
    """Numbers of the batches, from 1, at which a code is found."""
    detector = DivergenceDetector(window=window, max_rise=max_rise, spike=spike)
    return [
        number
        for number, loss in enumerate(losses, start=1)
        if code in [finding.code for finding in detector.check(float(loss))]
    ]


def rises(losses, **options):
    return played(losses, "RNN602", **options)


def flat(level, count, seed=0):
    return level * (1.0 + 0.05 * np.random.default_rng(seed).normal(size=count))


def test_a_rise_names_both_levels():
    detector = DivergenceDetector(window=WINDOW, max_rise=MAX_RISE)
    losses = [*flat(1.0, 60), *flat(2.0, 60)]
    findings = [finding for loss in losses for finding in detector.check(loss)]
    rise = next(finding for finding in findings if finding.code == "RNN602")
    assert "the median of the last 20 losses is " in rise.message
    assert rise.evidence["loss"] == pytest.approx(2.0, abs=0.1)
    assert "that of the best 20 before " in rise.message
    assert rise.evidence["best"] == pytest.approx(1.0, abs=0.1)
    assert rise.evidence["first"] == losses[0]
    assert len(rise.message.partition(": ")[0]) <= 80
    assert f"{rise.evidence['best']:.4g}" in rise.remedy


def test_below_the_first_loss_it_takes_twice_the_rise():
    learned = np.concatenate([flat(4.0, 5), flat(1.0, 95)])
    assert not rises([*learned, *flat(2.5, 100)])
    assert rises([*learned, *flat(3.5, 100)])
    assert rises([*flat(1.0, 100), *flat(1.5, 100)])


def test_a_loss_on_its_way_down_is_waited_for():
    adapting = 1.0 + 4.0 * np.exp(-np.arange(100) / 30)
    assert not rises([*flat(1.0, 100), *adapting])
    assert rises([*flat(1.0, 100), *adapting[::-1]])


def test_windows_that_drift_by_themselves_are_no_rise():
    """Levels of successive windows differ by up to two thirds of the first loss from the beginning on."""
    steps = np.repeat(np.random.default_rng(1).uniform(0.7, 1.4, size=40), WINDOW)
    assert not [number for number in rises(steps) if number > 8 * WINDOW]
    assert rises([*steps, *flat(8.0, 100)])[-1] > len(steps)


def test_the_first_update_may_do_it():
    assert rises([1.0, *flat(9.0, WINDOW)]) == [WINDOW + 1]
    wild = np.exp(np.random.default_rng(0).normal(size=WINDOW) * 0.5)
    assert rises([1.0, *(60.0 * wild)])[0] == WINDOW + 1
    assert WINDOW + 1 not in rises([1.0, *(2.0 * wild)])


def test_losses_that_are_forgotten_count_no_more():
    detector = DivergenceDetector(window=WINDOW, max_rise=MAX_RISE)
    for loss in flat(1.0, 100):
        assert not list(detector.check(loss))
    detector.restart()
    assert not [finding for loss in flat(5.0, 100) for finding in detector.check(loss)]
    rise = [finding for loss in flat(15.0, 100) for finding in detector.check(loss)][-1]
    assert rise.evidence["first"] == pytest.approx(5.0, abs=1.0)


def spikes(losses, **options):
    return played(losses, "RNN605", **options)


def test_a_spike_stands_out_of_all_before_it():
    losses = flat(1.0, 200)
    losses[149] = 4.0
    losses[179] = 5.0  # not so far beyond the one before
    assert spikes(losses) == [150]
    assert spikes(losses, spike=100.0) == []
    assert spikes(losses, max_rise=4.0) == []


def test_a_spike_has_its_numbers_and_a_remedy():
    detector = DivergenceDetector(window=WINDOW)
    (spike,) = [finding for loss in [*flat(1.0, 100), 3.0] for finding in detector.check(loss)]
    assert spike.message.startswith("the loss jumped to 3 from a median of ")
    assert "deviations of " in spike.message
    assert spike.message.endswith("; spike is 10")
    assert spike.evidence["loss"] == 3.0
    assert "whose loss is 3;" in spike.remedy


@given(st.integers(0, 10**6), st.sampled_from([1e-6, 1.0, 1e9]), st.booleans())
def test_the_unit_does_not_matter(seed, unit, sick):
    rng = np.random.default_rng(seed)
    losses = rng.exponential(size=150) + np.where(np.arange(150) > 90, 20.0 * sick, 0.0)
    assert rises(losses * unit) == rises(losses)


@given(st.lists(st.floats(0.0, 1e6), max_size=120), st.integers(2, 30))
def test_any_stream_is_survived(losses, window):
    rises(losses, window=window)
    spikes(losses)


def test_a_jump_of_the_first_update_has_not_healed_while_the_losses_stay_far_above_the_first():
    detector = DivergenceDetector(window=10)
    losses = [1.4] + [15.0 + 5.0 * math.sin(0.7 * batch) for batch in range(200)]
    found = [finding for loss in losses for finding in detector.check(loss) if finding.code == "RNN602"]
    assert len(found) == 1
    assert found[0].severity is None


HEAVY = {
    "exponential": lambda rng: 0.3 + rng.exponential(size=1000),
    "log-normal": lambda rng: np.exp(rng.normal(size=1000)),
    "pareto": lambda rng: 0.1 + rng.pareto(1.5, size=1000),
    "squares": lambda rng: rng.normal(size=1000) ** 2,
}


@pytest.mark.parametrize("name", HEAVY)
def test_no_tail_is_heavy_enough_for_a_rise(name):
    for seed in range(30):
        detector = DivergenceDetector()
        losses = HEAVY[name](np.random.default_rng(seed)).tolist()
        codes = {finding.code for loss in losses for finding in detector.check(loss)}
        assert "RNN602" not in codes, seed
