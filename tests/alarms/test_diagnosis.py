"""The diagnosis: causes and their consequences, counts, what was checked, and which codes count."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.alarms.alarm import make_alarm
from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.diagnosis_content import Repair
from rnncallbacks.alarms.finding import Finding
from rnncallbacks.alarms.selection import Selection
from rnncallbacks.errors import OptionError

codes = st.sampled_from(list(CATALOGUE))


def alarm_of(code, message="seen", **changes):
    values = {"cause": None, "remedy": None, "severity": None, "action": "warn", "epoch": 1, "step": 2}
    return make_alarm(code, message, {}, **(values | changes))


def diagnosis_of(*found):
    diagnosis = Diagnosis()
    for code in found:
        diagnosis.add(alarm_of(code))
    return diagnosis


def named(alarms):
    return [alarm.code for alarm in alarms]


# --- causes and consequences -------------------------------------------------------------------------------------


def test_a_cause_explains_what_follows_from_it_whichever_comes_first():
    for found in (("RNN301", "RNN602", "RNN605"), ("RNN605", "RNN602", "RNN301")):
        diagnosis = diagnosis_of(*found)
        assert named(diagnosis.causes) == ["RNN301"]
        assert sorted(named(diagnosis.consequences(diagnosis.causes[0]))) == ["RNN602", "RNN605"]


@pytest.mark.parametrize(
    ("explains", "causes"),
    [(None, ["RNN301", "RNN502"]), ("", ["RNN301", "RNN502", "RNN602"]), ("RNN502 RNN503", ["RNN301", "RNN602"])],
)
def test_a_finding_may_name_the_later_codes_that_it_explains(explains, causes):
    diagnosis = Diagnosis()
    diagnosis.add(alarm_of("RNN301", explains=explains))
    for code in ("RNN502", "RNN602"):
        diagnosis.add(alarm_of(code))
    assert named(diagnosis.causes) == causes


def test_consequences_of_consequences_belong_to_the_cause_itself():
    # A wrong gradient explodes, that diverges, and divergence ends in NaN.
    diagnosis = diagnosis_of("RNN404", "RNN401", "RNN501", "RNN403", "RNN602")
    assert named(diagnosis.causes) == ["RNN404"]
    assert len(diagnosis.consequences(diagnosis.causes[0])) == 4


def test_units_that_saturate_before_the_first_update_explain_gradients_that_explode_after_it():
    diagnosis = Diagnosis()
    for code, step in (("RNN407", 1), ("RNN401", 7), ("RNN403", 9), ("RNN602", 9)):
        diagnosis.add(alarm_of(code, step=step, severity="warning"))
    assert named(diagnosis.causes) == ["RNN407"]
    later = Diagnosis()
    for code, step in (("RNN401", 1), ("RNN407", 7)):
        later.add(alarm_of(code, step=step, severity="warning"))
    assert named(later.causes) == ["RNN401"]


def test_causes_that_have_nothing_to_do_with_each_other_are_both_named():
    assert named(diagnosis_of("RNN101", "RNN201").causes) == ["RNN101", "RNN201"]


def test_of_two_causes_the_structural_one_is_named():
    diagnosis = diagnosis_of("RNN501", "RNN406", "RNN602")
    assert [(alarm.code, alarm.explained_by) for alarm in diagnosis.alarms] == [
        ("RNN501", "RNN406"),
        ("RNN406", None),
        ("RNN602", "RNN406"),
    ]


def test_a_note_does_not_silence_a_louder_finding_of_its_code():
    diagnosis = Diagnosis()
    for severity, message, epoch in (("info", "a little", 1), ("error", "a lot", 2), ("warning", "less", 3)):
        diagnosis.add(alarm_of("RNN201", message, severity=severity, epoch=epoch))
    (alarm,) = diagnosis.alarms
    assert (alarm.severity, alarm.message, alarm.epoch, alarm.count) == ("error", "a lot", 2, 3)


def test_codes_of_other_packages_explain_nothing_and_are_not_explained():
    diagnosis = diagnosis_of("RNN501", "RNN602")
    diagnosis.add(alarm_of("ACME1", cause="fever", remedy="cool it", severity="info"))
    assert named(diagnosis.causes) == ["RNN501", "ACME1"]


def test_a_quiet_cause_is_as_loud_as_what_follows_from_it():
    diagnosis = Diagnosis()
    diagnosis.add(alarm_of("RNN301", severity="info"))
    assert diagnosis.alarms[0].severity == "info"
    diagnosis.add(alarm_of("RNN602"))
    assert [alarm.severity for alarm in diagnosis.alarms] == ["error", "error"]


@given(st.lists(codes, max_size=8))
def test_every_alarm_is_a_cause_or_hangs_on_one(found):
    diagnosis = diagnosis_of(*found)
    causes = diagnosis.causes
    assert named(diagnosis.alarms) == list(dict.fromkeys(found))
    assert bool(causes) == bool(found)
    assert sorted(named(causes) + [one.code for cause in causes for one in diagnosis.consequences(cause)]) == sorted(
        set(found)
    )


@given(st.permutations(sorted(CATALOGUE)))
def test_what_explains_what_does_not_depend_on_the_order(order):
    def explained(found):
        return {alarm.code: alarm.explained_by for alarm in diagnosis_of(*found).alarms}

    assert explained(order) == explained(sorted(CATALOGUE))


# --- counts ------------------------------------------------------------------------------------------------------


def test_the_first_finding_stays_and_is_counted():
    diagnosis = Diagnosis()
    first = diagnosis.add(alarm_of("RNN601", "train_loss is flat"))
    again = diagnosis.add(alarm_of("RNN601", "val_loss is flat"))
    assert (first.count, again.count, again.message) == (1, 2, "train_loss is flat")
    assert diagnosis.alarms == [again]


# --- what was checked --------------------------------------------------------------------------------------------


def test_a_check_is_passed_unless_it_fired_and_not_checked_unless_it_was():
    diagnosis = Diagnosis()
    for code in ("RNN404", "RNN201"):
        diagnosis.cannot_check(code, "pass closure= to run.backward")
    diagnosis.cannot_check("RNN404", "the run was too short")
    diagnosis.check("RNN201", "3 of 3 batches")
    diagnosis.check("RNN601", "3 of 3 batches")
    diagnosis.add(alarm_of("RNN601"))
    assert list(diagnosis.passed) == ["RNN201"]
    assert diagnosis.not_checked == {"RNN404": "pass closure= to run.backward"}


def test_an_alarm_without_a_check_was_checked():
    diagnosis = diagnosis_of("RNN404")
    diagnosis.cannot_check("RNN404", "the run was too short")
    assert diagnosis.not_checked == {}


def test_a_result_that_decides_replaces_one_that_does_not():
    diagnosis = Diagnosis()
    for code in ("RNN201", "RNN404", "RNN501", "RNN601"):
        diagnosis.cannot_check(code, "missing")
    for code in ("RNN201", "RNN404", "RNN501"):
        diagnosis.report_cannot_tell(code, "undecided")
    for code in ("RNN201", "RNN404"):
        diagnosis.check(code, "compared")
    diagnosis.add(alarm_of("RNN201"))
    assert diagnosis.passed == {"RNN404": "compared"}
    assert diagnosis.cannot_tell == {"RNN501": "undecided"}
    assert diagnosis.not_checked == {"RNN601": "missing"}


def test_a_code_that_passed_is_withdrawn_until_it_passes_again():
    diagnosis = Diagnosis()
    diagnosis.check("RNN201", "1 of 1 batches")
    diagnosis.withdraw("RNN201", "rows no longer continue")
    assert diagnosis.passed == {}
    assert diagnosis.cannot_tell == {"RNN201": "rows no longer continue"}
    diagnosis.check("RNN201", "3 of 3 batches")
    assert diagnosis.passed == {"RNN201": "3 of 3 batches"}
    assert diagnosis.cannot_tell == {}


def test_a_later_finding_may_be_less_severe():
    diagnosis = diagnosis_of("RNN602")
    diagnosis.revise(Finding("RNN602", "it came back", {"loss": 1.0}, severity="info", cause="a rise that healed"))
    diagnosis.revise(Finding("RNN501", "never raised", {}))
    (note,) = diagnosis.alarms
    assert (note.severity, note.message, note.cause, note.count) == ("info", "it came back", "a rise that healed", 1)
    assert dict(note.evidence) == {"loss": 1.0}


def test_the_latest_comparison_is_shown():
    diagnosis = Diagnosis()
    diagnosis.check("RNN201", "1 of 1 batches")
    diagnosis.check("RNN201", "2 of 2 batches")
    assert diagnosis.passed == {"RNN201": "2 of 2 batches"}


def test_it_goes_through_json():
    diagnosis = diagnosis_of("RNN501", "RNN602")
    diagnosis.check("RNN201", "3 of 3 batches")
    diagnosis.cannot_check("RNN404", "pass closure= to run.backward")
    diagnosis.repairs.append(Repair(code="RNN501", what="rolled back", epoch=1, step=2))
    again = json.loads(json.dumps(diagnosis.to_dict()))
    assert [(one["code"], one["explained_by"]) for one in again["alarms"]] == [("RNN501", None), ("RNN602", "RNN501")]
    assert again["passed"] == {"RNN201": "3 of 3 batches"}
    assert again["cannot_tell"] == {}
    assert again["not_checked"] == {"RNN404": "pass closure= to run.backward"}
    assert again["repairs"] == [{"code": "RNN501", "what": "rolled back", "epoch": 1, "step": 2}]


# --- selection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("select", "ignore", "selected"),
    [
        (("",), (), {"RNN301", "RNN601", "RNN605", "ACME1"}),
        (("RNN",), (), {"RNN301", "RNN601", "RNN605"}),
        (("RNN6",), ("RNN605",), {"RNN601"}),
        (("",), ("RNN6",), {"RNN301", "ACME1"}),
        (("", "RNN601"), ("RNN6",), {"RNN301", "RNN601", "ACME1"}),
        (("RNN601",), ("RNN601",), set()),
        (("",), ("",), set()),
        ((), (), set()),
        (("ACME",), (), {"ACME1"}),
    ],
)
def test_the_longer_entry_decides(select, ignore, selected):
    selection = Selection(select, ignore)
    assert {code for code in ("RNN301", "RNN601", "RNN605", "ACME1") if selection.selects(code)} == selected


@given(codes, codes)
def test_a_code_is_selected_by_each_of_its_beginnings(code, other):
    for end in range(3, 7):
        assert Selection(select=(code[:end],)).selects(code)
        assert not Selection(ignore=(code[:end],)).selects(code)
        assert Selection(select=(code[:end],)).selects(other) == other.startswith(code[:end])


def test_severity_is_changed_by_the_longest_entry():
    selection = Selection(severity={"RNN3": "info", "RNN302": "warning"})
    adjusted = [selection.adjust(alarm_of(code)).severity for code in ("RNN301", "RNN302", "RNN404")]
    assert adjusted == ["info", "warning", "error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"select": ("RNN8",)}, "no alarm code begins with 'RNN8'"),
        ({"ignore": ("RNN610",)}, r"begins with 'RNN610'\n.*did you mean 'RNN60"),
        ({"severity": {"RNN999": "info"}}, "no alarm code begins with 'RNN999'"),
        ({"severity": {"RNN301": "eror"}}, r"severity of RNN301: expected .*, got 'eror'\n.*did you mean 'error'"),
    ],
)
def test_a_typo_is_refused(arguments, message):
    with pytest.raises(OptionError, match=message):
        Selection(**arguments)


def test_what_is_left_out_is_neither_passed_nor_unchecked():
    diagnosis = Diagnosis()
    diagnosis.selection = Selection(ignore=("RNN4", "RNN6"))
    diagnosis.check("RNN601", "3 of 3 batches")
    diagnosis.check("RNN201", "3 of 3 batches")
    diagnosis.cannot_check("RNN404", "pass closure= to run.backward")
    assert (diagnosis.passed, diagnosis.not_checked) == ({"RNN201": "3 of 3 batches"}, {})


# --- as text -----------------------------------------------------------------------------------------------------


def test_printed_it_names_titles_beside_codes():
    diagnosis = Diagnosis()
    diagnosis.add(alarm_of("RNN501"))
    diagnosis.add(alarm_of("RNN602"))
    diagnosis.add(alarm_of("RNN407", severity="info"))
    diagnosis.repairs.append(Repair(code="RNN501", what="learning rate x 0.5", epoch=1, step=2))
    diagnosis.check("RNN201", "3 of 3 batches")
    diagnosis.cannot_check("RNN404", "pass closure= to run.backward")
    diagnosis.cannot_check("ACME1", "pass closure= to run.backward")
    assert str(diagnosis).splitlines() == [
        "fired",
        "  RNN501 the learning rate is too high (epoch 1, step 2)",
        "    seen",
        f"    remedy: {CATALOGUE['RNN501'].remedy}",
        "    consequence: RNN602 divergence (epoch 1, step 2)",
        "      seen",
        "    consequence: RNN407 saturated units (epoch 1, step 2)",
        "      seen",
        "repaired",
        "  RNN501: learning rate x 0.5 (epoch 1, step 2)",
        "passed: compared, and no fault found",
        "  RNN201 the hidden state leaks between unrelated sequences: 3 of 3 batches",
        "not checked: evidence is missing",
        "  pass closure= to run.backward",
        "    ACME1",
        "    RNN404 the gradient does not match the loss",
    ]
    counted = [str(line) for line in diagnosis.lines(list_passed=False)]
    assert "checks passed: 1" in counted
    assert not any("RNN201" in line for line in counted)


def test_a_note_did_not_fire():
    diagnosis = Diagnosis()
    diagnosis.add(alarm_of("RNN402", severity="info"))
    assert str(diagnosis).splitlines()[0] == "noticed"


def test_printed_before_anything_was_checked():
    assert str(Diagnosis()) == "nothing was checked"
    assert Diagnosis().lines() == []
