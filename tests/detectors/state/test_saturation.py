"""Saturated units: their share, of tanh alone, and when it is a fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.state.saturation import SaturationWindow, saturated_share

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


def windows(shares, losses, length=5, uninformed=None):
    """What each full window says: the share, and whether it is a fault."""
    window, said = SaturationWindow(length), []
    for share, loss in zip(shares, losses, strict=True):
        mean = window.add(share, loss)
        if mean is not None:
            said.append((round(mean, 3), window.is_fault(uninformed)))
    return said


def test_a_fault_is_there_from_the_first_batch_on():
    assert windows([0.96] * 10, [3.3] * 10, uninformed=3.3) == [(0.96, True), (0.96, True)]
    assert windows([0.0] * 5 + [0.96] * 5, [3.3] * 10, uninformed=3.3) == [(0.96, False)]


def test_a_network_that_does_well_may_saturate():
    assert windows([0.7] * 5, [3.3, 2.0, 1.0, 0.5, 0.5], uninformed=3.3) == [(0.7, False)]
    assert windows([0.7] * 5, [9.0, 8.0, 7.0, 5.0, 4.0], uninformed=3.3) == [(0.7, True)]
    assert windows([0.7] * 5, [9.0, 1.0, 1.0, 1.0, 1.0]) == [(0.7, False)]
    assert windows([0.7] * 5, [9.0, 8.5, 8.5, 8.0, 8.5]) == [(0.7, True)]


def test_one_batch_or_two_are_no_window():
    assert windows([0.96, 0.96, 0.0, 0.0, 0.0], [3.3] * 5) == []
    assert windows([0.96] * 4, [3.3] * 4) == []
    window = SaturationWindow(2)
    assert (window.add(0.01, 1.0), window.full) == (None, False)
    assert (window.add(0.02, 1.0), window.full) == (None, True)


@given(st.lists(st.floats(0.0, 0.49), min_size=1, max_size=60), st.floats(0.01, 10))
def test_healthy_shares_are_never_told(shares, loss):
    assert windows(shares, [loss] * len(shares)) == []
