import attrs
import pytest
from fault_report import OURS, Measured, Report, repairable

from rnncallbacks.testing import FAULTS, HEALTHY, TRAPS, CaseOutcome, FiredAlarm

RULE = "a rule"


def outcome(*alarms, true_loss=1.0, seed=1):
    return CaseOutcome(
        fault="f", task="echo", cell="tanh", optimizer="sgd", seed=seed, loop="loop", alarms=alarms, repairs=(),
        batches=300, first_loss=2.0, train_loss=1.0, true_loss=true_loss,
    )  # fmt: skip


def measured(fault, ours, *, rule=(), arm="watch", twin=None):
    outcomes = {OURS: ours, RULE: attrs.evolve(ours, alarms=tuple(rule))}
    return Measured(arm=arm, fault=fault, outcomes=outcomes, twin=twin or outcome(seed=ours.seed))


LEAK, HIGH, REPORTED = FAULTS["state_leak"], FAULTS["rate_x30"], FAULTS["loss_by_samples"]
NAMED = FiredAlarm("RNN201", "error", 4, None)
WRONG = FiredAlarm("RNN602", "warning", 120, None)
NOTE = FiredAlarm("RNN407", "info", 9, None)

REPORT = Report(
    [
        measured(LEAK, outcome(NAMED, true_loss=2.0), rule=[WRONG]),
        measured(LEAK, outcome(NAMED, true_loss=2.0, seed=3)),
        measured(LEAK, outcome(NAMED, seed=5)),
        measured(LEAK, outcome(NAMED, true_loss=1.0), arm="repair"),
        measured(LEAK, outcome(NAMED, true_loss=1.9, seed=3), arm="repair"),
        measured(LEAK, outcome(NAMED, true_loss=2.0), arm="random"),
        measured(HIGH, outcome(WRONG, true_loss=3.0), rule=[WRONG]),
        measured(REPORTED, outcome(NOTE), rule=[WRONG]),
        measured(HEALTHY, outcome(NOTE)),
        measured(TRAPS["carried_stream"], outcome(), rule=[WRONG]),
    ]
)


def row(table, name):
    found = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in found[0].split("|")[2:-1]]


def test_tools_are_compared_on_harmful_runs_and_on_quiet_ones():
    ours, rule = row(REPORT.compared(), OURS), row(REPORT.compared(), RULE)
    assert ours[0].startswith("3/4 = 75.0%")
    assert ours[1].startswith("2/3 = 66.7%")
    assert ours[3:5] == ["4", "120"]
    assert ours[5].startswith("0/2")
    assert rule[0].startswith("3/4")
    assert rule[1].startswith("0/3")
    assert rule[5].startswith("1/2 = 50.0%")
    assert rule[6] == "1.667"


def test_a_group_lists_harmless_runs_and_other_causes():
    assert row(REPORT.by_cause(), "RNN201")[0] == "3"
    assert row(REPORT.by_cause(), "RNN201")[5:] == ["1/1", "-"]
    assert row(REPORT.by_fault(), "`rate_x30`")[6] == "RNN602 1x"
    assert row(REPORT.by_cause_and_loop(), "RNN201") == ["-", "2 / 2 / 2", "-"]


def test_repairs_count_runs_that_end_worse_without_repair():
    nothing, repaired, random = row(REPORT.repairs(), "RNN201")
    assert nothing.startswith("0/2")
    assert repaired.startswith("1/2")
    assert random.startswith("0/1")
    assert row(REPORT.repairs(), "RNN406") == ["-", "-", "-"]


def test_a_state_of_the_scripts_own_is_not_repairable():
    assert repairable(LEAK)
    assert not repairable(FAULTS["state_leak_own"])
    assert not repairable(REPORTED)
    assert not repairable(HEALTHY)


def test_goals_count_the_first_epoch_and_the_first_hundred_batches():
    goals = REPORT.goals()
    early = row(goals, "RNN1xx to RNN3xx named within the first epoch / harmful runs")
    assert early[1].startswith("2/3")
    assert row(goals, "learning rate 30 or 100 times too high, detected within 100 batches")[1].startswith("0/1")


def test_misses_and_wrong_names_are_listed():
    assert REPORT.shortfalls().splitlines() == [
        "- `loss_by_samples` (RNN101, 1 harmful run): missed in 1 run of `loop`.",
        "- `rate_x30` (RNN501, 1 harmful run): reported as RNN602 in 1 run.",
    ]


@pytest.mark.parametrize("part", ["python bench --seeds 8", "`state_leak`", "`carried_stream`", "## Goals", "batch 37"])
def test_the_page_holds_command_lists_and_tables(part):
    assert part in REPORT.page("python bench --seeds 8")
