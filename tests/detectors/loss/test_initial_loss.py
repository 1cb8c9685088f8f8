"""What follows from a loss at zero parameters, from the first loss, from logits, and from the first three losses."""

import math

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.initial_loss import (
    CODES,
    InitialLossDetector,
    check_first_loss,
    check_loss_at_zero,
    check_low_losses,
)
from rnncallbacks.detectors.loss.target_classes import TargetClasses

COUNTS = {"the number of time steps": 20.0, "the batch size": 16.0, "the number of positions": 320.0}
KNOWN = TargetClasses((36,), certain=True, regression=False, known=True)
GUESSED = TargetClasses((36, 50), certain=False, regression=False, known=True)
UNSEEN = TargetClasses((36,), certain=False, regression=False, known=False)
UNIFORM = math.log(36)


def code(result):
    return None if result.finding is None else result.finding.code


def why(result):
    """The one reason why all codes were not checked."""
    assert set(result.not_checked) == set(CODES)
    (reason,) = set(result.not_checked.values())
    return reason


def test_a_mean_passes_and_a_wild_start_is_told_apart_from_it():
    assert tuple(check_loss_at_zero(UNIFORM, 1.02 * UNIFORM, 0.6, KNOWN, COUNTS).checked) == CODES
    assert tuple(check_loss_at_zero(UNIFORM, 1.3 * UNIFORM, 0.6, KNOWN, COUNTS).checked) == CODES
    assert tuple(check_loss_at_zero(UNIFORM, 0.2 * UNIFORM, 0.6, KNOWN, COUNTS).checked) == CODES  # trained before
    wild = check_loss_at_zero(UNIFORM, 2.6 * UNIFORM, 0.6, KNOWN, COUNTS)
    assert code(wild) == "RNN303"
    assert wild.finding.evidence["ratio"] == pytest.approx(2.6)
    assert "2.6 times" in wild.finding.message


def test_the_first_loss_of_a_single_prediction_may_be_high_by_chance():
    three = TargetClasses((3,), certain=True, regression=False, known=True)
    for predictions, expected in ((1, None), (320, "RNN303")):
        assert code(check_loss_at_zero(math.log(3), 2.6, 0.97, three, COUNTS, predictions)) == expected


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_a_sum_names_what_it_is_over(name, count):
    found = check_loss_at_zero(count * UNIFORM, count * UNIFORM, 0.6, KNOWN, COUNTS)
    assert code(found) == "RNN301"
    assert name in found.finding.message
    assert found.finding.evidence["factor"] == count
    assert found.finding.severity is None
    assert tuple(found.checked) == ("RNN302",)


def test_a_sum_over_positions_of_which_nothing_is_known_is_a_whole_multiple_of_the_even_guess():
    found = check_loss_at_zero(320 * UNIFORM, 330 * UNIFORM, 0.6, UNSEEN, {})
    assert code(found) == "RNN301"
    assert found.finding.evidence["factor"] == 320
    for loss, counts in ((320.1 * UNIFORM, {}), (17 * UNIFORM, COUNTS), (0.123, {})):
        unclear = check_loss_at_zero(loss, loss, 0.6, UNSEEN, counts)
        assert code(unclear) is None
        assert why(unclear).endswith("of no known function: run.observe(inputs=..., targets=...)")


def test_a_loss_that_is_divided_twice_is_marked_as_such():
    found = check_loss_at_zero(UNIFORM / 20, UNIFORM / 20, 0.6, KNOWN, COUNTS)
    assert code(found) == "RNN301"
    assert (found.finding.severity, found.finding.cause) == (None, "the loss is divided once too often")


def test_other_functions_are_told_where_targets_are_classes():
    value = 35 / 36**2
    found = check_loss_at_zero(value, value, 0.6, KNOWN, COUNTS)
    assert code(found) == "RNN302"
    assert "(V - 1) / V^2" in found.finding.message
    assert found.finding.evidence["expected"] == pytest.approx(UNIFORM)
    assert code(check_loss_at_zero(value, value, 0.6, UNSEEN, COUNTS)) is None
    assert code(check_loss_at_zero(-UNIFORM, -UNIFORM, 0.6, KNOWN, COUNTS)) == "RNN302"


@pytest.mark.parametrize("loss", [0.7 * UNIFORM, 1.37 * UNIFORM, 0.123])
def test_a_loss_of_no_known_scale_is_left_alone(loss):
    # Padding that counts as zero, weights for classes, or something nobody thought of.
    found = check_loss_at_zero(loss, loss, 0.6, KNOWN, COUNTS)
    assert code(found) is None
    assert tuple(found.checked) == ()
    assert f"{loss:.6g}" in why(found)


def test_the_first_loss_has_to_do_without_a_closure():
    mean = check_first_loss(0.97 * UNIFORM, None, 0.6, GUESSED, COUNTS)
    assert tuple(mean.checked) == ("RNN301", "RNN303")
    assert "second softmax" in mean.cannot_tell["RNN302"]
    found = check_first_loss(19.6 * UNIFORM, None, 0.6, GUESSED, COUNTS)
    assert code(found) == "RNN301"
    assert found.finding.evidence["ratio"] == pytest.approx(19.6)
    assert check_first_loss(0.4 * UNIFORM, None, 0.6, GUESSED, COUNTS) is None  # more losses may tell
    unclear = check_first_loss(2.3 * UNIFORM, None, 0.6, KNOWN, COUNTS)
    assert code(unclear) is None
    assert "closure" in why(unclear)


def test_large_output_weights_explain_a_high_first_loss_better_than_a_sum_if_they_are_large_enough():
    found = check_first_loss(19.6 * UNIFORM, None, 25.0, KNOWN, COUNTS)
    assert code(found) == "RNN303"
    assert found.finding.evidence["weight_scale"] == 25.0
    # Logits with a deviation of 5 add at most 5 sqrt(2 ln 36) = 13.4 nats, and this loss is 66.7 above ln 36.
    summed = check_first_loss(19.6 * UNIFORM, None, 5.0, KNOWN, COUNTS)
    assert (code(summed), summed.finding.evidence["factor"]) == ("RNN301", 20.0)


@pytest.mark.parametrize(("height", "weights", "expected"), [(1.3, 4.0, "RNN303"), (1.2, 4.0, None), (1.3, 2.9, None)])
def test_weights_seen_to_be_large_make_a_lower_first_loss_suspicious(height, weights, expected):
    loss = height * UNIFORM
    found = [
        check_loss_at_zero(UNIFORM, loss, weights, KNOWN, COUNTS),
        check_first_loss(loss, loss, weights, KNOWN, COUNTS),
        check_first_loss(loss, None, weights, KNOWN, COUNTS),
    ]
    assert [code(one) for one in found] == [expected] * 3
    if expected:
        assert [one.finding.evidence["weight_scale"] for one in found] == [weights] * 3


def test_observed_logits_decide():
    assert tuple(check_first_loss(9.0, 9.0, 0.6, GUESSED, COUNTS).checked) == ("RNN301", "RNN302")
    wild = check_first_loss(9.0, 9.0, 0.6, KNOWN, COUNTS)
    assert code(wild) == "RNN303"
    found = check_first_loss(20 * 3.4, 3.4, 0.6, KNOWN, COUNTS)
    assert code(found) == "RNN301"
    assert "the number of time steps" in found.finding.message
    accumulated = check_first_loss(5 * 1.4142, 1.4142, 0.6, KNOWN, COUNTS).finding
    assert (accumulated.code, accumulated.evidence["factor"]) == ("RNN301", 5)
    # A penalty, smoothed labels or a second softmax: the first loss does not tell them apart.
    unexplained = check_first_loss(3.6, 3.4, 0.6, KNOWN, COUNTS)
    assert (tuple(unexplained.checked), tuple(unexplained.cannot_tell)) == (("RNN301", "RNN303"), ("RNN302",))


def test_low_first_losses_are_a_squared_error_or_unclear():
    value = 35 / 36**2
    assert code(check_low_losses([value, 1.01 * value, 0.99 * value], (36,))) == "RNN302"
    low = check_low_losses([0.6, 0.9, 0.5], (36,))
    assert code(low) is None
    assert "low" in why(low)
    prior = check_low_losses([value, 1.01 * value, 0.99 * value], (36,), baseline=1.1 * value)
    assert (code(prior), "entropy" in why(prior)) == (None, True)


# --- the detector ----------------------------------------------------------------------------------------------------

TOKENS = np.random.default_rng(0).integers(36, size=(20, 16))
ONE_HOT = np.eye(36)[TOKENS]


def a_batch(data=(ONE_HOT, ONE_HOT), **given):
    return Batch(data, "train", 1, batch_size=16, **given)


def test_a_closure_decides_at_the_first_batch():
    params = {"head": np.full((36, 8), 0.1)}
    batch = a_batch(closure=lambda: 20 * UNIFORM + float(np.square(params["head"]).sum()))
    detector = InitialLossDetector()
    assert code(detector.check(batch, 20 * UNIFORM + 2.88, params)) == "RNN301"
    assert detector.done
    assert (params["head"] == 0.1).all()


def test_low_losses_are_judged_at_the_third_batch_and_the_first_reason_is_kept():
    detector = InitialLossDetector()
    results = []
    for loss in (0.6, 0.9, 0.5):
        assert not detector.done
        results.append(detector.check(a_batch(), loss, {}))
    assert detector.done
    assert why(results[0]) == "pass closure= to run.backward"
    assert results[1].not_checked == {}
    assert "low" in why(results[2])


@pytest.mark.parametrize(("slope", "expected"), [(0.39, None), (0.01, "RNN302")])
def test_low_losses_of_two_unequal_classes_are_no_squared_error_if_their_entropy_is_that_of_a_softmax(slope, expected):
    vector = np.array([0.22, -0.22])
    params = {"head": np.tile(vector, (5, 1)), "bias": vector}
    gradients = {name: np.broadcast_to([-slope / 6, slope / 6], array.shape).copy() for name, array in params.items()}
    detector = InitialLossDetector()
    for loss in (0.5, 0.51, 0.5):
        last = detector.check(a_batch(2), loss, params, gradients)
    assert code(last) == expected


def test_what_shows_nothing_is_not_checked():
    detector = InitialLossDetector()
    assert why(detector.check(a_batch(7), 40.0, {})) == "run.observe(inputs=..., targets=...)"
    assert detector.done


def test_the_first_loss_of_a_regression_is_judged_by_the_mean_squared_target():
    data = (np.zeros((20, 16, 1)), np.full((20, 16, 1), 0.3))
    healthy = InitialLossDetector().check(a_batch(data), 0.1, {"head": np.full((1, 8), 0.1)})
    assert tuple(healthy.checked) == ("RNN303",)
    assert "1.11 times the mean squared target" in healthy.checked["RNN303"]


def test_a_loss_below_zero_with_class_targets_lacks_the_logarithm():
    tokens = np.arange(320).reshape(20, 16) % 36
    finding = InitialLossDetector().check(a_batch((tokens, tokens)), -0.03, {"head": np.full((36, 8), 0.1)}).finding
    assert finding.code == "RNN302"
    assert "below 0, as the negative probability of the target is" in finding.message


@pytest.mark.parametrize("shows", ["logits", "probabilities"])
def test_a_second_softmax_is_named_by_the_observed_logits(shows):
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, 5, (20, 16))
    logits = generator.normal(0.0, 1.0, (20, 16, 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    again = np.exp(probabilities) / np.exp(probabilities).sum(axis=-1, keepdims=True)
    hot = np.eye(5)[tokens]
    batch = a_batch((tokens, tokens))
    batch.observed["logits"] = logits if shows == "logits" else probabilities
    params = {"head": np.full((5, 8), 0.1)}
    finding = InitialLossDetector().check(batch, float(-np.log((again * hot).sum(-1)).mean()), params).finding
    assert finding.code == "RNN302"
    assert finding.message.startswith("the loss applies a softmax to probabilities: ")
    right = InitialLossDetector().check(batch, float(-np.log((probabilities * hot).sum(-1)).mean()), params)
    assert right.finding is None
    assert "RNN302" in right.checked


def test_two_classes_and_a_loss_of_one_cannot_be_told_from_bits_without_logits():
    two = TargetClasses((2,), certain=True, regression=False, known=True)
    for loss in (1.0, 16.0, 20.0):  # log2 2 = 1, and so is the squared error of outputs of 0
        found = check_loss_at_zero(loss, loss, 0.6, two, COUNTS)
        assert (found.finding, dict(found.checked), set(found.cannot_tell)) == (None, {}, set(CODES))
    assert code(check_loss_at_zero(0.5, 0.5, 0.6, two, COUNTS)) == "RNN302"
    assert code(check_loss_at_zero(20 * math.log(2), 14.0, 0.6, two, COUNTS)) == "RNN301"


def test_a_sum_over_steps_that_is_divided_by_the_classes_is_no_mean():
    found = check_loss_at_zero(20 * UNIFORM / 36, 2.0, 0.6, KNOWN, COUNTS)
    assert (code(found), found.finding.evidence["factor"]) == ("RNN301", 1.8)
    near = TargetClasses((21,), certain=True, regression=False, known=True)
    first = check_first_loss(20 * math.log(21) / 21, None, 0.6, near, COUNTS)
    assert (first.finding, dict(first.checked), set(first.cannot_tell)) == (None, {}, set(CODES))


def test_giving_up_names_the_reason():
    detector = InitialLossDetector()
    assert why(detector.give_up("the run resumes")) == "the run resumes"
    assert detector.done


def test_low_losses_of_a_regression_whose_targets_are_not_shown_are_not_judged():
    """A third is half the summed squared error of three classes, and the loss of many regressions."""
    params = {"W": 0.1 * np.eye(14), "V": np.full((14, 3), 0.1), "c": np.zeros(3)}
    detector = InitialLossDetector()
    results = [detector.check(Batch(None, "train", n), 0.33 - n / 500, params) for n in range(3)]
    assert [one.finding for one in results] == [None] * 3
    assert "run.observe(inputs=..., targets=...)" in results[-1].not_checked["RNN302"]
