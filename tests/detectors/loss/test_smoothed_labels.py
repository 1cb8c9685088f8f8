"""A second softmax of smoothed labels, by the observed logits of a few batches."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.likelihood import missing_probability_under_logits, squared_errors_under_logits
from rnncallbacks.detectors.loss.smoothed_labels import SMOOTHED_LABELS, SmoothedLabelDetector

T, B, V = 5, 4, 6


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def smoothed_loss(logits, targets, share, times):
    labels = (1.0 - share) * np.eye(V)[targets] + share / V
    p = logits
    for _ in range(times):
        p = softmax(p)
    return float(-(labels * np.log(p)).sum(axis=-1).mean())


@pytest.mark.parametrize(
    ("share", "times", "penalty", "result"),
    [
        (0.1, 1, 0.0, "passed"),
        (0.1, 2, 0.0, "RNN302"),
        (0.3, 2, 0.0, "RNN302"),
        (0.0, 2, 0.0, "RNN302"),
        (0.1, 1, 0.02, "nothing"),
        (0.1, 2, 0.02, "nothing"),
    ],
)
def test_one_share_explains_all_losses(share, times, penalty, result):
    rng, detector, results = np.random.default_rng(0), SmoothedLabelDetector(), []
    for _ in range(SMOOTHED_LABELS.batches):
        logits, targets = rng.normal(size=(T, B, V)), rng.integers(0, V, (T, B))
        batch = Batch((targets, targets), "train", 1, observed={"logits": logits})
        loss = smoothed_loss(logits, targets, share, times) + penalty * rng.random()
        results.append(detector.check(batch, loss))
    assert detector.done
    found = results[-1].finding.code if results[-1].finding else "passed" if results[-1].checked else "nothing"
    assert found == result
    if result == "RNN302":
        assert results[-1].finding.evidence["smoothing"] == pytest.approx(share, abs=1e-6)


def test_without_logits_nothing_is_compared():
    detector = SmoothedLabelDetector()
    assert detector.check(Batch((np.zeros((T, B), int),) * 2, "train", 1), 1.8).finding is None
    assert detector.done


@pytest.mark.parametrize(
    ("name", "factor", "found"), [("softmax", 0.37, True), ("outputs", 0.14, True), ("outputs", None, False)]
)
def test_one_factor_explains_the_losses_of_a_squared_error(name, factor, found):
    rng, detector = np.random.default_rng(0), SmoothedLabelDetector()
    for _ in range(SMOOTHED_LABELS.batches):
        logits, targets = rng.normal(size=(T, B, V)), rng.integers(0, V, (T, B))
        batch = Batch((targets, targets), "train", 1, observed={"logits": logits})
        error = squared_errors_under_logits(logits, targets)[name]
        result = detector.check(batch, error * (factor or rng.random()))
    assert (result.finding is not None) is found
    assert not found or (name in result.finding.message and f"{factor} times" in result.finding.message)


@pytest.mark.parametrize("factor", [1.0, 12.0, None])
def test_one_minus_the_probability_of_the_target_has_no_logarithm(factor):
    rng, detector = np.random.default_rng(0), SmoothedLabelDetector()
    for _ in range(SMOOTHED_LABELS.batches):
        logits, targets = rng.normal(size=(T, B, V)), rng.integers(0, V, (T, B))
        batch = Batch((targets, targets), "train", 1, observed={"logits": logits})
        missing = missing_probability_under_logits(logits, targets)
        result = detector.check(batch, missing * (factor or rng.random()))
    if factor is None:
        assert result.finding is None
    else:
        assert result.finding.evidence["missing_probability"] == missing
        assert "the loss is one minus the probability of the target" in result.finding.message


@pytest.mark.parametrize(("penalty", "factor", "doubted"), [(0.0, 1.0, False), (0.0, 0.3, False), (0.4, 1.0, True)])
def test_a_loss_that_is_not_of_the_observed_logits_does_not_pass(penalty, factor, doubted):
    rng, detector = np.random.default_rng(0), SmoothedLabelDetector()
    for _ in range(SMOOTHED_LABELS.batches):
        logits, targets = rng.normal(size=(T, B, V)), rng.integers(0, V, (T, B))
        batch = Batch((targets, targets), "train", 1, observed={"logits": logits})
        result = detector.check(batch, factor * smoothed_loss(logits, targets, 0.0, 1) + penalty * rng.random())
    assert result.finding is None
    assert ("RNN302" in result.withdrawn) is doubted
