"""The verdict on the runs of a script."""

from rnncallbacks.alarms.alarm import make_alarm
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.verdict import verdict


def alarm(code, message="seen", **changes):
    values = {"cause": None, "remedy": None, "severity": None, "action": "warn", "epoch": 1, "step": 2}
    return make_alarm(code, message, {"loss": 2.5}, **(values | changes))


def test_the_verdict_names_causes_and_not_consequences():
    diagnosis = Diagnosis()
    for code in ("RNN602", "RNN501", "RNN402"):
        diagnosis.add(alarm(code))
    assert verdict([diagnosis]) == (
        "1 cause found: RNN501 the learning rate is too high; to read more: rnncallbacks explain RNN501"
    )


def test_the_verdict_on_several_runs():
    healthy, one, other = Diagnosis(), Diagnosis(), Diagnosis()
    healthy.check("RNN201", "3 of 3 batches")
    one.add(alarm("RNN501"))
    other.add(alarm("RNN501"))
    other.add(alarm("RNN101"))
    assert verdict([healthy, one, other]) == (
        "2 causes found: RNN501 the learning rate is too high, RNN101 epoch loss divided by the wrong count; "
        "to read more: rnncallbacks explain CODE"
    )


def test_the_verdict_on_nothing_found():
    assert verdict([]) == verdict([Diagnosis()]) == "nothing was checked"
    found = Diagnosis()
    found.check("RNN201", "3 of 3 batches")
    found.check("RNN601", "3 of 3 batches")
    found.report_cannot_tell("RNN502", "the loss is noisy")
    found.add(alarm("RNN402"))
    found.cannot_check("RNN404", "no closure")
    assert verdict([found]) == "nothing fired: 2 checks passed, 1 note (RNN402), 1 cannot tell, 1 not checked"


def test_what_one_run_could_not_check_and_another_did():
    one, other = Diagnosis(), Diagnosis()
    one.cannot_check("RNN604", "there is no validation")
    other.check("RNN604", "3 of 3 batches")
    assert verdict([one, other]) == "nothing fired: 1 check passed"
