"""The directory, the facts and the outcome of a run."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rnncallbacks import Run, hookimpl, on
from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.core.run_outcome import RunOutcome
from rnncallbacks.errors import OptionError, RunStateError
from rnncallbacks.plugins.remedies.gradient_clipping import GradientClipping


class Stops:
    """Stops in the first epoch, from a method that its hook calls."""

    def __init__(self, **alarm: str) -> None:
        self.alarm = alarm

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        self._act(run)

    def _act(self, run: Run) -> None:
        if self.alarm:
            run.raise_alarm("RNN601", "no progress", **self.alarm)  # type: ignore[arg-type]
        else:
            run.stop("enough")


class Notes:
    """Keeps the outcome as each hook at the end sees it."""

    def __init__(self) -> None:
        self.seen: list[RunOutcome | None] = []

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        self.seen.append(run.outcome)

    @hookimpl
    def on_exception(self, run: Run) -> None:
        self.seen.append(run.outcome)

    @hookimpl
    def on_fit_end(self, run: Run) -> None:
        self.seen.append(run.outcome)


def outcome_of(*plugins: object, error: BaseException | None = None, stop: bool = False, **limits: Any) -> RunOutcome:
    notes = Notes()
    with pytest.raises(type(error)) if error else _nothing(), Run(plugins=[*plugins, notes]) as run:
        for _ in run.epochs(2, **limits):
            for _ in run.batches([1, 2]):
                if stop:
                    run.stop("by hand", code="RNN999")
            if error:
                raise error
    assert notes.seen[0] is None
    assert set(notes.seen[-2 if error else -1 :]) == {run.outcome}
    assert run.outcome is not None
    return run.outcome


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


def test_a_run_that_ends_has_finished() -> None:
    assert outcome_of() == RunOutcome(ending="finished")


def test_the_plugin_that_stops_is_named_and_the_code_of_its_alarm() -> None:
    by_alarm = RunOutcome(ending="stopped", reason="RNN601 no progress", by="stops", code="RNN601")
    assert outcome_of(Stops(action="stop")) == by_alarm
    assert outcome_of(Stops()) == RunOutcome(ending="stopped", reason="enough", by="stops")


def test_functions_and_modules_that_stop_are_named() -> None:
    assert outcome_of(on("epoch_end", lambda run: run.stop("enough"))).by == "on_epoch_end"
    module = ModuleType("limits")
    exec("def on_batch_end(run):\n    run.stop('enough')", vars(module))
    module.on_batch_end = hookimpl(module.on_batch_end)  # type: ignore[attr-defined]
    assert outcome_of(module).by == "limits"


def test_the_innermost_plugin_is_named() -> None:
    assert outcome_of(Stops(action="warn"), on("alarm", lambda run: run.stop("an alarm"))).by == "on_alarm"


def test_of_two_plugins_of_one_class_the_right_one_is_named() -> None:
    with Run(plugins={"warns": Stops(action="warn"), "stops": Stops()}) as run:
        for _ in run.epochs(2):
            pass
    assert run.outcome is not None
    assert run.outcome.by == "stops"


def test_the_script_and_the_limit_are_named() -> None:
    assert outcome_of(stop=True) == RunOutcome(ending="stopped", reason="by hand", by="script", code="RNN999")
    reason = "max_steps: 3 training batches"
    assert outcome_of(max_steps=3) == RunOutcome(ending="stopped", reason=reason, by="max_steps")


@pytest.mark.parametrize(
    ("error", "ending", "reason"),
    [
        (ValueError("no\nsuch thing"), "failed", "ValueError: no; such thing"),
        (KeyError("w"), "failed", "KeyError: 'w'"),
        (OptionError("bad", hint="better"), "failed", "OptionError: bad; better"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (SystemExit(3), "interrupted", "SystemExit: 3"),
    ],
)
def test_an_exception_is_the_outcome(error: BaseException, ending: str, reason: str) -> None:
    outcome = outcome_of(error=error)
    assert (outcome.ending, outcome.reason, outcome.by) == (ending, reason, None)


def test_an_alarm_that_is_raised_gives_its_code() -> None:
    with pytest.raises(AlarmRaised), Run(plugins=[Stops(action="raise")]) as run:
        for _ in run.epochs(1):
            pass
    assert run.outcome is not None
    assert (run.outcome.ending, run.outcome.code) == ("failed", "RNN601")


def test_an_outcome_reads_as_a_sentence() -> None:
    assert str(outcome_of()) == "finished"
    assert str(outcome_of(Stops())) == "stopped by stops: enough"
    assert str(outcome_of(error=ValueError("bad"))) == "failed: ValueError: bad"


def test_the_facts_are_those_of_the_run_its_plugins_and_the_script() -> None:
    clipping = GradientClipping(max_norm=2.0)
    run = Run({"w": np.zeros((2, 3)), "b": np.zeros(2)}, plugins=[clipping], learning_rate=0.5, facts={"data": "toy"})
    run.facts["batch_size"] = 4
    assert dict(run.facts) == {
        "parameters": 8,
        "learning_rate": 0.5,
        "plugins": "gradient_clipping",
        "gradient_clipping.max_norm": 2.0,
        "gradient_clipping.mode": "global",
        "data": "toy",
        "batch_size": 4,
    }


def test_the_directory_is_a_path_and_made_for_a_plugin(tmp_path: Path) -> None:
    run = Run(directory=str(tmp_path / "runs" / "a"))
    assert run.directory == tmp_path / "runs" / "a"
    assert not run.directory.exists()
    assert run.directory_for("tensorboard") == run.directory
    assert run.directory.is_dir()


def test_a_plugin_that_needs_a_directory_says_so() -> None:
    run = Run()
    assert run.directory is None
    with pytest.raises(
        RunStateError, match=r"tensorboard writes into the run's directory(.|\n)*directory=\"runs/first\""
    ):
        run.directory_for("tensorboard")


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="expected a folder, got the file"):
        Run(directory=tmp_path / "file")
    for wrong in (3, "", b"runs"):
        with pytest.raises(OptionError, match="directory: expected the path of a folder"):
            Run(directory=wrong)  # type: ignore[arg-type]
