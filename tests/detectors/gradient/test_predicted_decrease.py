"""A loss that falls less than predicted: which runs are followed, and what is said of it."""

import math

import numpy as np
import pytest

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.decrease_regression import DecreaseComparison
from rnncallbacks.detectors.gradient.predicted_decrease import PredictedDecreaseDetector, insufficient_decrease
from rnncallbacks.detectors.training_batch import TrainingBatch


def below(**changes):
    usual = {"outcome": "below", "updates": 40, "predicted": 0.6, "ratio": 0.25, "array": "", "array_predicted": 0.4}
    return DecreaseComparison(**usual | {"array_ratio": -0.5, "same_ratio": False} | changes)


def test_the_message_has_the_predicted_and_the_actual_decrease():
    finding = insufficient_decrease(below())
    assert "within 40 updates, by 0.25 of the predicted decrease (expected 1 or more)" in finding.message
    assert "0.6 of the first loss" in finding.message
    assert len(finding.message.partition(":")[0]) <= 80
    assert (finding.code, finding.severity) == ("RNN404", "warning")
    assert finding.evidence == {
        "updates": 40,
        "predicted_decrease": 0.6,
        "expected": 1.0,
        "actual_to_predicted": 0.25,
    }


def test_the_array_with_the_smallest_ratio_is_named():
    finding = insufficient_decrease(below(array="Wxh", ratio=math.nan))
    assert finding.message.endswith("the gradient of 'Wxh' predicts 0.4 of it, and the loss fell by -0.5 of that")
    assert (finding.evidence["array"], finding.evidence["ratio"]) == ("Wxh", -0.5)
    assert "actual_to_predicted" not in finding.evidence


@pytest.mark.parametrize(("follows_gradient", "severity"), [(True, None), (False, "info")])
def test_a_factor_is_reported_with_its_count(follows_gradient, severity):
    name = "the number of time steps"
    finding = insufficient_decrease(below(ratio=0.05), name, 20.0, follows_gradient=follows_gradient)
    assert (finding.code, finding.severity) == ("RNN405", severity)
    assert finding.message.endswith("20 is the number of time steps")
    assert finding.evidence["factor"] == pytest.approx(20.0)


def follow(tokens_of, *, factor=16.0, batches=60, params_known=True):
    """Descend to a moving target with gradients that are off by a factor."""
    generator, params = np.random.default_rng(0), {"w": np.zeros(6)}
    target, detector = generator.normal(size=6), PredictedDecreaseDetector()
    for number in range(1, batches + 1):
        batch = Batch((tokens_of(generator), np.zeros(16, dtype=int)), "train", number, batch_size=16)
        off = params["w"] - target + 0.1 * generator.normal(size=6)
        gradient = factor * 2.0 * off
        gradients, known = Gradients({"w": gradient.copy()}), params if params_known else None
        finding = detector.check(TrainingBatch(number, batch, float((off**2).sum()), gradients, known), 1.0)
        params["w"] -= 0.02 / factor * gradient
        if finding is not None or detector.over:
            return detector, finding
    return detector, None


def unrelated(generator):
    return generator.integers(0, 9, (16, 5))


def test_unrelated_batches_are_followed():
    detector, finding = follow(unrelated)
    assert finding.code in ("RNN404", "RNN405")
    assert finding.evidence["actual_to_predicted"] == pytest.approx(1 / 16, rel=0.3)
    assert detector.over
    detector, finding = follow(unrelated, factor=1.0)
    assert finding is None


@pytest.mark.parametrize(
    "case",
    [{"tokens_of": lambda generator: np.zeros((16, 5), dtype=int)}, {"tokens_of": unrelated} | {"params_known": False}],
)
def test_batches_that_may_be_a_stream_and_unknown_parameters_are_not(case):
    detector, finding = follow(**case)
    assert finding is None
    assert detector.over


@pytest.mark.parametrize(("shuffled", "found"), [(True, True), (False, False)])
def test_indices_are_followed_until_their_order_is_known(shuffled, found):
    generator, params = np.random.default_rng(0), {"w": np.zeros(6)}
    target, detector, finding, order = generator.normal(size=6), PredictedDecreaseDetector(), None, np.arange(50)
    for number in range(150):
        if number % 50 == 0 and shuffled:
            order = generator.permutation(50)
        assert finding is None or detector.over
        if detector.over:
            break
        off = params["w"] - target + 0.1 * generator.normal(size=6)
        gradients = Gradients({"w": 32.0 * off})
        batch = Batch(int(order[number % 50]), "train", number % 50 + 1)
        finding = detector.check(TrainingBatch(number + 1, batch, float((off**2).sum()), gradients, params), 1.0)
        params["w"] -= 0.04 * off
    assert detector.over
    assert number > 50
    assert (finding is not None) is found
