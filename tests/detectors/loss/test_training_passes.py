"""A validation without a phase of its own passes through the training phase; its reported loss shows it."""

import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.loss_report import NO_PHASE, LossReportDetector

TRAINING, VALIDATION = [1.5125, 2.0375, 1.75, 1.25], [1.625, 1.9375]


def epochs(reports, *, passes=(TRAINING, VALIDATION), count=2):
    detector, results = LossReportDetector(), []
    for _ in range(count):
        detector.begin_epoch()
        for losses in passes:
            for index, loss in enumerate(losses, start=1):
                detector.add(Batch(None, "train", index, count=len(losses), loss=loss, sequences=8))
        results.append(detector.check(reports))
    return results


def mean(losses):
    return sum(losses) / len(losses)


@pytest.mark.parametrize("name", ["val", "validation", "dev", "test"])
def test_the_second_epoch_confirms_it(name):
    first, second = epochs({"train": mean(TRAINING), name: mean(VALIDATION)})
    assert first.finding is None
    assert (second.finding.code, second.finding.severity) == ("RNN102", None)
    assert second.finding.message.startswith(f"{name}_loss is the mean of 2 batches of the phase train: 1.781; ")
    assert second.finding.remedy == f"give these 2 batches a phase of their own, {name!r}"


@pytest.mark.parametrize(
    ("reports", "passes"),
    [
        ({"train": mean(TRAINING), "other": mean(VALIDATION)}, (TRAINING, VALIDATION)),  # two training sets
        ({"train": mean(TRAINING), "val": 1.1 * mean(VALIDATION)}, (TRAINING, VALIDATION)),
        ({"train": mean(TRAINING), "val": mean(TRAINING)}, (TRAINING, TRAINING)),  # which of the two is not known
        ({"train": mean(TRAINING), "val": mean(TRAINING)}, (TRAINING,)),
        ({"train": mean(TRAINING), "val": "none"}, (TRAINING, VALIDATION)),
        ({"train": mean(TRAINING), "val": 1.8}, (TRAINING, VALIDATION)),  # too few digits
    ],
)
def test_other_reports_are_no_evidence_of_it(reports, passes):
    assert [result.finding for result in epochs(reports, passes=passes)] == [None, None]


def test_each_training_loss_is_compared_with_its_own_pass():
    for losses in (TRAINING, VALIDATION):
        result = epochs({"train": mean(losses)})[-1]
        assert "RNN101" in result.checked
        assert f"the {len(losses)} batch losses" in result.checked["RNN101"]


def test_a_validation_without_batches_is_told_how_to_become_a_phase():
    result = epochs({"train": mean(TRAINING), "val": 0.9}, passes=(TRAINING,))[-1]
    assert result.not_checked["RNN102"] == NO_PHASE["RNN102"]
