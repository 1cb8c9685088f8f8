"""Saturated units: their share, of tanh alone, and when it is a fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.state.saturation import SaturationDetector, SaturationThresholds, saturated_share

rng = np.random.default_rng(0)


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("shape", [(3, 2, 5), (21, 16, 32), (65, 32, 128)])
@pytest.mark.parametrize("form", [np.asarray, list, lambda states: [np.asfortranarray(state) for state in states]])
def test_the_share_beyond(scale, shape, form):
    states = np.tanh(scale * rng.normal(size=shape))
    states[0] = 0.0  # the entering state is none that the units computed
    states[1, 0, 0], states[-1, 0, 0] = -0.5, -0.5
    share = saturated_share(form(states))
    assert share == pytest.approx((np.abs(states[1:]) > 0.99).mean(), abs=0.35 if states.size < 100 else 0.05)


@pytest.mark.parametrize(
    "states",
    [
        np.maximum(rng.normal(size=(9, 3, 4)), 0),
        np.full((9, 3, 4), 0.995),
        3 * rng.normal(size=(9, 3, 4)),
        np.full((9, 3, 4), np.nan),
    ],
)
def test_other_units_are_not_judged(states):
    assert saturated_share(states) is None


def windows(shares, losses, length=5, uniform_loss=None):
    """The findings of the full windows: the share, and whether it is a fault."""
    detector, found = SaturationDetector(SaturationThresholds(batches=length)), []
    for share, loss in zip(shares, losses, strict=True):
        finding = detector.add(share, loss, uniform_loss)
        if finding is not None:
            found.append((round(finding.evidence["saturated_share"], 3), finding.severity is None))
    return found


def test_a_fault_is_there_from_the_first_batch_on():
    assert windows([0.96] * 10, [3.3] * 10, uniform_loss=3.3) == [(0.96, True), (0.96, True)]
    assert windows([0.0] * 5 + [0.96] * 5, [3.3] * 10, uniform_loss=3.3) == [(0.96, False)]


def test_fewer_saturated_units_are_a_fault_only_from_the_first_batch_on():
    assert windows([0.35, *[0.4] * 4], [3.3] * 5, uniform_loss=3.3) == [(0.39, True)]
    assert windows([0.05, *[0.4] * 4], [3.3] * 5, uniform_loss=3.3) == []


def test_a_network_that_does_well_may_saturate():
    assert windows([0.7] * 5, [3.3, 2.0, 1.0, 0.5, 0.5], uniform_loss=3.3) == [(0.7, False)]
    assert windows([0.7] * 5, [9.0, 8.0, 7.0, 5.0, 4.0], uniform_loss=3.3) == [(0.7, True)]
    assert windows([0.7] * 5, [9.0, 1.0, 1.0, 1.0, 1.0]) == [(0.7, False)]
    assert windows([0.7] * 5, [9.0, 8.5, 8.5, 8.0, 8.5]) == [(0.7, True)]


def test_one_batch_or_two_are_no_window():
    assert windows([0.96, 0.96, 0.0, 0.0, 0.0], [3.3] * 5) == []
    assert windows([0.96] * 4, [3.3] * 4) == []
    detector = SaturationDetector(SaturationThresholds(batches=2))
    assert detector.lacking == "run.observe(hidden_states=...) of tanh units"
    assert (detector.add(0.01, 1.0, None), detector.compared) == (None, False)
    assert detector.lacking == "train for 2 batches or more: 1 were seen"
    assert (detector.add(0.02, 1.0, None), detector.compared) == (None, True)


def test_findings_have_a_headline_and_the_numbers():
    detector = SaturationDetector(SaturationThresholds(batches=1))
    assert detector.add(0.96, 3.3, 3.3).message == (
        "96% of the hidden units are saturated, from the first batch on: mean share of |h| > 0.99 in 1 batches, "
        "at most 5% expected"
    )
    assert detector.add(0.96, 1.0, 3.3).message == (
        "96% of the hidden units are saturated: mean share of |h| > 0.99 in 1 batches, at most 5% expected; "
        "96% were saturated in the first batch, and the loss is 1"
    )


@pytest.mark.parametrize("loss", [None, np.nan, np.inf])
def test_batches_without_a_loss_do_not_count(loss):
    detector = SaturationDetector(SaturationThresholds(batches=1))
    states = np.tanh(100.0 * rng.normal(size=(9, 3, 4)))
    batch = Batch(None, "train", 1, loss=loss, observed={"hidden_states": states})
    assert detector.check(batch, vocab_size=20) == CheckResult()
    batch.loss, batch.skipped = 3.0, True
    assert detector.check(batch, vocab_size=20) == CheckResult()
    batch.skipped = False
    result = detector.check(batch, vocab_size=20)
    assert result.finding.severity is None
    assert result.checked["RNN407"].startswith("1 batches, in which at most ")


@given(st.lists(st.floats(0.0, 0.29), min_size=1, max_size=60), st.floats(0.01, 10))
def test_healthy_shares_are_never_told(shares, loss):
    assert windows(shares, [loss] * len(shares)) == []


def test_states_of_a_gated_cell_do_not_pass():
    states = [0.1 * np.random.default_rng(step).normal(size=(4, 6)) for step in range(5)]
    for gated in (False, True):
        detector = SaturationDetector()
        for number in range(10):
            batch = Batch(None, "train", number + 1, loss=1.0)
            batch.observed["hidden_states"] = states
            result = detector.check(batch, vocab_size=3, gated=gated)
        assert (list(result.checked), list(result.cannot_tell)) == (([], ["RNN407"]) if gated else (["RNN407"], []))
