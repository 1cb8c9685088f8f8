"""Overfitting: a validation loss that rises clearly while training goes on, found once each time."""

import numpy as np
import pytest

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.detectors.progress.overfitting import Overfitting

EPOCHS = np.arange(30)
FALLING = 3.0 * np.exp(-EPOCHS / 15)
TURNING = 3.0 - 0.1 * np.minimum(EPOCHS, 15) + 0.05 * np.maximum(EPOCHS - 15, 0)


def check(training, validation, detector=None):
    """The results after each epoch."""
    detector = Overfitting() if detector is None else detector
    return [detector.check(training[:end].tolist(), validation[:end].tolist()) for end in range(1, len(training) + 1)]


def test_the_finding_compares_both_curves_and_says_how_far_to_go_back():
    results = check(FALLING, TURNING)
    found = [epoch for epoch, result in enumerate(results) if result.finding]
    assert len(found) == 1
    finding = results[found[0]].finding
    since = finding.evidence["epochs_since_best"]
    assert since == found[0] - 15
    assert finding.evidence["best_validation_loss"] == pytest.approx(1.5)
    assert finding.evidence["training_loss"] == pytest.approx(FALLING[found[0]])
    assert f"from {since} epochs ago" in finding.remedy
    assert len(finding.message.partition(":")[0]) <= 80


def test_a_new_best_value_ends_a_period_of_overfitting():
    validation = np.concatenate([TURNING, TURNING - 3.0])
    training = np.concatenate([FALLING, FALLING[-1] * np.exp(-EPOCHS / 15)])
    assert sum(result.finding is not None for result in check(training, validation)) == 2


def test_a_short_run_is_not_judged_and_a_healthy_one_passes():
    results = check(FALLING, FALLING + 0.5)
    assert results[6] == CheckResult()
    assert [list(result.checked) for result in results[7:]] == [["RNN604"]] * (len(EPOCHS) - 7)
    assert results[-1].finding is None
    assert results[-1].checked["RNN604"].startswith("validation losses of 30 epochs: ")


def test_a_training_loss_that_jumps_up_at_the_end_did_not_fall():
    """What is reported is what was judged: no training loss fell from 0.23 to 0.27."""
    training = np.array([0.5, 0.4, 0.3, 0.2268, 0.2, 0.19, 0.18, 0.17, 0.16, 0.15, 0.29, 0.28, 0.2676])
    validation = np.array([0.6, 0.5, 0.4, 0.3] + [0.5] * 9)
    found = [result.finding for result in check(training, validation)[10:] if result.finding]
    assert found == []
    for result in check(training[:10], validation[:10]):
        if result.finding is not None:
            before, after = result.finding.message.partition("training from ")[2].split()[:3:2]
            assert float(after) < float(before)


def test_validation_may_have_begun_later():
    assert any(
        Overfitting().check(FALLING[:end].tolist(), TURNING[5:end].tolist()).finding for end in range(14, len(EPOCHS))
    )
