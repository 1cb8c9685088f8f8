"""The files of a run: history in JSON lines and CSV, alarms, the diagnosis, and no overwriting by accident."""

import csv
import json
import math
import os

import numpy as np
import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import FileInUseError, OptionError
from rnncallbacks.plugins import Checkpoint, DivergenceAlarm, GradientClipping, HistoryLog, LossAveraging

NAN = math.nan


@pytest.fixture(autouse=True)
def no_time(monkeypatch):
    """Let no time pass in an epoch."""
    monkeypatch.setattr("rnncallbacks.core.batch.perf_counter", lambda: 0.0)


def json_lines(path):
    return [json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON")) for line in lines(path)]


def lines(path):
    return path.read_text("utf-8").splitlines()


def csv_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_line_per_epoch_in_both_files(play, tmp_path):
    run = play([LossAveraging(), HistoryLog(directory=tmp_path)], [[1.0, 2.0], [0.5]], val=[[3.0], [4.0]])
    assert json_lines(tmp_path / "history.jsonl") == list(run.history)
    assert (tmp_path / "history.csv").read_text() == (
        "epoch,learning_rate,seconds,train_loss,val_loss,train_batches,val_batches\n"
        "1,1.0,0.0,1.5,3.0,2,1\n2,1.0,0.0,0.5,4.0,1,1\n"
    )
    assert lines(tmp_path / "alarms.jsonl") == []


def test_the_files_are_whole_after_every_epoch(tmp_path):
    with Run(plugins=[HistoryLog(directory=tmp_path)]) as run:
        for epoch in run.epochs(3):
            assert len(lines(tmp_path / "history.jsonl")) == epoch - 1
            if epoch > 1:
                assert csv_rows(tmp_path / "history.csv")[-1]["note"] == f"after {epoch - 1}"
            run.log(note=f"after {epoch}")


def test_numbers_that_are_not_finite_are_strings(tmp_path):
    with Run(plugins=[HistoryLog(directory=tmp_path)]) as run:
        for _ in run.epochs(1):
            run.log(a=NAN, b=math.inf, c=-math.inf, d=np.float32(0.5), e="word, with comma")
    (row,) = json_lines(tmp_path / "history.jsonl")
    words = {"a": "NaN", "b": "Infinity", "c": "-Infinity"}
    assert row == {"epoch": 1, "seconds": 0.0, **words, "d": 0.5, "e": "word, with comma"}
    (row,) = csv_rows(tmp_path / "history.csv")
    assert row == {"epoch": "1", "seconds": "0.0", **words, "d": "0.5", "e": "word, with comma"}


def test_columns_that_come_and_go(tmp_path):
    with Run(plugins=[HistoryLog(directory=tmp_path)]) as run:
        for epoch in run.epochs(4):
            run.log(first=epoch)
            if epoch in (2, 4):
                run.log(second=10 * epoch)
    assert (
        tmp_path / "history.csv"
    ).read_text() == "epoch,seconds,first,second\n1,0.0,1,\n2,0.0,2,20\n3,0.0,3,\n4,0.0,4,40\n"
    assert [set(row) for row in json_lines(tmp_path / "history.jsonl")] == [
        {"epoch", "seconds", "first"},
        {"epoch", "seconds", "first", "second"},
    ] * 2


def test_alarms_are_written_when_they_are_raised(tmp_path):
    """One line per code during the run; at the end, with the number of occurrences and the explanation."""
    path = tmp_path / "alarms.jsonl"
    with Run(plugins=[HistoryLog(directory=tmp_path)]) as run:
        for epoch in run.epochs(3):
            run.raise_alarm("RNN602", "rising", evidence={"loss": NAN, "batch": epoch})
            assert [(alarm["code"], alarm["count"]) for alarm in json_lines(path)] == [("RNN602", 1)]
        run.raise_alarm("RNN501", "too high")
        assert [alarm["code"] for alarm in json_lines(path)] == ["RNN602", "RNN501"]
    written = json_lines(path)
    assert [(one["code"], one["count"], one["explained_by"]) for one in written] == [
        ("RNN602", 3, "RNN501"),
        ("RNN501", 1, None),
    ]
    assert written[0]["evidence"] == {"loss": "NaN", "batch": 1}
    assert written[1] == run.alarms[1].to_dict()


def test_the_diagnosis_at_the_end(play, tmp_path):
    class Checking:
        @hookimpl
        def on_epoch_end(self, run):
            assert not (tmp_path / "diagnosis.json").exists()
            run.diagnosis.check("RNN201", "3 of 3 batches")
            run.diagnosis.cannot_check("RNN404", "pass closure= to run.backward")

    run = play([LossAveraging(), Checking(), DivergenceAlarm(), HistoryLog(directory=tmp_path)], [[1.0], [NAN]])
    written = json.loads((tmp_path / "diagnosis.json").read_text(), parse_constant=pytest.fail)
    assert written["stop_reason"] == run.stop_reason is not None
    assert [(alarm["code"], alarm["evidence"]["loss"]) for alarm in written["alarms"]] == [("RNN403", "NaN")]
    assert "RNN201" in written["passed"]
    assert written["not_checked"]["RNN404"] == "pass closure= to run.backward"
    assert written["repairs"] == []


def test_a_run_in_progress_has_no_diagnosis_of_an_earlier_one(play, tmp_path):
    (tmp_path / "diagnosis.json").write_text("{}")
    with Run(plugins=[HistoryLog(directory=tmp_path, overwrite=True)]) as run:
        for _ in run.epochs(1):
            assert not (tmp_path / "diagnosis.json").exists()


class AlarmAtTheStart:
    @hookimpl
    def on_fit_start(self, run):
        run.raise_alarm("RNN601", "before the first epoch")


class AlarmAtTheEnd:
    @hookimpl
    def on_fit_end(self, run):
        run.raise_alarm("RNN602", "after the last epoch")


@pytest.mark.parametrize("log_first", [True, False])
def test_alarms_before_the_first_and_after_the_last_epoch_whatever_the_order(play, tmp_path, log_first):
    alarms, log = [AlarmAtTheStart(), AlarmAtTheEnd()], [HistoryLog(directory=tmp_path / "new")]
    play(log + alarms if log_first else alarms + log, [[1.0]])
    messages = [alarm["message"] for alarm in json_lines(tmp_path / "new" / "alarms.jsonl")]
    assert messages == ["before the first epoch", "after the last epoch"]


def test_an_error_in_the_script_keeps_the_files(play, tmp_path):
    with pytest.raises(TypeError):
        play([LossAveraging(), HistoryLog(directory=tmp_path)], [[1.0], ["not a loss"]])
    assert len(lines(tmp_path / "history.jsonl")) == 1


def test_the_directory_is_created(play, tmp_path):
    play([HistoryLog(directory=str(tmp_path / "runs" / "first"))], [[1.0]])
    assert len(lines(tmp_path / "runs" / "first" / "history.jsonl")) == 1


ENDED = '{"outcome": "finished", "of": "another run"}'


@pytest.mark.parametrize("diagnosis", [ENDED, '{"outcome": "stopped"}', "no JSON", "[]", "{}"])
def test_files_of_a_run_that_ended_are_not_overwritten(play, tmp_path, diagnosis):
    (tmp_path / "diagnosis.json").write_text(diagnosis)
    (tmp_path / "history.csv").write_text("precious\n")
    with pytest.raises(
        OptionError, match=r"history_log: expected a directory without files of an earlier run, got .*history\.csv"
    ) as failed:
        play([AlarmAtTheStart(), HistoryLog(directory=tmp_path)], [[1.0]])
    assert "set overwrite = true" in str(failed.value)
    assert (tmp_path / "diagnosis.json").read_text() == diagnosis
    assert visible(tmp_path) == ["diagnosis.json", "history.csv"]
    assert (tmp_path / "history.csv").read_text() == "precious\n"


def visible(directory):
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("diagnosis", [None, '{"outcome": "failed"}', '{"outcome": "interrupted"}'])
def test_files_of_a_run_that_was_broken_off_are_moved(play, tmp_path, caplog, diagnosis):
    (tmp_path / "unfinished-1").mkdir()
    (tmp_path / "history.csv").write_text("precious\n")
    (tmp_path / ".history.csv.7-ab.tmp").write_text("half a file")
    if diagnosis is not None:
        (tmp_path / "diagnosis.json").write_text(diagnosis)
    play([HistoryLog(directory=tmp_path)], [[1.0]])
    assert (tmp_path / "unfinished-2" / "history.csv").read_text() == "precious\n"
    assert (tmp_path / "unfinished-2" / "diagnosis.json").exists() == (diagnosis is not None)
    assert lines(tmp_path / "history.csv") == ["epoch,learning_rate,seconds", "1,1.0,0.0"]
    assert "did not end; its files are in" in caplog.text
    assert not (tmp_path / ".history.csv.7-ab.tmp").exists()


def outcome(directory):
    return json.loads((directory / "diagnosis.json").read_text())["outcome"]


def test_the_diagnosis_has_the_outcome(play, tmp_path):
    class Stop:
        @hookimpl
        def on_epoch_end(self, run):
            run.stop("enough")

    class Interrupt:
        @hookimpl
        def on_epoch_end(self, run):
            raise KeyboardInterrupt

    play([HistoryLog(directory=tmp_path / "finished")], [[1.0]])
    play([HistoryLog(directory=tmp_path / "stopped"), Stop()], [[1.0]] * 2)
    with pytest.raises(TypeError):
        play([HistoryLog(directory=tmp_path / "failed")], [["not a loss"]])
    with pytest.raises(KeyboardInterrupt):
        play([HistoryLog(directory=tmp_path / "interrupted"), Interrupt()], [[1.0]])
    for word in ("finished", "stopped", "failed", "interrupted"):
        assert outcome(tmp_path / word) == word


def test_a_finished_run_that_starts_again_leaves_its_files(make_trainer, tmp_path):
    def fit():
        plugins = [LossAveraging(), Checkpoint(path=tmp_path / "run.safetensors"), HistoryLog(directory=tmp_path)]
        trainer, train, val = make_trainer(plugins)
        trainer.fit(train, val, max_epochs=2)

    fit()
    before = {name: (tmp_path / name).read_bytes() for name in visible(tmp_path)}
    fit()
    assert {name: (tmp_path / name).read_bytes() for name in visible(tmp_path)} == before


@pytest.mark.parametrize("what", ["history", "checkpoint"])
def test_two_runs_do_not_write_one_file(tmp_path, what):
    other = HistoryLog(directory=tmp_path) if what == "history" else Checkpoint(path=tmp_path / "file")
    with Run(np.zeros(1), plugins=[HistoryLog(directory=tmp_path), Checkpoint(path=tmp_path / "file")]) as run:
        for _ in run.epochs(1):
            with (
                pytest.raises(FileInUseError, match=f"another run writes .*: process {os.getpid()} on"),
                Run(np.zeros(1), plugins=[other]) as second,
            ):
                for _ in second.epochs(1):
                    pass
    assert json_lines(tmp_path / "history.jsonl") == [{"epoch": 1, "seconds": 0.0}]
    assert outcome(tmp_path) == "finished"


def test_overwrite_replaces_files_of_an_earlier_run(play, tmp_path):
    (tmp_path / "history.csv").write_text("old\n")
    play([HistoryLog(directory=tmp_path, overwrite=True)], [[1.0]])
    assert lines(tmp_path / "history.csv") == ["epoch,learning_rate,seconds", "1,1.0,0.0"]


def test_plugins_without_a_path_share_the_directory_of_the_run(tmp_path):
    plugins = {
        "history_log": HistoryLog(),
        "checkpoint": Checkpoint(),
        "numbered": Checkpoint(path=tmp_path / "{step}"),
    }
    with Run(np.zeros(1), plugins=plugins, directory=tmp_path / "run") as run:
        for _ in run.epochs(1):
            pass
    assert visible(tmp_path / "run") == [
        "alarms.jsonl",
        "batches.jsonl",
        "checkpoint.safetensors",
        "diagnosis.json",
        "history.csv",
        "history.jsonl",
    ]
    assert (tmp_path / "0").exists()


def test_the_diagnosis_says_who_stopped_the_run_and_which_alarm(tmp_path):
    with Run(plugins=[HistoryLog(), AlarmThatStops()], directory=tmp_path) as run:
        for _ in run.epochs(3):
            pass
    found = json.loads((tmp_path / "diagnosis.json").read_text())
    assert [found[key] for key in ("outcome", "stopped_by", "stopped_code")] == ["stopped", "alarm_that_stops", "ACME1"]


class AlarmThatStops:
    @hookimpl
    def on_epoch_end(self, run):
        run.raise_alarm("ACME1", "no", cause="a", remedy="b", severity="error", action="stop")


def test_a_directory_that_cannot_be_created_is_an_error(play, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"cannot make the directory .*file"):
        play([HistoryLog(directory=tmp_path / "file")], [[1.0]])


def test_a_resumed_run_continues_its_files(make_trainer, tmp_path):
    def plugins(name, every):
        log = HistoryLog(directory=tmp_path / name)
        return [LossAveraging(), log, Checkpoint(path=tmp_path / name / "run.safetensors", every_epochs=every)]

    trainer, train, val = make_trainer(plugins("whole", 1))
    whole = trainer.fit(train, val, max_epochs=5)
    # The run stops after three epochs, with a checkpoint after the second, so the third is repeated.
    trainer, train, val = make_trainer(plugins("parts", 2))
    trainer.fit(train, val, max_epochs=3)
    trainer, train, val = make_trainer(plugins("parts", 2))
    train.epoch = 2
    assert list(trainer.fit(train, val, max_epochs=5)) == list(whole)
    for name in ("history.jsonl", "history.csv", "alarms.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_two_instances_write_to_two_places(play, tmp_path):
    plugins = {"here": HistoryLog(directory=tmp_path / "a"), "there": HistoryLog(directory=tmp_path / "b")}
    play(plugins, [[1.0]] * 2)
    assert (tmp_path / "a" / "history.csv").read_bytes() == (tmp_path / "b" / "history.csv").read_bytes() != b""


@pytest.mark.parametrize("wrong", [{"directory": 3}, {"overwrite": "yes"}])
def test_options_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"HistoryLog: {name}: expected .*, got"):
        HistoryLog(**wrong)


def test_a_text_that_a_spreadsheet_would_run_is_quoted_in_csv_and_not_in_json(tmp_path):
    with Run(plugins=[HistoryLog(directory=tmp_path)]) as run:
        for _ in run.epochs(2):
            run.log(note="=1+1", number=-1.5, down=-math.inf)
    for row in csv_rows(tmp_path / "history.csv"):
        assert (row["note"], row["number"], row["down"]) == ("'=1+1", "-1.5", "-Infinity")
    assert json_lines(tmp_path / "history.jsonl")[0]["note"] == "=1+1"


def test_each_training_batch_has_a_row(play, tmp_path):
    class Logs:
        @hookimpl
        def on_batch_end(self, run, batch):
            if batch.phase == "train":
                run.log_batch(tries=np.int64(batch.index), loss=-1.0, worst=NAN)

    play(
        [GradientClipping(max_norm=1.0), HistoryLog(directory=tmp_path), Logs()],
        [[1.0, NAN], [0.5]],
        val=[[3.0], [4.0]],
    )
    norm = pytest.approx(math.sqrt(2))
    logged = {"logged_loss": -1.0, "worst": "NaN"}
    assert json_lines(tmp_path / "batches.jsonl") == [
        {"epoch": 1, "step": 1, "loss": 1.0, "gradient_norm": norm, "tries": 1, **logged},
        {"epoch": 1, "step": 2, "loss": "NaN", "gradient_norm": norm, "tries": 2, **logged},
        {"epoch": 2, "step": 3, "loss": 0.5, "gradient_norm": norm, "tries": 1, **logged},
    ]


@pytest.mark.parametrize(
    ("most", "steps"),
    [(1, [1]), (3, [1, 9, 17]), (4, [1, 9, 17]), (5, [1, 5, 9, 13, 17]), (20, [*range(1, 21)]), (0, None)],
)
def test_rows_of_batches_are_thinned_to_a_bound(play, tmp_path, most, steps):
    play([HistoryLog(directory=tmp_path, batch_rows=most)], [[0.5] * 20])
    assert (tmp_path / "batches.jsonl").exists() is bool(most)
    assert steps is None or [row["step"] for row in json_lines(tmp_path / "batches.jsonl")] == steps


def test_a_run_that_dies_in_its_first_epoch_has_a_curve(tmp_path):
    def train():
        with Run(plugins=[HistoryLog(directory=tmp_path)]) as run:
            for _ in run.epochs(1):
                for loss in run.batches([2.0, 1.0, NAN]):
                    assert len(json_lines(tmp_path / "batches.jsonl")) == run.step - 1
                    run.backward(loss, np.ones(1))
                    if math.isnan(loss):
                        raise FloatingPointError

    with pytest.raises(FloatingPointError):
        train()
    assert json_lines(tmp_path / "history.jsonl") == []
    assert [row["loss"] for row in json_lines(tmp_path / "batches.jsonl")] == [2.0, 1.0, "NaN"]


def test_a_resumed_run_has_the_rows_of_one_without_interruption(make_trainer, tmp_path):
    def train(folder, epochs, **options):
        plugins = [HistoryLog(directory=tmp_path / folder, batch_rows=7), Checkpoint(path=tmp_path / folder / "file")]
        trainer, train, val = make_trainer(plugins)
        trainer.fit(train, val, max_epochs=epochs, progress=False, **options)
        return lines(tmp_path / folder / "batches.jsonl")

    whole = train("whole", 4)
    assert len(whole) == 5
    train("parts", 4, max_steps=8)
    with (tmp_path / "parts" / "batches.jsonl").open("a") as file:
        file.write('{"epoch": 2, "step": 9, "loss": 0.0}\n{"epoch": 2, "st')  # a killed process was further
    assert train("parts", 4) == whole
