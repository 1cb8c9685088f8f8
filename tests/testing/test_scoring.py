import attrs
import pytest

from rnncallbacks.testing import FAULTS, HEALTHY, CaseOutcome, Fault, FiredAlarm
from rnncallbacks.testing.scoring import Score, harmful, wilson


def outcome(*alarms, true_loss=1.0, task="echo"):
    return CaseOutcome(
        fault="f", task=task, cell="tanh", optimizer="sgd", seed=0, loop="loop", alarms=tuple(alarms), repairs=(),
        batches=300, first_loss=2.0, train_loss=1.0, true_loss=true_loss,
    )  # fmt: skip


def test_wilson_is_the_published_interval():
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_fault_is_harmful_if_the_loss_exceeds_that_of_the_twin():
    fault = FAULTS["rate_x100"]
    twin = outcome(true_loss=1.0)
    assert not harmful(fault, outcome(true_loss=1.1), twin)
    assert harmful(fault, outcome(true_loss=1.11), twin)
    assert harmful(fault, outcome(true_loss=float("nan")), twin)
    assert harmful(FAULTS["loss_by_samples"], twin, twin)
    assert not harmful(HEALTHY, twin, twin)


def test_score_counts_reported_causes():
    fault = Fault(name="f", about="", codes=("RNN501",))
    right = FiredAlarm("RNN501", "error", 12, None)
    consequence = FiredAlarm("RNN602", "error", 3, "RNN501")
    wrong = FiredAlarm("RNN401", "warning", 20, None)
    note = attrs.evolve(right, severity="info")
    score = Score.of((fault, one) for one in (outcome(right, consequence), outcome(wrong), outcome(note), outcome()))
    assert (score.runs, score.detected, score.noted, score.named, score.mentioned) == (4, 2, 3, 1, 2)
    assert score.delays == (12, 20)
    assert score.delay(0.5) == 12
    assert score.delay(0.9) == 20


def test_an_explained_alarm_names_nothing():
    fault = Fault(name="f", about="", codes=("RNN602",))
    explained = outcome(FiredAlarm("RNN602", "error", 3, "RNN501"), FiredAlarm("RNN501", "error", 5, None))
    score = Score.of([(fault, explained)])
    assert (score.named, score.mentioned) == (0, 1)
