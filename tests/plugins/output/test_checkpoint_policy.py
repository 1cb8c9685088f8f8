"""The policy of the checkpoint plugin: when it saves, under which names, and what it keeps."""

import os
from pathlib import Path

import attrs
import numpy as np
import pytest
from safetensors import safe_open

from rnncallbacks.core import checkpoint_file
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import CheckpointError, OptionError
from rnncallbacks.plugins import Checkpoint, LossAveraging
from rnncallbacks.plugins.output import checkpoint as module


class FailedError(Exception):
    """What a script fails with."""


def train(*checkpoints, epochs=6, losses=(0.5, 0.25, 0.75, 0.5, 0.125, 0.5), fail_in=None):
    """Two batches an epoch, and a validation with these losses; returns the run and the steps that it trained."""
    params, steps = {"w": np.zeros(2)}, []
    plugins = {"averages": LossAveraging()} | {f"checkpoint{n}": one for n, one in enumerate(checkpoints)}
    with Run(params, plugins=plugins, learning_rate=1.0, state={}) as run:
        for epoch in run.epochs(epochs):
            for _ in run.batches([0, 1]):
                run.backward(1.0, {"w": np.ones(2)})
                if run.step == fail_in:
                    raise FailedError
                params["w"] += 1
                steps.append(run.step)
            for loss in run.batches([losses[epoch - 1]], phase="val"):
                run.record(loss)
    assert (params["w"] == run.step).all()
    return run, steps


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def checksum(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata()["sha256"]


def test_a_name_has_the_epoch_and_columns_and_the_last_ones_are_kept(tmp_path):
    train(Checkpoint(path=tmp_path / "run-{epoch:02d}-{val_loss:.2f}.st", keep_last=2))
    assert names(tmp_path) == ["run-05-0.12.st", "run-06-0.50.st", "run-last.txt"]
    assert (tmp_path / "run-last.txt").read_text() == "run-06-0.50.st\n"


def test_the_best_ones_are_kept_besides(tmp_path):
    train(Checkpoint(path=tmp_path / "{epoch}", monitor="val_loss", keep_best=2))
    assert names(tmp_path) == ["2", "5", "6", "checkpoint-last.txt"]
    train(Checkpoint(path=tmp_path / "max" / "{epoch}", monitor="val_loss", mode="max"))
    assert names(tmp_path / "max") == ["3", "6", "checkpoint-last.txt"]


def test_all_are_kept(tmp_path):
    train(Checkpoint(path=tmp_path / "{step}.st", keep_last=None, every_steps=5), epochs=6)
    assert names(tmp_path) == ["10.st", "12.st", "5.st", "checkpoint-last.txt"]  # 12 is the end of the run


def test_a_resumed_run_keeps_what_a_run_without_interruption_keeps(tmp_path, monkeypatch):
    monkeypatch.setattr("rnncallbacks.core.batch.perf_counter", lambda: 0.0)

    def one(folder, **options):
        path = tmp_path / folder / "{epoch}-{step}"
        return Checkpoint(path=path, monitor="val_loss", every_epochs=1, every_steps=3, **options)

    train(one("whole"))
    for failed in (1, 4, 8, 12):
        folder = f"failed{failed}"
        with pytest.raises(FailedError):
            train(one(folder), fail_in=failed)
        train(one(folder))
        assert names(tmp_path / folder) == names(tmp_path / "whole")
    with pytest.raises(FailedError):
        train(one("without", on_exception=False), fail_in=8)
    train(one("without", on_exception=False))
    for name in names(tmp_path / "whole")[:-1]:
        assert checksum(tmp_path / "without" / name) == checksum(tmp_path / "whole" / name)


def test_files_of_others_stay(tmp_path):
    (tmp_path / "run-7-notes.txt").write_text("mine")
    (tmp_path / "1").write_text("mine")
    train(Checkpoint(path=tmp_path / "run-{epoch}.st", keep_last=1))
    assert names(tmp_path) == ["1", "run-6.st", "run-7-notes.txt", "run-last.txt"]


def test_by_steps_alone_the_end_of_an_epoch_is_not_saved_but_that_of_the_run_is(tmp_path):
    seen = []

    class Look:
        @hookimpl
        def on_batch_start(self, run):
            seen.append((run.step, names(tmp_path)[:-1]))

    train(Look(), Checkpoint(path=tmp_path / "{step}", every_steps=3, keep_last=None), epochs=4)
    assert dict(seen) == {1: [], 2: [], 3: [], 4: ["3"], 5: ["3"], 6: ["3", "6"], 7: ["3", "6"], 8: ["3", "6"]}
    assert names(tmp_path) == ["3", "6", "8", "checkpoint-last.txt"]


def test_by_minutes(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])

    class Clock:
        @hookimpl
        def on_batch_start(self):
            now[0] += 25.0

    train(Clock(), Checkpoint(path=tmp_path / "{epoch}-{step}", every_minutes=1, keep_last=None), epochs=3)
    assert names(tmp_path) == ["1-2", "2-4", "3-6", "checkpoint-last.txt"]


def test_several_of_them_resume_from_the_newest(tmp_path):
    def both():
        last = Checkpoint(path=tmp_path / "last", on_exception=False)
        return last, Checkpoint(path=tmp_path / "archive-{epoch}", every_epochs=2, keep_last=None, on_exception=False)

    with pytest.raises(FailedError):
        train(*both(), fail_in=8)
    assert names(tmp_path) == ["archive-2", "archive-last.txt", "last"]
    _, steps = train(*both(), epochs=5)
    assert steps == [7, 8, 9, 10]
    assert names(tmp_path) == ["archive-2", "archive-4", "archive-5", "archive-last.txt", "last"]
    (tmp_path / "last").unlink()
    _, steps = train(*both(), epochs=6)
    assert steps == [11, 12]


def test_a_process_that_ends_between_two_files_loses_none(tmp_path, monkeypatch):
    """It ends at the n-th time that a file is replaced or removed, for several n."""
    calls, last_call = [0], [None]

    def counted(function):
        def call(path, *arguments, **options):
            if not str(path).endswith(".owner"):
                calls[0] += 1
                if last_call[0] is not None and calls[0] >= last_call[0]:
                    raise KeyboardInterrupt
            return function(path, *arguments, **options)

        return call

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))

    def both(folder):
        options = {"on_exception": False, "fsync": False}
        path = folder / "{epoch}-{step}"
        best = Checkpoint(path=path, monitor="val_loss", every_epochs=1, every_steps=3, keep_last=2, **options)
        return best, Checkpoint(path=folder / "last", **options)

    run, _ = train(*both(tmp_path / "whole"))
    for ends in range(1, calls[0], 3):
        calls[0], last_call[0] = 0, ends
        with pytest.raises(KeyboardInterrupt):
            train(*both(tmp_path / f"{ends}"))
        last_call[0] = None
        again, _ = train(*both(tmp_path / f"{ends}"))
        assert names(tmp_path / f"{ends}") == names(tmp_path / "whole"), ends
        assert again.history == run.history


def test_an_exception_saves_the_run_as_it_was_after_a_batch(tmp_path):
    with pytest.raises(FailedError):
        train(Checkpoint(path=tmp_path / "run"), fail_in=2)
    assert train(Checkpoint(path=tmp_path / "run"))[1] == list(range(2, 13))
    with pytest.raises(FailedError):
        train(Checkpoint(path=tmp_path / "none", on_exception=False), fail_in=2)
    assert not (tmp_path / "none").exists()


def test_copies_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    now, copies = [0.0], []
    monkeypatch.setattr(module, "monotonic", lambda: now[0])

    def slow(run, summary):
        copies.append(run.step)
        now[0] += 1.0
        return checkpoint_file.checkpoint_bytes(run, summary)

    monkeypatch.setattr(module, "checkpoint_bytes", slow)

    class Clock:
        @hookimpl
        def on_batch_start(self, batch):
            now[0] += 40.0 if batch.phase == "train" else 0.0

    train(Clock(), Checkpoint(path=tmp_path / "run", every_epochs=100), epochs=6)
    assert copies == [1, 4, 7, 10, 12]  # the last one is the file


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "run", "keep_last": 2}, "expected {epoch} or {step} in the name, to keep several files, got run"),
        ({"path": "{val_loss}", "monitor": "val_loss"}, "expected {epoch} or {step} in the name"),
        ({"path": "run-{epoch"}, "expected '}' before end of string"),
        ({"path": "run-{}"}, "expected the name of a column in braces, got {}"),
        ({"path": "run-{0.x}"}, "expected the name of a column in braces, got {0.x}"),
        ({"keep_last": 0}, "keep_last: expected an integer >= 1"),
        ({"keep_best": 0}, "keep_best: expected an integer >= 1"),
        ({"monitor": "val loss"}, "monitor: expected the name of a history column"),
        ({"mode": "low"}, "mode: expected 'min' or 'max'"),
        ({"on_exception": 1}, "on_exception: expected True or False"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(OptionError) as refused:
        Checkpoint(**options)
    assert message in str(refused.value)


def test_two_plugins_with_the_same_files_are_refused(tmp_path):
    one, other = Checkpoint(path=tmp_path / "a-{epoch}"), Checkpoint(path=tmp_path / "a-{step}")
    with pytest.raises(OptionError, match=r"two of these plugins write .*a-last\.txt"):
        train(one, other)


@pytest.mark.parametrize("content", ["", "none-1", "../run-1", "run-9", "run-1/../run-1"])
def test_a_pointer_to_no_file_of_the_run_is_refused(tmp_path, content):
    train(Checkpoint(path=tmp_path / "run-{epoch}"), epochs=1)
    (tmp_path / "run-last.txt").write_text(content)
    with pytest.raises(CheckpointError, match=r"run-last\.txt: expected the name of a checkpoint in"):
        train(Checkpoint(path=tmp_path / "run-{epoch}"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{epoch}-{val_loss:d}", r"its format does not fit numbers: .*{val_loss:d} cannot show 1\.0"),
        ("{epoch:999999999999}", "its format does not fit numbers"),
        ("{epoch:>300}", "expected names of at most 255 bytes, got 300"),
        ("run-{epoch:c}", "two checkpoints have the name 'run-_'"),
    ],
)
def test_a_format_that_gives_no_names_is_refused_when_the_option_is_read(tmp_path, name, message):
    with pytest.raises(OptionError, match=message):
        Checkpoint(path=tmp_path / name)


def test_what_killed_runs_left_of_numbered_files_is_removed_at_the_next_start(tmp_path):
    left = tmp_path / ".run-2-9.safetensors.23115-090a0750.tmp"
    others = [tmp_path / ".other.safetensors.23115-090a0750.tmp", tmp_path / "run-2.tmp"]
    for file in (left, *others):
        file.touch()
    train(Checkpoint(path=tmp_path / "run-{epoch}-{step}.safetensors"))
    assert not left.exists()
    assert all(file.exists() for file in others)


def test_the_state_of_plain_plugins_is_warned_about_and_that_of_others_is_kept(tmp_path, caplog):
    class Plain:
        def __init__(self):
            self.batches, self.limit, self.seen = 0, 9, {"rows": [1]}

        @hookimpl
        def on_batch_end(self):
            self.batches += 1
            self.seen["rows"].append(2)

    class Stateful(Plain):
        def state_dict(self):
            return {"batches": self.batches, "rng": np.ones(2)}

        def load_state_dict(self, state):
            self.batches = state["batches"] * int(state["rng"].sum() / 2)

    @attrs.define(eq=False)
    class Options(Plain):
        rng: object = attrs.field(factory=lambda: np.random.default_rng(1))
        limit: int = 3

        @hookimpl
        def on_batch_end(self):
            self.rng.random()

    train(Plain(), Stateful(), Options(), Checkpoint(path=tmp_path / "run"), epochs=2)
    assert [record.getMessage() for record in caplog.records] == [
        "checkpoints do not save batches, seen of the plugin 'checkpoint0', which changed during the run: its class is "
        "no attrs class, and has no state_dict and load_state_dict",
        "checkpoints do not save rng of the plugin 'checkpoint2', which changed during the run: options are not state; "
        "declare state with state_field",
    ]
    again = Stateful()
    train(Plain(), again, Options(), Checkpoint(path=tmp_path / "run"), epochs=3)
    assert again.batches == 9
