"""The time limit: when it stops a run, and what it does to signal handlers."""

import signal
import threading

import numpy as np
import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import Checkpoint, LossAveraging, TimeLimit
from rnncallbacks.plugins.remedies import time_limit as module


class Raise:
    """Sends this process a signal in a batch of a phase."""

    def __init__(self, number, step, phase="train"):
        self.number, self.step, self.phase = number, step, phase

    @hookimpl
    def on_batch_start(self, run, batch):
        if (run.step, batch.phase) == (self.step, self.phase):
            signal.raise_signal(self.number)


def train(*plugins, epochs=3):
    params, seen = {"w": np.zeros(1)}, []
    with Run(params, plugins=[*plugins, LossAveraging()], learning_rate=1.0, state={}) as run:
        for _ in run.epochs(epochs):
            for _ in run.batches([0, 1]):
                run.backward(1.0, {"w": np.ones(1)})
                seen.append(run.step)
            for _ in run.batches([0], phase="val"):
                run.record(1.0)
                seen.append("val")
    return run, seen


@pytest.mark.parametrize(
    ("step", "phase", "first"), [(3, "train", [1, 2, "val", 3]), (4, "val", [1, 2, "val", 3, 4, "val"])]
)
def test_a_signal_ends_the_run_behind_the_batch_and_the_next_run_goes_on(tmp_path, step, phase, first):
    before = signal.getsignal(signal.SIGTERM)
    run, seen = train(TimeLimit(), Raise(signal.SIGTERM, step, phase), Checkpoint(path=tmp_path / "run"))
    assert (run.stop_reason, seen) == ("time_limit: SIGTERM", first)
    assert signal.getsignal(signal.SIGTERM) is before
    run, rest = train(TimeLimit(), Raise(signal.SIGTERM, -1), Checkpoint(path=tmp_path / "run"))
    assert first + rest == [1, 2, "val", 3, 4, "val", 5, 6, "val"]
    assert run.stop_reason is None


def test_a_second_signal_has_its_usual_effect():
    class Twice:
        @hookimpl
        def on_batch_start(self):
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    run, seen = train(TimeLimit(signals=["SIGINT"]), Twice())
    assert (run.stop_reason, seen) == ("time_limit: SIGINT", [1])


def test_minutes(monkeypatch):
    now = [50.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])

    class Clock:
        @hookimpl
        def on_batch_start(self):
            now[0] += 30.0

    run, seen = train(TimeLimit(minutes=2), Clock())
    assert (run.stop_reason, seen) == ("time_limit: 2 minutes", [1, 2, "val", 3])
    assert run.history[-1]["stopped_after"] == 1


def test_in_another_thread_the_minutes_count_and_signals_are_left_alone():
    before, ended = signal.getsignal(signal.SIGTERM), []
    thread = threading.Thread(target=lambda: ended.append(train(TimeLimit(minutes=1e-9))[0].stop_reason))
    thread.start()
    thread.join()
    assert ended == ["time_limit: 1e-09 minutes"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTREM", "15"])
def test_signals_that_cannot_be_handled_are_refused(name):
    with pytest.raises(OptionError, match="expected the names of signals that a process can handle, got"):
        TimeLimit(signals=[name])


@pytest.mark.parametrize(
    "plugins",
    [{"a": TimeLimit(signals=["SIGTERM", "SIGTERM"])}, {"a": TimeLimit(minutes=9), "b": TimeLimit(minutes=5)}],
    ids=["named twice", "two limits"],
)
def test_after_the_run_a_signal_has_the_handler_of_before(plugins):
    before = signal.getsignal(signal.SIGTERM)
    with Run(plugins=plugins) as run:
        for _ in run.epochs(1):
            assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
