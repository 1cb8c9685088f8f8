"""What a run left is read back, and what is no run is told from one."""

import json
import math

import pytest

from rnncallbacks.errors import DataError
from rnncallbacks.reporting.run_folder import read_run


def test_a_run_comes_back(make_folder):
    path = make_folder(
        [2.0, math.nan],
        alarms=[("RNN602", 1, "rose", {"evidence": {"loss": math.inf}}), ("RNN501", 2, "too high", {})],
    )
    (path / "config.toml").write_text("[train]\nseed = 3\n")
    run = read_run(path)
    assert [row["train_loss"] for row in run.rows] == [2.0, "NaN"]
    assert [cause.code for cause in run.diagnosis.causes] == ["RNN501"]
    (divergence,) = run.diagnosis.consequences(run.diagnosis.causes[0])
    assert (divergence.code, divergence.evidence["loss"], divergence.epoch) == ("RNN602", "Infinity", 1)
    assert list(run.diagnosis.passed) == ["RNN201"]
    assert run.diagnosis.not_checked == {"RNN404": "pass closure= to run.backward"}
    assert (run.ended, run.stop_reason, run.configuration) == (True, None, "[train]\nseed = 3\n")


def test_a_run_that_was_killed_has_the_alarms_so_far(make_folder):
    path = make_folder([2.0], alarms=[("RNN602", 1, "rose", {}), ("RNN501", 1, "too high", {})])
    (path / "diagnosis.json").unlink()
    with (path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 2, "train_lo')  # half a line: it was killed while it wrote
    run = read_run(path)
    assert not run.ended
    assert [row["epoch"] for row in run.rows] == [1]
    assert [cause.code for cause in run.diagnosis.causes] == ["RNN501"]
    (path / "alarms.jsonl").unlink()
    assert read_run(path).diagnosis.alarms == []


def test_why_it_was_stopped(make_folder):
    path = make_folder([2.0, 2.0], alarms=[("RNN601", 1, "flat", {"action": "stop"})])
    assert read_run(path).stop_reason == "RNN601 flat"


def test_what_is_no_folder_of_a_run(tmp_path, make_folder):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("nowhere", "there is no such folder"),
        ("file", "expected the folder of a run, got a file"),
        ("empty", r"it has no history.jsonl\n.*history_log writes one"),
    ):
        with pytest.raises(DataError, match=message):
            read_run(tmp_path / name)
    make_folder([1.0], folder="runs/first")
    make_folder([1.0], folder="runs/second")
    with pytest.raises(DataError, match=r"its folder .*runs/second is one"):
        read_run(tmp_path / "runs")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("history.jsonl", "{}\nnonsense\n", "history.jsonl, line 2: not valid JSON"),
        ("batches.jsonl", "nonsense\n", "batches.jsonl, line 1: not valid JSON"),
        ("history.jsonl", "[1]\n", r"history.jsonl, line 1: expected an object, got \[1\]"),
        ("diagnosis.json", "{", "diagnosis.json: not valid JSON"),
        ("diagnosis.json", "{}", "diagnosis.json: not a diagnosis: KeyError"),
        ("diagnosis.json", "[]", "diagnosis.json: not a diagnosis: TypeError"),
        ("diagnosis.json", '{"alarms": [{"code": "RNN601"}]}', "not a diagnosis: TypeError"),
    ],
)
def test_damaged_files_are_named(make_folder, name, content, message):
    path = make_folder([1.0])
    (path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_run(path)


@pytest.mark.parametrize("wrong", [{"severity": "fatal"}, {"epoch": "first"}, {"message": 3}, {"evidence": 3}])
def test_alarms_that_are_none_are_named(make_folder, wrong):
    path = make_folder([1.0], alarms=[("RNN601", 1, "flat", {})])
    (path / "diagnosis.json").unlink()
    alarm = json.loads((path / "alarms.jsonl").read_text())
    (path / "alarms.jsonl").write_text(json.dumps(alarm | wrong) + "\n")
    with pytest.raises(DataError, match=r"alarms.jsonl, line 1: not an alarm"):
        read_run(path)


def test_text_that_is_not_utf8(make_folder):
    path = make_folder([1.0])
    (path / "history.jsonl").write_bytes(b'{"a": "\xff"}\n')
    with pytest.raises(DataError, match="expected UTF-8"):
        read_run(path)
