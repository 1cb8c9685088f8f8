"""The base of the guards: the result of a detector in the diagnosis, and the codes that were never checked."""

from typing import ClassVar

import attrs
import pytest

from rnncallbacks import Run, hookimpl
from rnncallbacks.bases import CheckResult, Finding, Guard
from rnncallbacks.errors import OptionError


@attrs.define(eq=False, kw_only=True)
class ResultGuard(Guard):
    """Notes one result at the end of the first epoch."""

    codes: ClassVar[tuple[str, ...]] = ("ACME1", "ACME2")
    result: CheckResult

    @hookimpl
    def on_epoch_end(self, run):
        if run.epoch == 1:
            self.note(run, self.result)


def diagnosis_of(result, epochs=1):
    with Run(plugins=[ResultGuard(result=result)]) as run:
        list(run.epochs(epochs))
    return run.diagnosis


def test_codes_that_a_detector_checked_are_passed_unless_they_fire():
    diagnosis = diagnosis_of(CheckResult(checked={"ACME1": "3 of 3 batches", "ACME2": "1 of 1 epochs"}))
    assert diagnosis.passed == {"ACME1": "3 of 3 batches", "ACME2": "1 of 1 epochs"}
    assert diagnosis.not_checked == {}


def test_codes_whose_evidence_did_not_decide_have_its_reason():
    diagnosis = diagnosis_of(CheckResult(cannot_tell={"ACME1": "the loss is noisy"}, not_checked={"ACME2": "epochs"}))
    assert diagnosis.passed == {}
    assert diagnosis.cannot_tell == {"ACME1": "the loss is noisy"}
    assert diagnosis.not_checked == {"ACME2": "epochs"}


def test_codes_that_passed_are_withdrawn_when_a_result_says_so():
    guard = ResultGuard(result=CheckResult())
    with Run(plugins=[guard]) as run:
        for epoch in run.epochs(2):
            passed = {"ACME1": "3 of 3 batches", "ACME2": "1 of 1 epochs"}
            guard.note(run, CheckResult(checked=passed) if epoch == 1 else CheckResult(withdrawn={"ACME1": "it broke"}))
    assert run.diagnosis.passed == {"ACME2": "1 of 1 epochs"}
    assert run.diagnosis.cannot_tell == {"ACME1": "it broke"}


def test_codes_that_a_detector_could_not_check_have_its_reason():
    diagnosis = diagnosis_of(CheckResult(checked={"ACME1": "3 of 3 batches"}, not_checked={"ACME2": "pass closure="}))
    assert list(diagnosis.passed) == ["ACME1"]
    assert diagnosis.not_checked == {"ACME2": "pass closure="}


@pytest.mark.parametrize("epochs", [0, 1])
def test_codes_without_a_result_are_reported_at_the_end_of_the_run(epochs):
    diagnosis = diagnosis_of(CheckResult(checked={"ACME2": "3 of 3 batches"}), epochs)
    expected = ["ACME1"] if epochs else ["ACME1", "ACME2"]
    assert diagnosis.not_checked == dict.fromkeys(expected, "the run was too short")


def test_a_long_run_is_not_called_too_short():
    with Run(plugins=[ResultGuard(result=CheckResult())]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(600)):
                run.record(1.0)
    assert run.diagnosis.not_checked["ACME1"] == "none of 600 training batches showed it"


def test_a_note_raises_no_alarm():
    finding = Finding("ACME1", "it is wrong", {}, severity="error", cause="a fault", remedy="a remedy")
    assert diagnosis_of(CheckResult(finding=finding, checked={"ACME1": "3 of 3 batches"})).alarms == []


def test_an_action_that_does_not_exist_is_refused():
    with pytest.raises(
        OptionError, match="Guard: action: expected 'warn' or 'stop' or 'raise' or 'repair', got 'panic'"
    ):
        Guard(action="panic")


def test_a_result_is_noted_and_its_finding_fired():
    finding = Finding("ACME1", "it is wrong", {"loss": 2.0}, severity="error", cause="a fault", remedy="a remedy")
    guard = ResultGuard(result=CheckResult())
    with Run() as run:
        guard.conclude(run, CheckResult(finding=finding, checked={"ACME2": "3 of 3 batches"}))
        guard.conclude(run, CheckResult(checked={"ACME3": "1 of 1 epochs"}))
    assert [(alarm.code, alarm.message) for alarm in run.alarms] == [("ACME1", "it is wrong")]
    assert list(run.diagnosis.passed) == ["ACME2", "ACME3"]


@pytest.mark.parametrize(
    ("severity", "begins"), [("warning", "mend RNN602 first: "), ("info", "the run was too short")]
)
def test_a_fault_that_was_found_first_is_the_reason_for_other_codes(severity, begins):
    class Acme(Guard):
        codes = ("RNN602", "RNN605")

        @hookimpl
        def on_batch_end(self, run):
            self.fire(run, Finding("RNN602", "one", {}, severity=severity))

    with Run(plugins=[Acme()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([1]):
                run.record(1.0)
    assert run.diagnosis.not_checked["RNN605"].startswith(begins)
