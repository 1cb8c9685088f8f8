"""Alarms: frozen, printable, JSON."""

import json

import attrs
import numpy as np
import pytest

from rnncallbacks.alarms.alarm import Alarm


def an_alarm(**changes):
    values = {
        "code": "RNN602",
        "cause": "divergence",
        "message": "the loss rose to 9.1",
        "evidence": {"loss": 9.1, "best": 2, "phase": "train"},
        "remedy": "lower the learning rate",
        "severity": "error",
        "epoch": 3,
        "step": 120,
    }
    return Alarm(**(values | changes))


def test_it_prints_what_where_on_what_evidence_and_what_to_do():
    assert str(an_alarm()).splitlines() == [
        "RNN602 divergence (epoch 3, step 120)",
        "  the loss rose to 9.1",
        "  loss = 9.1, best = 2, phase = train",
        "  remedy: lower the learning rate",
    ]


def test_without_evidence_there_is_no_line_for_it():
    assert len(str(an_alarm(evidence={})).splitlines()) == 3


def test_it_goes_through_json_and_back():
    alarm = an_alarm()
    assert Alarm(**json.loads(json.dumps(alarm.to_dict()))) == alarm


def test_numpys_numbers_in_the_evidence_become_pythons():
    alarm = an_alarm(evidence={"loss": np.float32(0.5), "batch": np.int64(7), "norm": np.array(2.5)})
    assert json.loads(json.dumps(alarm.to_dict()))["evidence"] == {"loss": 0.5, "batch": 7, "norm": 2.5}


def test_neither_the_alarm_nor_its_evidence_can_change():
    evidence = {"loss": 9.1}
    alarm = an_alarm(evidence=evidence)
    evidence["loss"] = 0.0
    assert alarm.evidence["loss"] == 9.1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        alarm.code = "RNN000"
    with pytest.raises(TypeError):
        alarm.evidence["loss"] = 0.0


def test_an_alarm_that_came_often_says_so():
    assert an_alarm(count=3).headline == "RNN602 divergence (epoch 3, step 120, 3 times)"
