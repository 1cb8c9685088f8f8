"""The gradient check finds wrong gradients at once, and reports factors that other batches confirm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.clipped import ClippingBounds
from rnncallbacks.detectors.gradient.directional import DirectionalDerivatives
from rnncallbacks.detectors.gradient.gradient_check import (
    GRADIENT_CHECK,
    GradientCheckDetector,
    count_of_ratio,
    name_aliased_states,
    wrong_factor,
    wrong_gradient,
)
from rnncallbacks.detectors.gradient.gradient_error import GradientError

COUNTS = {"the number of time steps": 20.0, "the batch size": 16.0, "the number of positions": 320.0}
TOLERANCE = GRADIENT_CHECK.count_tolerance


@given(st.sampled_from(list(COUNTS)), st.sampled_from([1, -1]), st.floats(-0.01, 0.01))
def test_a_ratio_near_a_count_or_one_over_it_has_its_name(name, power, error):
    assert count_of_ratio(COUNTS[name] ** power * (1.0 + error), COUNTS, TOLERANCE) == (name, power)


@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5, 18.0, -20.0])
def test_other_ratios_have_none(ratio):
    assert count_of_ratio(ratio, COUNTS, TOLERANCE) is None


def test_a_factor_is_reported_with_its_count():
    finding = wrong_factor(0.05, "the number of time steps", 20.0, follows_gradient=True)
    assert "20 times that of the loss" in finding.message
    assert finding.message.endswith("20 is the number of time steps")
    assert finding.evidence == {"factor": pytest.approx(20.0), "expected": 1.0, "count": "the number of time steps"}
    inverse = wrong_factor(16.0, "the batch size", 16.0, follows_gradient=True)
    assert inverse.message.endswith("1 / 16, and 16 is the batch size")
    assert "three batches" in wrong_factor(0.5, "", 1.0, follows_gradient=True).message
    assert finding.remedy.startswith("multiply the gradients by 0.05,")


def test_a_factor_is_a_note_where_updates_do_not_follow_it():
    assert wrong_factor(0.05, "", 1.0, follows_gradient=True).severity is None
    assert wrong_factor(0.05, "", 1.0, follows_gradient=False).severity == "info"


@pytest.mark.parametrize(
    ("error", "words", "severity"),
    [
        (GradientError(kind="wrong", cosine=0.71, array="Whh", array_ratio=0.4), "directional derivative 0.4", None),
        (GradientError(kind="zero", cosine=0.9, array="bh"), "the gradient of 'bh' is zero", "warning"),
        (GradientError(kind="truncated", cosine=0.95, array="Whh"), "truncated", "info"),
        (GradientError(kind="scaled", ratio=-1.0), "wrong sign", None),
        (GradientError(kind="wrong", cosine=0.2), "the gradient does not match the loss", None),
    ],
)
def test_each_error_has_its_message(error, words, severity):
    finding = wrong_gradient(error)
    assert words in finding.message
    assert len(finding.message.partition(":")[0]) <= 80
    assert (finding.code, finding.severity) == ("RNN404", severity)
    assert finding.evidence["expected"] == 1.0
    assert finding.evidence["cosine"] == (-1.0 if error.kind == "scaled" else error.cosine)


# --- the detector ------------------------------------------------------------------------------------------------


def derivatives(factor=1.0, clipping=None):
    """Those of a sum of squares, with gradients that are off by a factor."""
    params = {"w": np.array([[1.0, 2.0], [-1.0, 0.5]]), "b": np.array([0.3, -0.2])}

    def loss():
        return float(sum((array**2).sum() for array in params.values()))

    gradients = {name: factor * 2.0 * array for name, array in params.items()}
    return DirectionalDerivatives(loss, params, gradients, loss(), clipping=clipping)


BATCH = Batch(None, "train", 1)


def test_correct_gradients_are_checked_for_both_codes():
    result = GradientCheckDetector().check(derivatives(), BATCH, first_cosine=1.0)
    assert result.finding is None
    assert tuple(result.checked) == ("RNN404", "RNN405")


def test_a_factor_without_a_name_needs_two_more_batches():
    detector, findings = GradientCheckDetector(), []
    for _ in range(3):
        findings.append(detector.check(derivatives(0.37), BATCH, first_cosine=1.0).finding)
        assert detector.confirming == (len(findings) < 3)
    assert findings[:2] == [None, None]
    assert findings[2].code == "RNN405"
    assert findings[2].evidence["factor"] == pytest.approx(0.37, rel=1e-3)


def test_a_factor_that_the_next_batch_does_not_have_is_dropped():
    detector = GradientCheckDetector()
    detector.check(derivatives(0.37), BATCH, first_cosine=1.0)
    assert detector.check(derivatives(), BATCH, first_cosine=1.0).finding is None
    assert not detector.confirming


@pytest.mark.parametrize(("cosine", "code"), [(1.0, "RNN404"), (float("nan"), "RNN404"), (-1.0, None)])
def test_a_wrong_sign_is_none_if_updates_have_it_too(cosine, code):
    detector = GradientCheckDetector()
    detector.check(derivatives(-1.0), BATCH, first_cosine=cosine)
    finding = detector.check(derivatives(-1.0), BATCH, first_cosine=cosine).finding
    assert (finding and finding.code) == code


def test_the_scale_of_a_clipped_gradient_is_not_judged():
    result = GradientCheckDetector().check(derivatives(0.5, ClippingBounds(norm=1.0)), BATCH, first_cosine=1.0)
    assert tuple(result.checked) == ("RNN404",)
    assert "before gradients are clipped" in result.not_checked["RNN405"]
    # Clipping makes no gradient longer.
    detector = GradientCheckDetector()
    detector.check(derivatives(2.0, ClippingBounds(norm=1.0)), BATCH, first_cosine=1.0)
    assert detector.confirming


def test_batches_with_a_loss_far_above_the_first_are_not_due():
    detector = GradientCheckDetector()
    detector.add_loss(1.0)
    assert detector.due(10, 2.0)
    assert not detector.due(10, 2.1)
    assert not detector.due(11, 1.0)
    assert detector.scheduled(250)


def test_later_batches_are_checked_at_doubling_distances():
    detector = GradientCheckDetector()
    detector.add_loss(1.0)
    assert [batch for batch in range(1, 2500) if detector.due(batch, 1.0)] == [1, 10, 100, 250, 500, 1000, 2000]


def test_the_first_alarm_of_a_loss_or_update_code_has_the_next_batch_checked():
    detector = GradientCheckDetector()
    detector.add_loss(1.0)
    detector.add_alarm("RNN301")
    assert not detector.due(37, 1.0)
    detector.add_alarm("RNN602")
    assert detector.due(37, 1.0)
    result = detector.check(derivatives(), BATCH, first_cosine=1.0)
    assert "the gradient of 1 batch agrees" in result.checked["RNN404"]
    detector.add_alarm("RNN602")
    assert not detector.due(38, 1.0)


def wrong_derivatives():
    right = derivatives()
    return right.with_gradients({"w": right.gradients["w"], "b": right.gradients["b"][::-1].copy()})


def test_one_batch_that_does_not_match_after_others_that_did_is_no_error():
    detector = GradientCheckDetector()
    detector.add_loss(1.0)
    detector.check(derivatives(), BATCH, first_cosine=1.0)
    result = detector.check(wrong_derivatives(), BATCH, first_cosine=1.0)
    assert (result.finding, set(result.withdrawn)) == (None, {"RNN404", "RNN405"})
    assert detector.due(38, 1.0)  # the next batch decides
    assert detector.check(wrong_derivatives(), BATCH, first_cosine=1.0).finding.evidence["array"] == "b"


def test_one_state_appended_at_each_step_is_named():
    state = np.ones((4, 2))
    finding = wrong_gradient(GradientError(kind="wrong", cosine=0.2, array="w"))
    aliased = name_aliased_states(finding, [np.zeros((4, 2)), *[state] * 6])
    assert "h.copy()" in aliased.remedy
    assert name_aliased_states(finding, [state.copy() for _ in range(6)]) is finding
    assert name_aliased_states(finding, None) is finding
