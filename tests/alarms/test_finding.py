"""A finding is closed to changes, and takes its severity from the catalogue unless it has one of its own."""

import attrs
import pytest

from rnncallbacks import Run
from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.bases import Finding, Guard


@pytest.mark.parametrize(("severity", "expected"), [(None, CATALOGUE["RNN602"].severity), ("info", "info")])
def test_a_guard_fires_what_a_detector_found(severity, expected):
    finding = Finding("RNN602", "the loss rose to 9.1", {"loss": 9.1}, severity)
    with Run() as run:
        Guard(action="stop").fire(run, finding)
    (alarm,) = run.alarms
    assert (alarm.code, alarm.message, dict(alarm.evidence)) == ("RNN602", "the loss rose to 9.1", {"loss": 9.1})
    assert (alarm.severity, alarm.action, run.stop_reason) == (expected, "stop", "RNN602 the loss rose to 9.1")


def test_a_finding_may_name_its_own_cause_and_remedy():
    finding = Finding("RNN501", "it rose", {}, cause="the rate is 66 times too high", remedy="divide it by about 66")
    with Run() as run:
        Guard().fire(run, finding)
        Guard().fire(run, Finding("RNN602", "it rose", {}))
    own, other = run.alarms
    assert (own.cause, own.remedy) == (finding.cause, finding.remedy)
    assert (other.cause, other.remedy) == (CATALOGUE["RNN602"].cause, CATALOGUE["RNN602"].remedy)


def test_a_finding_does_not_change():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Finding("RNN602", "the loss rose", {}).code = "RNN601"
