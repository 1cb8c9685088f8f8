"""Losses of one sigmoid output and targets of 0 and 1: which function, and of how many terms."""

import math

import numpy as np
import pytest

from rnncallbacks.detectors.loss.sigmoid_loss import check_sigmoid_loss, is_binary

TARGETS = np.random.default_rng(0).integers(0, 2, (6, 5)).astype(float)
LOGITS = np.random.default_rng(1).normal(size=(6, 5, 1))
COUNTS = {"the number of time steps": 6.0, "the batch size": 5.0}


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def likelihood(z, y):
    return float(np.mean(-y * np.log(sigmoid(z)) - (1 - y) * np.log(1 - sigmoid(z))))


LOSSES = {
    "likelihood": likelihood,
    "sum over steps": lambda z, y: 6.0 * likelihood(z, y),
    "squared error": lambda z, y: float(np.mean((sigmoid(z) - y) ** 2)),
    "no logarithm": lambda z, y: -float(np.mean(y * sigmoid(z) + (1 - y) * (1 - sigmoid(z)))),
    "sigmoid twice": lambda z, y: likelihood(sigmoid(z), y),
    "linear": lambda z, y: float(np.mean((z - y) ** 2)),
}
RESULTS = {
    "likelihood": None,
    "sum over steps": "RNN301",
    "squared error": "RNN302",
    "no logarithm": "RNN302",
    "sigmoid twice": "RNN302",
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("evidence", ["closure", "logits", "transposed logits"])
def test_the_function_is_identified(name, evidence):
    z, y = LOGITS[..., 0], TARGETS
    shown = {
        "closure": {"at_zero": LOSSES[name](0.0 * z, y)},
        "logits": {"outputs": LOGITS},
        "transposed logits": {"outputs": LOGITS[..., 0].T},
    }[evidence]
    result = check_sigmoid_loss(LOSSES[name](z, y), y, counts=COUNTS, **shown)
    if name not in RESULTS:
        assert result is None
        return
    finding = result.finding
    assert (None if finding is None else finding.code) == RESULTS[name]
    assert finding is not None or set(result.checked) >= {"RNN301", "RNN302"}
    assert finding is None or len(finding.message.partition(":")[0]) <= 80


def test_a_loss_that_linear_outputs_have_too_is_not_judged():
    quarter = np.array([1.0, 0.0, 0.0, 0.0])  # mean(y^2) is that of a sigmoid's squared error, 1 / 4
    assert check_sigmoid_loss(0.26, quarter, counts={}, at_zero=0.25) is None


def test_a_high_first_loss_does_not_pass():
    result = check_sigmoid_loss(3.0, TARGETS, counts={}, at_zero=math.log(2.0))
    assert (sorted(result.checked), list(result.cannot_tell)) == (["RNN301", "RNN302"], ["RNN303"])


@pytest.mark.parametrize(("targets", "binary"), [([0, 1, 1], True), ([1, 1], False), ([0, 2, 1], False)])
def test_binary_targets_are_zeros_and_ones(targets, binary):
    assert is_binary(np.array(targets, dtype=float)) is binary


def test_a_high_first_loss_of_large_output_weights_is_named():
    result = check_sigmoid_loss(3.0, TARGETS, counts={}, at_zero=math.log(2.0), large_weights=12.0)
    assert (sorted(result.checked), result.finding.code) == (["RNN301", "RNN302"], "RNN303")


def test_no_loss_of_zeros_and_ones_is_negative():
    finding = check_sigmoid_loss(-1.72, TARGETS, counts={}, at_zero=-2.6).finding
    assert (finding.code, finding.evidence["loss"]) == ("RNN302", -1.72)
