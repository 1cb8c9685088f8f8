"""Reports of epochs, judged: alone, beside another phase, over two epochs, and what could not be checked."""

import math

import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.loss_report import NOT_REPORTED, LossReportDetector

LOSSES = {"train": [1.5, 2.0, 1.75, 1.25], "val": [1.6, 1.9]}
SIZE = 8


def check(detector, reported, *, sequences=SIZE, scale=1.0, **options):
    detector.begin_epoch()
    for phase, losses in LOSSES.items():
        for index, loss in enumerate(losses, start=1):
            detector.add(Batch(None, phase, index, count=len(losses), loss=scale * loss, sequences=sequences))
    return detector.check(reported, **options)


def mean(phase):
    return sum(LOSSES[phase]) / len(LOSSES[phase])


def test_two_correct_reports_are_checked():
    result = check(LossReportDetector(), {"train": mean("train"), "val": mean("val")})
    assert result.finding is None
    assert tuple(result.checked) == ("RNN101", "RNN102")


def test_one_wrong_report_alone_and_beside_a_correct_one():
    alone = check(LossReportDetector(), {"train": mean("train") / SIZE}).finding
    assert (alone.code, alone.severity, alone.evidence["train_divisor"]) == ("RNN101", None, 32)
    assert alone.remedy == "divide the sum of the batch losses of train by the 4 batches, not by the 32 samples"
    beside = check(LossReportDetector(), {"train": mean("train") / SIZE, "val": mean("val")}).finding
    assert beside.code == "RNN102"
    assert beside.message.endswith("; val_loss is the mean of its batch losses")


def test_two_wrong_reports_are_one_finding_with_two_remedies():
    finding = check(LossReportDetector(), {"train": mean("train") / SIZE, "val": mean("val") / SIZE}).finding
    assert finding.code == "RNN101"
    assert finding.remedy == (
        "divide the sum of the batch losses of train by the 4 batches, not by the 32 samples; "
        "divide the sum of the batch losses of val by the 2 batches, not by the 16 samples"
    )
    assert {"train_batch_mean", "val_batch_mean"} <= set(finding.evidence)


def test_a_denominator_that_could_be_chance_takes_two_epochs():
    detector = LossReportDetector()
    scale = math.pi  # a loss of few digits would agree with many counts
    reported = {"train": scale * sum(LOSSES["train"]) / 5}
    assert check(detector, reported, scale=scale).finding is None
    assert check(detector, reported, scale=scale).finding.evidence["train_divisor"] == 5


def test_sums_over_the_samples_make_it_a_note():
    # Without targets, a first loss above 10 nats is a sum.
    finding = check(LossReportDetector(), {"train": mean("train")}, scale=SIZE).finding
    assert finding.severity == "info"
    assert finding.message.endswith("; that is correct only if the batch losses are sums, as their size suggests")


def test_what_was_not_reported_or_is_not_explained_was_not_checked():
    assert check(LossReportDetector(), {}).not_checked == NOT_REPORTED
    result = check(LossReportDetector(), {"train": 0.1234 * mean("train"), "val": mean("val")})
    assert tuple(result.checked) == ()
    assert set(result.cannot_tell) == {"RNN101", "RNN102"}
    for why in result.cannot_tell.values():
        assert why.startswith("what run.log(train_loss=...) reports is neither a mean of the batch losses nor ")
    assert LossReportDetector().check({"train": 1.0}).not_checked == {}


@pytest.mark.parametrize("value", [None, "falling", 0.0, -1.0, float("nan"), float("inf")])
def test_other_values_are_passed_over(value):
    result = check(LossReportDetector(), {"train": value})
    assert (result.finding, result.checked) == (None, {})


def test_a_skipped_batch_discards_its_pass():
    detector = LossReportDetector()
    detector.add(Batch(None, "train", 1, loss=1.5, sequences=SIZE))
    detector.add(Batch(None, "train", 2, loss=1.5, sequences=SIZE, skipped=True))
    assert detector.phases == ("train",)
    assert detector.check({"train": 1.5 / SIZE}).finding is None


def test_an_epoch_that_stopped_is_judged_only_if_the_loader_knows_its_length():
    detector = LossReportDetector()
    for index in (1, 2):
        detector.add(Batch(None, "train", index, loss=1.5, sequences=SIZE))
    assert detector.check({"train": 1.5 / SIZE}, stopped=True).finding is None
    assert check(LossReportDetector(), {"train": mean("train") / SIZE}, stopped=True).finding is not None


@pytest.mark.parametrize(("batches", "said"), [(1, "the one batch loss"), (2, "the 2 batch losses")])
def test_the_passed_check_counts_the_losses(batches, said):
    detector = LossReportDetector()
    detector.begin_epoch()
    for index in range(1, batches + 1):
        detector.add(Batch(None, "train", index, count=batches, loss=1.5, sequences=SIZE))
    assert detector.check({"train": 1.5}).checked["RNN101"] == f"the reported train loss with {said} of epoch 1"


@pytest.mark.parametrize(
    ("passes", "knows"),
    [
        ([[8] * 499], False),
        ([[8] * 500], True),
        ([[8] * 40, [8] * 16], True),
        ([[8] * 40 + [5], [8] * 16], True),
        ([[8] * 40 + [16] * 40, [8] * 40], False),
        ([[8] * 40 + [16] * 40, [8] * 500 + [16]], False),
    ],
)
def test_lengths_of_batches_are_known_in_advance_after_a_pass_of_equal_ones(passes, knows):
    """A loader that sorts sequences by length yields many equal batches at first."""
    detector = LossReportDetector()
    for steps in passes:
        detector.begin_epoch()
        for index, length in enumerate(steps, start=1):
            detector.add(Batch(None, "train", index, count=1000, loss=1.0, sequences=2, tokens=2 * length))
    assert detector.knows_next_lengths == knows
