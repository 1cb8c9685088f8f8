import json
import math
from pathlib import Path

import attrs
import pytest
from bench_independent import measure, measurements, plan
from independent_report import IndependentReport, Measurement, signals

from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.testing import FiredAlarm
from rnncallbacks.testing.independent import (
    INDEPENDENT_FAULTS,
    INDEPENDENT_TASKS,
    INDEPENDENT_TRAPS,
    STYLES,
    IndependentCase,
    IndependentOutcome,
    named_fault,
)

RIGHT = FiredAlarm("RNN501", "error", 40, None)
WRONG = FiredAlarm("RNN602", "warning", 90, None)
NOTE = FiredAlarm("RNN501", "info", 40, None)
EXPLAINED = FiredAlarm("RNN501", "error", 40, "RNN404")


def measured(fault, *alarms, loss=1.0, twin=0.1, level="bare", passed=(), changed=None):
    outcome = IndependentOutcome(
        case=IndependentCase(fault, "lists", "parity", "gru", "adam", 0, level),
        alarms=alarms,
        headlines={alarm.code: "a headline\nand numbers" for alarm in alarms},
        passed=passed,
        clean_loss=loss,
    )
    return Measurement(outcome, twin, changed)


REPORT = IndependentReport(
    [
        measured("rate_x30", RIGHT),
        measured("rate_x30", WRONG, passed=("RNN501",)),
        measured("rate_x30", NOTE),
        measured("rate_x30", EXPLAINED, loss=math.nan),
        measured("rate_x30", loss=0.11),
        measured("loss_over_nothing", loss=0.1, passed=("RNN101",)),
        measured("healthy", WRONG, loss=0.1, changed=True),
        measured("healthy", loss=0.1, changed=False),
        measured("healthy", NOTE, loss=0.1),
        measured("healthy", WRONG, twin=0.69),
        measured("accumulation", WRONG, loss=0.1, level="closure"),
    ]
)


def row(table, name):
    found = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in found[0].split("|")[2:-1]]


def test_levels_are_scored_apart():
    bare = row(REPORT.by_level(), "`bare`")
    assert bare[0].startswith("2/5 = 40.0%")
    assert bare[1].startswith("1/2 = 50.0%")
    assert bare[2].startswith("2/5 = 40.0%")
    assert bare[3].startswith("1/3 = 33.3%")
    assert bare[4] == "-"
    assert bare[5] == "1/2"
    closure = row(REPORT.by_level(), "`closure`")
    assert closure[0] == "-"
    assert closure[4].startswith("1/1")


def test_a_fault_without_harm_is_no_miss():
    assert row(REPORT.by_fault(), "`rate_x30`") == ["RNN501", "1 / 2 / 4", "0 / 0 / 0", "0 / 0 / 0", "1", "1"]
    assert row(REPORT.by_fault(), "`loss_over_nothing`")[-2:] == ["1", "0"]


def test_false_alarms_are_counted_by_trap():
    assert row(REPORT.by_trap(), "`healthy`") == ["1 / 3", "0 / 0", "0 / 0", "RNN602"]
    assert row(REPORT.by_trap(), "`accumulation`") == ["0 / 0", "0 / 0", "1 / 1", "RNN602"]


def test_failures_are_listed_by_code_with_their_case():
    kinds = {code: sorted(kind for kind, _ in failures) for code, failures in REPORT.failing().items()}
    assert kinds == {
        "RNN101": ["missed, passed"],
        "RNN501": ["another cause, passed", "missed", "missed"],
        "RNN602": ["false alarm", "false alarm"],
    }
    text = REPORT.failures()
    assert "`rate_x30/lists/parity/gru/adam/0/bare`" in text
    assert "RNN602 (warning, 90) a headline" in text
    assert "RNN501 (error, 40, explained by RNN404)" in text


def test_the_page_has_only_totals_of_the_split_for_reports():
    other = IndependentReport([attrs.evolve(one, changed=None) for one in REPORT.all[:1]])
    page = IndependentReport.page({"tune": REPORT, "report": other}, "the command")
    assert sum(line.startswith("| `bare` |") for line in page.splitlines()) == 2
    assert page.count("| fault | codes |") == 1
    for name in (*INDEPENDENT_FAULTS, *INDEPENDENT_TRAPS):
        assert f"| `{name}` |" in page


@pytest.mark.parametrize("split", STYLES)
def test_a_plan_keeps_to_its_split_and_takes_everything_in_turn(split):
    slots = plan(split, 100, seed=0, only=[])
    assert len({slot[0] for slot in slots}) == 100
    assert plan(split, 100, seed=0, only=[]) == slots
    assert plan(split, 100, seed=1, only=[]) != slots
    keys = [key for slot in slots for key in slot]
    for name, style, task, cell, optimizer, seed in keys:
        assert (style, task, cell, optimizer) in set(named_fault(name).combinations(split))
        assert style in STYLES[split]
        assert INDEPENDENT_TASKS[task].for_tuning == (split == "tune")
        assert seed % 2 == (split == "report")
    applicable = {
        name for name, one in {**INDEPENDENT_FAULTS, **INDEPENDENT_TRAPS}.items() if any(one.combinations(split))
    }
    assert applicable | {"healthy"} == {key[0] for key in keys}


def test_a_measurement_has_an_outcome_for_each_level():
    harmless, harmful = (
        ("sum_over_steps", "rows", "parity", "tanh", "adam", 1),
        ("nan_gradient", "rows", "parity", "tanh", "sgd", 1),
    )
    entry = json.loads(json.dumps(measure("guards", (harmless, harmful))))
    assert (entry["slot"], entry["key"]) == (list(harmless), list(harmful))
    found = measurements([entry])
    assert [one.level for one in found] == ["bare", "states", "closure"]
    assert all(one.outcome.named and one.harmful and not one.changed for one in found)


def test_the_page_shows_each_signal_with_a_code_of_the_catalogue():
    page = Path(__file__).parents[2] / "docs" / "reference" / "independent-benchmark.md"
    assert signals() in page.read_text(encoding="utf-8")
    rows = [line.split("|")[1].split() for line in signals().splitlines()[2:]]
    assert {code for row in rows for code in row} <= set(CATALOGUE)
