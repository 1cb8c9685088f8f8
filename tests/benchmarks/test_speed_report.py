import pytest
from speed.goals import judged
from speed.plot import draw
from speed.report import Report

SMALL, LARGE = [32, 16, 65, 64], [64, 32, 103, 256]


def steps(cell, size, threads=1, **seconds):
    ours = {"model": [1.0, 1.0, 2.0]}
    return {"part": "steps", "threads": threads, "cell": cell, "size": size, "result": {"ours": ours, **seconds}}


CASES = [
    steps(
        "vanilla",
        SMALL,
        scratch={"loops": [5.0, 6.0, 12.0]},
        torch={"layer": [9.0, 9.0, 9.0], "gather": [2.0, 3.0, 4.0]},
        limit={"copied": [0.5, 0.5, 0.5], "view": [0.6, 0.6, 0.6]},
    ),
    steps(
        "vanilla",
        LARGE,
        torch={"layer": [1.0, 1.5, 2.6], "gather": [9.0, 9.0, 9.0]},
        limit={"copied": [1.0, 1.0, 1.0], "view": [0.6, 0.8, 1.6]},
    ),
    steps("vanilla", LARGE, threads=2, torch={"layer": [3.0, 3.0, 3.0], "gather": [9.0, 9.0, 9.0]}),
    {"part": "scaling", "cell": "lstm", "axis": "batch_size", "size": [64, 8, 103, 128],
     "result": {"1": [1.0, 1.0, 3.0], "2": [2.0], "4": [4.0], "8": [8.8]}},
    {"part": "memory", "cell": "gru", "size": SMALL, "result": 2 * 4 * 32 * 16 * (5 * 64 + 65)},
    {"part": "memory", "cell": "gru", "size": LARGE, "result": 1.2 * 4 * 64 * 32 * (5 * 256 + 103)},
    {"part": "epochs", "threads": 1, "size": [64, 32, 128], "characters": None,
     "result": {"batches": [220, 24], "losses": {}, "seconds": {
         "ours": [1.0, 2.0], "ours, guarded": [1.1, 2.2], "lightning": [1.4, 2.8]}}},
]  # fmt: skip
REPORT = Report({"machine": {"processor": "a fast one"}, "cases": CASES})


def row(table, *names):
    found = [line for line in table.splitlines() if line.startswith(f"| {' | '.join(names)} |")]
    return [cell.strip() for cell in found[0].split("|")[1 + len(names) : -1]]


def test_ratios_compare_samples_of_one_round_with_the_fastest_way():
    found = row(REPORT.step_table("vanilla", 1), "(32, 16, 65, 64)")
    assert found == ["1,000,000", "6.00 [5.00, 6.00]", "2.00 [2.00, 3.00] gather", "2.00 [2.00, 4.00]"]


def test_the_limit_divides_ours_and_a_missing_contender_has_a_dash():
    found = row(REPORT.step_table("vanilla", 1), "(64, 32, 103, 256)")
    assert found[1] == "-"
    assert found[3] == "1.25 [1.25, 1.67]"


def test_the_geometric_mean_is_over_sizes():
    assert row(REPORT.step_table("vanilla", 1), "geometric mean")[1:] == ["6.00", "1.61", "1.58"]


def test_compiled_kernels_are_compared_in_tables_and_columns_of_their_own():
    fast = steps("vanilla", LARGE, torch={"layer": [3.0, 3.0, 3.0]}, compiled={"compiled": [0.5, 0.5, 1.0]})
    report = Report({"machine": {}, "cases": [fast]})
    assert row(report.step_table("vanilla", 1, "compiled"), "(64, 32, 103, 256)") == ["500,000", "6.00 [3.00, 6.00]"]
    assert row(report.goals(), "Vanilla, PyTorch / ours, geometric mean") == ["2.0 or more", "3.00, met", "6.00, met"]
    assert "### Vanilla, one thread, compiled" in report.step_tables()
    assert "compiled" not in REPORT.step_tables() + REPORT.goals()


def test_all_variants_are_listed():
    assert row(REPORT.ways(), "vanilla", "(64, 32, 103, 256)") == [
        "1,000,000", "-", "1,500,000", "9,000,000", "1,000,000", "800,000",
    ]  # fmt: skip


def test_goals_are_judged_by_number_of_threads():
    goals = REPORT.goals()
    assert row(goals, "Vanilla, PyTorch / ours, at every size") == [
        "1.5 or more", "1.30, **missed** at (64, 32, 103, 256)", "3.00, met at (64, 32, 103, 256)",
    ]  # fmt: skip
    assert row(goals, "Vanilla, PyTorch / ours, geometric mean") == ["2.0 or more", "1.61, **missed**", "3.00, met"]
    assert row(goals, "Vanilla, JAX / ours, at every size") == ["1.3 or more", "-", "-"]
    assert row(goals, "Vanilla, ours / limit, H >= 256")[1:] == ["1.25, met at (64, 32, 103, 256)", "-"]
    assert row(goals, "Vanilla, ours / limit, H = 128")[1:] == ["-", "-"]
    assert row(goals, "Epoch at (64, 32, 128), Lightning / ours") == ["1.3 or more", "1.40, met", "-"]
    assert row(goals, "Epoch at (64, 32, 128), Keras / ours")[1:] == ["-", "-"]
    assert row(goals, "Time at 8 B / 8 times that at B")[1] == "1.10, met"
    memory = "Peak memory of a step / memory that it must keep"
    assert row(goals, f"{memory}, at every size")[1] == "2.00, **missed** for gru at (32, 16, 65, 64)"
    assert row(goals, f"{memory}, from 1 MiB on")[1] == "1.20, met for gru at (64, 32, 103, 256)"


@pytest.mark.parametrize(
    ("value", "least", "words"),
    [(1.296, True, "1.30, met"), (1.294, True, "1.29, **missed**"), (1.304, False, "1.30, met")],
)
def test_a_value_is_judged_as_it_is_printed(value, least, words):
    assert judged(value, 1.3, least=least) == words


def test_growth_is_relative_to_proportional_growth():
    assert row(REPORT.scaling_table(), "lstm")[:5] == ["B from 8 to 64", "1,000,000", "1.00", "1.00", "1.10"]


def test_memory_is_relative_to_the_memory_that_must_be_kept():
    assert row(REPORT.memory_table(), "gru") == ["2.00 (1.5 MiB)", "1.20 (13.0 MiB)"]


def test_epochs_are_compared_with_the_frameworks_that_ran():
    assert row(REPORT.epoch_table(), "(64, 32, 128)") == [
        "1", "all", "220 + 24", "1.50", "1.10 [1.10, 1.10]", "1.40 [1.40, 1.40]", "-",
    ]  # fmt: skip


def test_a_compiled_epoch_has_its_own_row_and_goal():
    (epoch,) = (case for case in CASES if case["part"] == "epochs")
    seconds = epoch["result"]["seconds"] | {"ours, compiled": [0.7, 1.4]}
    report = Report({"machine": {}, "cases": [epoch | {"result": epoch["result"] | {"seconds": seconds}}]})
    assert row(report.epoch_table(), "(64, 32, 128)")[3:] == ["1.50", "1.10 [1.10, 1.10]", "1.40 [1.40, 1.40]", "-"]
    assert row(report.epoch_table(), "(64, 32, 128), compiled") == [
        "1", "all", "220 + 24", "1.05", "-", "2.00 [2.00, 2.00]", "-",
    ]  # fmt: skip
    goal = row(report.goals(), "Epoch at (64, 32, 128), Lightning / ours")
    assert goal == ["1.3 or more", "1.40, met", "2.00, met"]
    assert "compiled" not in REPORT.epoch_table()


@pytest.mark.parametrize(
    "part", ["python bench", "(speed.svg)", "a fast one", "### Vanilla, 2 threads", "220 + 24", "3 rounds"]
)
def test_the_page_holds_command_chart_machine_and_tables(part):
    assert part in REPORT.page("python bench", "speed.svg")


def test_the_chart_names_sizes_and_contenders_and_is_reproducible(tmp_path):
    draw(REPORT, tmp_path / "speed.svg")
    drawn = (tmp_path / "speed.svg").read_text()
    for text in ("Vanilla, 1 thread", "Vanilla, 2 threads", "(32, 16, 65, 64)", "PyTorch", "matrix products alone"):
        assert f"<!-- {text} -->" in drawn
    assert "LSTM" not in drawn
    draw(REPORT, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == drawn
