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
    assert finding.evidence["training_loss"] == pytest.approx(FALLING[found[0] - 1])  # the median of three
    assert finding.evidence["training_loss_at_best"] == pytest.approx(FALLING[15])
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
    training = np.array([0.5, 0.4, 0.3, 0.2268, 0.2, 0.19, 0.18, 0.17, 0.16, 0.15, 0.29, 0.28, 0.2676])
    validation = np.array([0.6, 0.5, 0.4, 0.3] + [0.5] * 9)
    assert [result.finding for result in check(training, validation)[11:] if result.finding] == []


@pytest.mark.parametrize("last", [0.05, 0.5], ids=["low", "high"])
def test_the_training_losses_that_are_reported_are_those_that_were_judged(last):
    """Medians of three epochs: a single loss that jumps up appears in neither message nor evidence."""
    training = np.append(FALLING[:24], last)
    finding = check(training, TURNING[:25])[-1].finding or next(
        result.finding for result in check(training, TURNING[:25]) if result.finding
    )
    evidence = finding.evidence
    assert evidence["training_loss"] < evidence["training_loss_at_best"]
    before, after = f"{evidence['training_loss_at_best']:.6g}", f"{evidence['training_loss']:.6g}"
    assert f"training from {before} to {after} (medians of three epochs)" in finding.message


def test_validation_may_have_begun_later():
    assert any(
        Overfitting().check(FALLING[:end].tolist(), TURNING[5:end].tolist()).finding for end in range(14, len(EPOCHS))
    )


@pytest.mark.parametrize(
    ("others", "severity"), [(0.0, "info"), (-0.05, "info"), (0.05, "info"), (0.2, None), (1.0, None)]
)
def test_a_rise_of_one_validation_batch_alone_is_a_note(others, severity):
    """The first batch of a stream enters with zeros, and may rise while the network learns to use its state."""
    rise = 4.0 * (TURNING - TURNING.min())
    batches = np.stack([TURNING.min() + rise, *[TURNING.min() + others * rise] * 3], axis=1)
    batches[: len(EPOCHS) // 2] = TURNING[: len(EPOCHS) // 2, None]
    detector = Overfitting()
    found = [
        result.finding
        for end in range(1, len(EPOCHS) + 1)
        if (
            result := detector.check(
                FALLING[:end].tolist(), batches[:end].mean(axis=1).tolist(), batches[:end].tolist()
            )
        ).finding
    ]
    assert [finding.severity for finding in found] == [severity]
    if severity:
        assert found[0].evidence["batch"] == 1
        assert found[0].message.startswith("the validation loss rose in one batch only: ")
        assert "that of the 3 others" in found[0].message


def test_validation_batches_whose_number_changes_are_not_compared():
    batches = [[loss] * (2 + epoch % 2) for epoch, loss in enumerate(TURNING.tolist())]
    detector = Overfitting()
    found = [detector.check(FALLING[:end].tolist(), TURNING[:end].tolist(), batches[:end]) for end in range(1, 31)]
    assert [one.finding.severity for one in found if one.finding] == [None]


def test_a_validation_that_learned_nothing_of_a_training_below_it_is_not_compared():
    apart = np.maximum.accumulate(TURNING[::-1]) + FALLING[0]  # rises from the first epoch on
    results = check(FALLING, apart)
    assert all(one.finding is None for one in results)
    assert "both may be computed from other losses, targets or data" in results[-1].cannot_tell["RNN604"]
