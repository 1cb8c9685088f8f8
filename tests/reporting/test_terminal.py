"""The diagnosis in the terminal, in full."""

import io

import pytest
from rich.console import Console

from rnncallbacks.alarms.alarm import make_alarm
from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.alarms.diagnosis import Diagnosis, Repair
from rnncallbacks.reporting.terminal import show_diagnosis
from rnncallbacks.reporting.verdict import verdict


def alarm(code, message="seen", **changes):
    values = {"cause": None, "remedy": None, "severity": None, "action": "warn", "epoch": 1, "step": 2}
    return make_alarm(code, message, {"loss": 2.5}, **(values | changes))


def shown(diagnosis, width=200):
    out = io.StringIO()
    show_diagnosis(Console(file=out, width=width, highlight=False), diagnosis)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.fixture
def diagnosis():
    found = Diagnosis()
    found.add(alarm("RNN602", "it rose [bold]"))
    found.add(alarm("RNN501", "too far"))
    found.add(alarm("RNN402", "they vanish"))
    found.repairs.append(Repair(code="RNN501", what="learning rate x 0.5", epoch=1, step=2))
    found.check("RNN201")
    for code in ("RNN404", "RNN405"):
        found.cannot_check(code, "pass closure= to run.backward")
    found.cannot_check("ACME1", "no idea")
    return found


def test_all_of_it(diagnosis):
    assert shown(diagnosis) == [
        "fired",
        "  RNN501 the learning rate is too high: too far (epoch 1, step 2)",
        "    loss = 2.5",
        f"    remedy: {CATALOGUE['RNN501'].remedy}",
        "    consequence: RNN602 divergence: it rose [bold] (epoch 1, step 2)",
        "    consequence: RNN402 gradients vanish through time: they vanish (epoch 1, step 2)",
        "repaired",
        "  RNN501: learning rate x 0.5 (epoch 1, step 2)",
        "passed: looked for and not found",
        "  RNN201 the hidden state leaks between unrelated sequences",
        "not checked",
        "  no idea",
        "    ACME1",
        "  pass closure= to run.backward",
        "    RNN404 the gradient does not match the loss",
        "    RNN405 the gradient is off by a constant factor",
    ]


def test_a_note_did_not_fire():
    found = Diagnosis()
    found.add(alarm("RNN402"))
    assert shown(found)[0] == "noticed"


def test_notes_come_behind_what_fired():
    found = Diagnosis()
    for code in ("RNN402", "RNN101", "RNN201"):
        found.add(alarm(code))
    heads = [line[:8] for line in shown(found) if not line.startswith("    ")]
    assert heads == ["fired", "  RNN101", "  RNN201", "noticed", "  RNN402"]


def test_nothing_is_shown_of_nothing():
    assert shown(Diagnosis()) == []


@pytest.mark.parametrize("width", [40, 80])
def test_it_fits_the_terminal(diagnosis, width):
    assert max(map(len, shown(diagnosis, width))) <= width


def test_the_verdict_names_causes_and_not_consequences(diagnosis):
    assert verdict([diagnosis]) == (
        "1 cause found: RNN501 the learning rate is too high; to read more: rnncallbacks explain RNN501"
    )


def test_the_verdict_on_several_runs():
    healthy, one, other = Diagnosis(), Diagnosis(), Diagnosis()
    healthy.check("RNN201")
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
    found.check("RNN201")
    found.check("RNN601")
    found.add(alarm("RNN402"))
    found.cannot_check("RNN404", "no closure")
    assert verdict([found]) == "nothing fired: 2 checks passed, 1 note, 1 not checked"


def test_what_one_run_could_not_check_and_another_did():
    one, other = Diagnosis(), Diagnosis()
    one.cannot_check("RNN604", "there is no validation")
    other.check("RNN604")
    assert verdict([one, other]) == "nothing fired: 1 check passed"
