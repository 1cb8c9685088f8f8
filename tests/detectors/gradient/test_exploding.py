"""An explosion is an update that did harm and that clipping would have prevented; large norms alone are none."""

import math

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.detectors.gradient.exploding import ExplodingGradientDetector
from rnncallbacks.detectors.gradient.update_tracker import MeasuredUpdate

MAX_NORM = 5.0


def follow(batches, cosine=1.0):
    """Play (loss, norm, size of the update, size if it had been clipped) and return the findings by batch number."""
    detector, found = ExplodingGradientDetector(), {}
    for number, (loss, norm, update, clipped) in enumerate(batches, start=1):
        finding = detector.check(loss, norm, MAX_NORM)
        if finding is not None:
            found[number] = finding
        detector.add_update(
            MeasuredUpdate(gradient_norm=norm, relative_size=update, clipped_size=clipped, cosine=cosine)
        )
    return detector, found


CALM = (1.0, 0.5, 0.01, 0.01)


def test_one_leap_that_raised_the_loss_is_enough():
    _, found = follow([CALM, CALM, (0.9, 110.0, 5.2, 0.24), (6.4, 1.0, 0.01, 0.01)])
    assert list(found) == [4]
    assert found[4].code == "RNN401"
    assert found[4].evidence == {
        "norm": 110.0,
        "relative_update": 5.2,
        "clipped_update": 0.24,
        "share_above_max_norm": pytest.approx(1 / 3),
        "loss": 6.4,
        "max_norm": MAX_NORM,
    }


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
    detector, found = follow([*rising, (2.0, 110.0, 5.2, 0.24), (9.0, 1.0, 0.01, 0.01)])
    assert found == {}
    assert detector.stopped


def test_jumps_count_twice_where_a_tenth_of_the_norms_is_above_the_bound():
    jump = [(1.0, 8.0, 0.4, 0.2), (1.5, 0.5, 0.01, 0.01)]
    assert list(follow([CALM] * 20 + jump + jump + jump)[1]) == [26]
    assert follow([CALM] * 20 + jump)[1] == {}
    assert follow([CALM] * 10 + jump + [CALM] * 40 + jump)[1] == {}


@given(st.lists(st.floats(6.0, 60.0), min_size=40, max_size=80))
def test_norms_above_the_bound_whose_updates_are_sane_are_let_be(norms):
    # The loss is a sum, so that its gradients are large, and the learning rate suits it.
    detector, found = follow([(70.0, norm, 1e-3 * norm, 5e-3) for norm in norms])
    assert found == {}
    assert detector.share_above_bound == 1.0


def test_what_proved_harmless_is_not_measured_again_and_again():
    detector, _ = follow([(1.0, 10.0, 0.01, 0.005)] * 30)
    assert detector.measured_updates == 20
    assert not detector.wants_update(10.0)
    assert detector.wants_update(30.0)


def test_the_message_has_the_numbers():
    _, found = follow([(1.1, 0.5, 0.01, 0.01), (0.9, 110.0, 5.2, 0.24), (6.4, 1.0, 0.01, 0.01)])
    message = found[3].message
    assert "moved the parameters by 5.2 times their norm: gradient norm 110 (max_norm = 5)" in message
    assert "6.4 after the update (at first 1.1)" in message
    assert "would have been 0.24 of" in message
    assert len(message.partition(":")[0]) <= 80
    assert found[3].remedy.endswith("scaled by 0.045")


def test_updates_that_the_script_scaled_down_are_not_measured():
    detector = ExplodingGradientDetector()
    assert detector.check(1.0, 10.0, MAX_NORM) is None
    assert detector.wants_update(10.0)
    update = MeasuredUpdate(gradient_norm=10.0, relative_size=2.0, clipped_size=0.1, cosine=1.0, scaled_down=True)
    detector.add_update(update)
    assert detector.measured_updates == 0
    assert detector.check(9.0, 1.0, MAX_NORM) is None


@pytest.mark.parametrize(
    ("params", "cosine", "checked"), [(None, 1.0, False), ({}, math.nan, False), ({}, 0.5, True), ({}, 1.0, True)]
)
def test_it_says_whether_updates_could_be_measured(params, cosine, checked):
    result = ExplodingGradientDetector().coverage(params, cosine, MAX_NORM)
    assert tuple(result.checked) == (("RNN401",) if checked else ())
    assert list(result.not_checked) == ([] if checked else ["RNN401"])


@pytest.mark.parametrize(("scaled_down", "result"), [(True, "checked"), (False, "checked"), (None, "cannot_tell")])
def test_norms_above_the_bound_pass_only_where_their_updates_were_seen(scaled_down, result):
    detector = ExplodingGradientDetector()
    detector.check(1.0, 10.0, MAX_NORM)
    if scaled_down is not None:
        update = MeasuredUpdate(
            gradient_norm=10.0, relative_size=0.01, clipped_size=0.1, cosine=1.0, scaled_down=scaled_down
        )
        detector.add_update(update)
    assert "10" in getattr(detector.coverage({}, 1.0, MAX_NORM), result)["RNN401"]


def test_a_norm_that_jumps_is_not_called_harmless():
    detector = ExplodingGradientDetector()
    for norm in [3.0, 2470.0, 114_700.0, 2.0]:
        detector.check(1.0, norm, 5.0)
        if detector.wants_update(norm):
            detector.add_update(MeasuredUpdate(gradient_norm=norm, relative_size=0.1, clipped_size=0.01, cosine=1.0))
    result = detector.coverage({}, 1.0, 5.0)
    assert result.checked == {}
    assert result.cannot_tell == {"RNN401": "the gradient norm rose from 3 to 1.15e+05 within two batches"}


def test_batches_that_were_left_out_count_as_if_they_had_been_checked():
    losses, norms = [3.0, 2.5, 2.0, 1.5, 1.2, 1.1, 1.0], [1.0, 4.0, 2.0, 3.0, 1.0, 2.0, 1.5]
    checked, missed = ExplodingGradientDetector(), ExplodingGradientDetector()
    for loss, norm in zip(losses, norms, strict=True):
        checked.check(loss, norm, MAX_NORM)
    missed.check(losses[0], norms[0], MAX_NORM)
    missed.add_missed(losses[1:4], norms[1:4])
    missed.add_missed(losses[4:], norms[4:])
    assert attrs.asdict(missed) == attrs.asdict(checked)


@pytest.mark.parametrize(("scale", "clipped"), [(1.0, False), (0.1, True)])
def test_a_gradient_that_a_plugin_scaled_down_needs_no_measured_update(scale, clipped):
    detector, gradient = ExplodingGradientDetector(), 10.0 * np.random.default_rng(0).normal(size=40)
    norm = float(np.linalg.norm(gradient))
    detector.check(1.0, norm, MAX_NORM)
    left = Gradients({"w": scale * gradient})
    assert detector.check_clipping(left, norm, MAX_NORM) is clipped
    assert detector.wants_update(norm) is not clipped
    assert detector.clipped_updates == clipped


def test_a_doubt_keeps_usual_gradients_from_passing():
    result = ExplodingGradientDetector().coverage({}, 1.0, MAX_NORM, {"RNN401": "states grow"})
    assert (dict(result.withdrawn), result.checked) == ({"RNN401": "states grow"}, {})
