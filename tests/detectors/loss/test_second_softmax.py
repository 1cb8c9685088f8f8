"""A softmax of probabilities, by a loss that stays bounded when the parameters grow."""

import math

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.second_softmax import check_bounded_loss, is_divided_at_absent_classes

TARGETS = np.arange(12) % 5


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def closure_of(params, times, floor=0.0):
    def closure():
        p = params["W"]
        for _ in range(times):
            p = softmax(p)
        return float(-np.log(p[range(12), TARGETS] + floor).mean())

    return closure


@pytest.mark.parametrize("scale", [1e-3, 0.3])
@pytest.mark.parametrize(("times", "floor", "code"), [(1, 1e-12, None), (1, 1e-300, None), (2, 0.0, "RNN302")])
def test_only_a_second_softmax_is_bounded(scale, times, floor, code):
    params = {"W": scale * np.random.default_rng(0).normal(size=(12, 5))}
    before = params["W"].copy()
    closure = closure_of(params, times, floor)
    result = check_bounded_loss(Batch(None, "train", 1, closure=closure), closure(), params, classes=5)
    assert (result.finding.code if result.finding else None) == code
    assert not result.withdrawn
    assert np.array_equal(params["W"], before)


def test_a_loss_that_is_no_number_with_large_parameters_shows_nothing():
    params = {"W": np.random.default_rng(0).normal(size=(12, 5))}

    def closure():
        e = np.exp(params["W"])  # overflows
        return closure_of({"W": e / e.sum(axis=1, keepdims=True)}, 1)()

    result = check_bounded_loss(Batch(None, "train", 1, closure=closure), closure(), params, classes=5)
    assert (result.finding, result.checked) == (None, {})


def test_a_trained_network_without_errors_is_not_judged():
    params = {"W": 4.0 * np.eye(5)[TARGETS]}
    closure = closure_of(params, 1)
    assert check_bounded_loss(Batch(None, "train", 1, closure=closure), closure(), params, classes=5).finding is None


def test_nothing_is_checked_without_a_closure():
    result = check_bounded_loss(Batch(None, "train", 1), 1.6, {"W": np.ones((2, 5))}, classes=5)
    assert (result.finding, result.withdrawn) == (None, {})


@pytest.mark.parametrize(
    ("counts", "divided"),
    [
        (np.eye(20)[[3, 5, 3, 7, 9]].sum(axis=0), True),  # 16 classes are absent
        (np.r_[np.ones(19), 2.0], False),  # each class has one target, and one has two
        (np.random.default_rng(0).multinomial(2000, np.full(20, 0.05)), False),
        (np.random.default_rng(0).multinomial(200, np.full(20, 0.05)), False),
    ],
)
def test_gradient_at_absent_classes(counts, divided):
    gradient = 1 / 20 - counts / counts.sum()
    assert not is_divided_at_absent_classes(gradient, math.log(20))
    assert is_divided_at_absent_classes(gradient / 20, math.log(20)) is divided
    assert not is_divided_at_absent_classes(gradient / 20, 1.2 * math.log(20))
