"""Central differences: errors in units of the change, and when a comparison is conclusive."""

import math

import pytest

from rnncallbacks.detectors.gradient.central_difference import (
    CentralDifference,
    DirectionalComparison,
    root_mean_square,
)


def difference(change=1.0, predicted=1.0, second_difference=0.0, penalties=(0.0, 0.0)):
    return CentralDifference(change, predicted, second_difference, penalties, unit=1.0)


def comparison(along=None, random=None, rounding_error=0.0):
    along = difference() if along is None else along
    random = difference(0.3, 0.3) if random is None else random
    return DirectionalComparison(along, (random, random), rounding_error)


def test_errors_are_relative_to_the_unit_and_leave_out_a_factor_and_a_penalty():
    one = CentralDifference(3.0, 2.0, 0.0, (0.0, 0.0), unit=2.0)
    assert one.error() == 0.5
    assert one.error(ratio=1.5) == 0.0
    assert one.error(penalty=1.0) == 1.0


def test_the_ratio_is_that_along_the_gradient():
    assert comparison(difference(0.5, 1.0)).ratio == 0.5
    assert math.isnan(comparison(difference(0.5, 0.0)).ratio)


@pytest.mark.parametrize(
    ("along", "random", "agrees"),
    [
        (difference(1.019), None, True),
        (difference(1.021), None, False),
        (None, difference(0.349, 0.3), True),
        (None, difference(0.351, 0.3), False),
        (difference(1.049, second_difference=0.01), None, True),  # as much as three second differences more
        (difference(1.051, second_difference=0.01), None, False),
    ],
)
def test_gradients_agree_within_the_tolerances(along, random, agrees):
    assert comparison(along, random).agrees() == agrees


@pytest.mark.parametrize(
    ("along", "random", "rounding_error"),
    [
        (None, None, 0.11),
        (None, None, math.nan),
        (difference(second_difference=0.11), None, 0.0),
        (None, difference(0.3, 0.3, second_difference=0.31), 0.0),
    ],
)
def test_rounding_and_curvature_make_a_comparison_inconclusive(along, random, rounding_error):
    assert comparison().is_conclusive
    assert not comparison(along, random, rounding_error).is_conclusive


def test_an_inconclusive_comparison_confirms_only_what_agrees_without_curvature():
    curved = difference(0.3, 0.3, second_difference=0.31)
    assert comparison(random=curved).confirms_gradients
    assert not comparison(difference(1.03, second_difference=0.05), curved).confirms_gradients
    assert not comparison(rounding_error=math.nan).confirms_gradients


def test_a_penalty_is_left_out_of_what_gradients_predict():
    decayed = comparison(difference(1.0, 1.2), difference(0.3, 0.4))
    assert not decayed.agrees()
    assert decayed.agrees(penalties=[0.2, 0.1, 0.1])


def test_errors_are_reproduced_by_another_step_size_and_noise_is_not():
    wrong = comparison(difference(1.5), difference(0.6, 0.3))
    assert wrong.is_reproduced_by(comparison(difference(1.55), difference(0.62, 0.3)))
    assert not wrong.is_reproduced_by(comparison(difference(1.1), difference(0.6, 0.3)))
    assert not wrong.is_reproduced_by(comparison(difference(1.5), difference(0.1, 0.3)))


def test_the_root_mean_square_of_nothing_is_zero():
    assert root_mean_square([]) == 0.0
