"""What follows from a loss at zero parameters, from the first loss, and from logits."""

import math

import pytest

from rnncallbacks.detectors.loss.initial_loss import ALL, judge_first, judge_low, judge_zero
from rnncallbacks.detectors.loss.uniform_loss import Classes

COUNTS = {"the number of time steps": 20.0, "the batch size": 16.0, "the positions of the batch": 320.0}
KNOWN = Classes((36,), certain=True, regression=False, known=True)
GUESSED = Classes((36, 50), certain=False, regression=False, known=True)
UNSEEN = Classes((36,), certain=False, regression=False, known=False)
EVEN = math.log(36)


def code(judgement):
    return None if judgement.finding is None else judgement.finding.code


def test_a_mean_passes_and_a_wild_start_is_told_apart_from_it():
    assert judge_zero(EVEN, 1.02 * EVEN, 0.6, KNOWN, COUNTS).passed == ALL
    assert judge_zero(EVEN, 1.3 * EVEN, 0.6, KNOWN, COUNTS).passed == ALL
    assert judge_zero(EVEN, 0.2 * EVEN, 0.6, KNOWN, COUNTS).passed == ALL  # trained before
    wild = judge_zero(EVEN, 2.6 * EVEN, 0.6, KNOWN, COUNTS)
    assert code(wild) == "RNN303"
    assert wild.finding.evidence["ratio"] == pytest.approx(2.6)
    assert "2.6 times" in wild.finding.message


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_a_sum_names_what_it_is_over(name, count):
    found = judge_zero(count * EVEN, count * EVEN, 0.6, KNOWN, COUNTS)
    assert code(found) == "RNN301"
    assert name in found.finding.message
    assert found.finding.evidence["factor"] == count
    assert not found.divided
    assert found.passed == ("RNN302",)


def test_a_sum_over_positions_of_which_nothing_is_known_is_a_whole_multiple_of_the_even_guess():
    found = judge_zero(320 * EVEN, 330 * EVEN, 0.6, UNSEEN, {})
    assert code(found) == "RNN301"
    assert found.finding.evidence["factor"] == 320
    for loss, counts in ((320.1 * EVEN, {}), (17 * EVEN, COUNTS), (0.123, {})):
        unclear = judge_zero(loss, loss, 0.6, UNSEEN, counts)
        assert code(unclear) is None
        assert unclear.unclear.endswith("of no known scale: run.observe(inputs=..., targets=...)")


def test_a_loss_that_is_divided_twice_is_marked_as_such():
    found = judge_zero(EVEN / 20, EVEN / 20, 0.6, KNOWN, COUNTS)
    assert code(found) == "RNN301"
    assert found.divided


def test_other_functions_are_told_where_targets_are_classes():
    value = 35 / 36**2
    found = judge_zero(value, value, 0.6, KNOWN, COUNTS)
    assert code(found) == "RNN302"
    assert "(V - 1) / V^2" in found.finding.message
    assert found.finding.evidence["expected"] == pytest.approx(EVEN)
    assert code(judge_zero(value, value, 0.6, UNSEEN, COUNTS)) is None
    assert code(judge_zero(-EVEN, -EVEN, 0.6, KNOWN, COUNTS)) == "RNN302"


@pytest.mark.parametrize("loss", [0.7 * EVEN, 1.37 * EVEN, 0.123])
def test_a_loss_of_no_known_scale_is_left_alone(loss):
    # Padding that counts as zero, weights for classes, or something nobody thought of.
    found = judge_zero(loss, loss, 0.6, KNOWN, COUNTS)
    assert code(found) is None
    assert found.passed == ()
    assert f"{loss:.6g}" in found.unclear


def test_the_first_loss_has_to_do_without_a_closure():
    assert judge_first(0.97 * EVEN, None, 0.6, GUESSED, COUNTS).passed == ALL
    found = judge_first(19.6 * EVEN, None, 0.6, GUESSED, COUNTS)
    assert code(found) == "RNN301"
    assert found.finding.evidence["ratio"] == pytest.approx(19.6)
    assert judge_first(0.4 * EVEN, None, 0.6, GUESSED, COUNTS).unclear is None  # more losses may tell
    unclear = judge_first(2.3 * EVEN, None, 0.6, KNOWN, COUNTS)
    assert code(unclear) is None
    assert "closure" in unclear.unclear


def test_large_output_weights_explain_a_high_first_loss_better_than_a_sum():
    found = judge_first(19.6 * EVEN, None, 12.0, KNOWN, COUNTS)
    assert code(found) == "RNN303"
    assert found.finding.evidence["weight_scale"] == 12.0


@pytest.mark.parametrize(("height", "weights", "expected"), [(1.3, 4.0, "RNN303"), (1.2, 4.0, None), (1.3, 2.9, None)])
def test_weights_seen_to_be_large_make_a_lower_first_loss_suspicious(height, weights, expected):
    loss = height * EVEN
    found = [
        judge_zero(EVEN, loss, weights, KNOWN, COUNTS),
        judge_first(loss, loss, weights, KNOWN, COUNTS),
        judge_first(loss, None, weights, KNOWN, COUNTS),
    ]
    assert [code(one) for one in found] == [expected] * 3
    if expected:
        assert [one.finding.evidence["weight_scale"] for one in found] == [weights] * 3


def test_observed_logits_decide():
    assert judge_first(9.0, 9.0, 0.6, GUESSED, COUNTS).passed == ("RNN301", "RNN302")
    wild = judge_first(9.0, 9.0, 0.6, KNOWN, COUNTS)
    assert code(wild) == "RNN303"
    found = judge_first(20 * 3.4, 3.4, 0.6, KNOWN, COUNTS)
    assert code(found) == "RNN301"
    assert "the number of time steps" in found.finding.message
    # A penalty, or smoothed labels: the likelihood is not all of it, and the first loss decides.
    assert judge_first(3.6, 3.4, 0.6, KNOWN, COUNTS).passed == ALL


def test_low_first_losses_are_a_squared_error_or_unclear():
    value = 35 / 36**2
    assert code(judge_low([value, 1.01 * value, 0.99 * value], (36,))) == "RNN302"
    low = judge_low([0.6, 0.9, 0.5], (36,))
    assert code(low) is None
    assert "low" in low.unclear
