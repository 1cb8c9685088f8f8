"""The iterations of a script that drive a run end in time."""

import logging
import math
from collections import deque
from types import SimpleNamespace

import pytest

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.core.script_function import ClosureTrust
from rnncallbacks.doctor.driving import RecordedBatches, attribute_kept_gradients
from rnncallbacks.doctor.lacking_evidence import closures_without_warnings


@pytest.mark.parametrize(
    ("until", "over", "seen", "ended_by"),
    [
        (math.inf, "script", 3, "script"),
        (-math.inf, "", 1, "time"),  # guards that take long are not given what was recorded for the roles
        (-math.inf, "script", 1, "script"),
    ],
)
def test_recorded_iterations_are_left_out_once_the_time_is_over(until, over, seen, ended_by):
    waiting = deque((SimpleNamespace(epoch=1), None) for _ in range(3))
    batches = RecordedBatches(SimpleNamespace(), SimpleNamespace(), 80, until, waiting, over=over)
    first = batches.next()
    assert first is not None
    assert len(list(batches.epoch(first))) == seen
    assert (batches.seen, batches.over) == (seen, ended_by)


@pytest.mark.parametrize(("kept", "explained"), [(2, "RNN503"), (5, None)])
def test_kept_gradients_of_arrays_that_the_optimizer_lacks_are_a_consequence(kept, explained):
    diagnosis = Diagnosis()
    for code, evidence in (("RNN406", {"arrays": kept}), ("RNN503", {"still_arrays": 2})):
        texts = dict.fromkeys(("cause", "message", "remedy"), "")
        diagnosis.add(Alarm(code=code, evidence=evidence, severity="error", epoch=1, step=1, **texts))
    attribute_kept_gradients(diagnosis)
    assert {one.code: one.explained_by for one in diagnosis.alarms} == {"RNN406": explained, "RNN503": None}


def test_the_failure_of_the_doctors_own_closure_is_no_warning(caplog):
    with caplog.at_level("WARNING", logger="rnncallbacks"):
        with closures_without_warnings():
            ClosureTrust().reject("the replay failed")
            logging.getLogger("rnncallbacks").warning("a guard failed")
        ClosureTrust().reject("the closure failed")
    messages = [record.message for record in caplog.records]
    assert messages == ["a guard failed", "closure= is not used in this run: the closure failed"]
