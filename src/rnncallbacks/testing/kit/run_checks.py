"""Checks of a plugin on runs: streams of losses, ends of runs, several runs, several plugins, threads."""

from __future__ import annotations

import functools
import pickle
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.config.plugin_options import options_in
from rnncallbacks.core.hookspecs import HOOKS, hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import RnnCallbacksError, one_line
from rnncallbacks.testing.kit.playing import play
from rnncallbacks.testing.kit.recorder import Recorder
from rnncallbacks.testing.kit.trials import LOSSES, PluginProblem, Trial, TrialOutcome, as_text, difference, outcome_of

NAN = float("nan")
STREAMS: Mapping[str, dict[str, Any]] = {
    "flat losses": {"losses": [1.0] * 5, "validation": [1.0] * 2},
    "negative losses": {"losses": [-1.0, -1.5, -2.0], "validation": [-1.0]},
    "a first loss that is NaN": {"losses": [[NAN, 1.0, 0.5], [0.5, 0.4], [0.4, 0.3]], "validation": [1.0]},
    "losses that are all NaN": {"losses": [NAN] * 4, "validation": [NAN]},
    "losses that rise to infinity": {"losses": [[1.0, 10.0], [1e30, 1e300], [1e308, float("inf")]]},
    "gradients that are NaN": {"grads": lambda step: {"w": np.full(2, NAN)}},
    "one batch": {"losses": [1.0], "validation": [1.0], "epochs": 1},
    "epochs of other lengths": {"losses": [[1.0] * 4, [0.5], [0.4] * 7], "validation": [[1.0] * 3, [1.0], [1.0] * 2]},
    "no validation": {"validation": None},
    "an empty loader": {"losses": [[], [1.0], []], "validation": None},
    "validation alone": {"losses": [[]] * 3, "validation": [1.0, 0.5]},
}


class ScriptError(Exception):
    """What a script or a plugin of others raises in a check."""


class Raises:
    """A plugin of others, with an error in the third batch, or before the first."""

    def __init__(self, step: int = 3) -> None:
        self.step = step

    @hookimpl
    def on_fit_start(self) -> None:
        if self.step == 0:
            raise ScriptError("a plugin of others")

    @hookimpl
    def on_backward(self, run: Run) -> None:
        if run.step == self.step:
            raise ScriptError("a plugin of others")


def check_ordinary_run(trial: Trial) -> Iterator[PluginProblem]:
    """A run that is like most: a plugin that fails in it cannot be tried any further."""
    error = trial.play().error
    if error is not None and not isinstance(error, AlarmRaised):
        where = " ".join(getattr(error, "__notes__", ())[:1])
        told = f"in an ordinary run, it raised {one_line(error)}{f', {where}' if where else ''}"
        yield PluginProblem("streams", told, "correct this first: nothing else was tried")


def check_streams(trial: Trial) -> Iterator[PluginProblem]:
    """Streams of losses that a plugin may not have been written for."""
    streams: dict[str, list[str]] = {}
    for name, arguments in STREAMS.items():
        if fault := trial.play(**arguments).fault:
            streams.setdefault(fault, []).append(name)
    for fault, names in streams.items():
        message = f"with {', '.join(names)}, it raised {fault}"
        yield PluginProblem("streams", message, "handle what every run may bring")


def check_ends(trial: Trial) -> Iterator[PluginProblem]:
    """Runs that end early: by break, by errors of others, by Ctrl-C, or by a stop in any hook."""
    if fault := outcome_of(lambda: _left_by_break(trial.make())).fault:
        yield PluginProblem("ends", f"after break, it raised {fault}", "do not rely on on_batch_end and on_epoch_end")
    for what, error in (("an error in the script", ScriptError), ("Ctrl-C", KeyboardInterrupt)):
        yield from _kept(trial.play(act=_raising(error)), error, what)
    yield from _kept(trial.play(Raises()), ScriptError, "an error in a plugin after it")
    yield from _kept(outcome_of(lambda: _behind(Raises(), trial.make())), ScriptError, "an error in a plugin before it")
    never_started = outcome_of(lambda: _behind(Raises(0), trial.make()))
    yield from _kept(never_started, ScriptError, "an error before its on_fit_start")
    for hook in HOOKS:
        if hook in ("on_alarm", "on_exception", "on_fit_end"):
            continue
        stopping = Recorder(act_in=hook, act=lambda run: run.stop("a check"))
        behind = outcome_of(functools.partial(_behind, stopping, trial.make()))
        for outcome in (trial.play(stopping), behind):
            if fault := outcome.fault:
                advice = "expect a stop in every hook"
                yield PluginProblem("ends", f"after run.stop in {hook}, it raised {fault}", advice)
                break


def check_runs(trial: Trial) -> Iterator[PluginProblem]:
    """One object in two runs, one run after another, and two objects in one run."""
    plugin = trial.make()
    before = {name: as_text(value) for name, value in options_in(plugin).items()}
    first = trial.play(plugin=plugin)
    after = {name: as_text(value) for name, value in options_in(plugin).items()}
    if changed := [name for name, text in before.items() if after.get(name) != text]:
        advice = "copy an option into a state_field before it is changed, and give a list or a dict a factory"
        yield PluginProblem("runs", f"a run changed its option {changed[0]}", advice)
    again, fresh = trial.play(plugin=plugin), trial.play()
    if not isinstance(again.error, RnnCallbacksError) and (found := difference(first, again)):
        advice = "declare state with state_field, or reset it in on_fit_start"
        yield PluginProblem("runs", f"a second run with the same object differs: {found}", advice)
    trial.play(plugin=plugin, act=_raising(ScriptError))
    after_failure = trial.play(plugin=plugin)
    if not isinstance(after_failure.error, RnnCallbacksError) and (found := difference(again, after_failure)):
        advice = "declare state with state_field, or reset it in on_fit_start"
        yield PluginProblem("runs", f"a run after one that failed differs: {found}", advice)
    if found := difference(first, fresh):
        advice = "keep no state in the class or the module"
        yield PluginProblem("runs", f"a run with a second object differs from the first: {found}", advice)
    if fault := trial.play(trial.make()).fault:
        advice = "run.plugins.name_of(self) tells two instances apart"
        yield PluginProblem("runs", f"two objects in one run raised {fault}", advice)


def check_registration(trial: Trial) -> Iterator[PluginProblem]:
    """Registered in the middle of a run, and taken out again."""

    def act(run: Run) -> None:
        if run.step == 2:
            run.register(trial.make(), "late")
        elif run.step == 7:
            run.unregister("late")

    if fault := trial.play(Recorder(), plugin=Recorder(), act=act).fault:
        advice = "expect any hook first, and on_fit_end in the middle of a run"
        yield PluginProblem("registration", f"registered late, it raised {fault}", advice)


def check_pickle(trial: Trial) -> Iterator[PluginProblem]:
    """A plugin travels to another process before its run."""
    try:
        pickle.loads(pickle.dumps(trial.make()))
    except Exception as error:
        advice = "open files and make locks and functions in on_fit_start, and define the class in a module"
        yield PluginProblem("pickling", f"it cannot be pickled: {one_line(error)}", advice)


def check_thread(trial: Trial) -> Iterator[PluginProblem]:
    """A run in a thread that is not the main one."""
    outcomes: list[TrialOutcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(trial.play()))
    thread.start()
    thread.join()
    if fault := outcomes[0].fault:
        yield PluginProblem(
            "threads", f"in a thread, it raised {fault}", "signals and event loops need the main thread"
        )
    elif found := difference(trial.play(), outcomes[0]):
        yield PluginProblem("threads", f"a run in a thread differs: {found}", "keep no state outside of the object")


def _raising(error: type[BaseException]) -> Any:
    def act(run: Run) -> None:
        if run.step == 6:
            raise error("a check")

    return act


def _kept(outcome: TrialOutcome, expected: type[BaseException], what: str) -> Iterator[PluginProblem]:
    if not isinstance(outcome.error, expected):
        found = "ended without it" if outcome.error is None else f"raised {one_line(outcome.error)}"
        yield PluginProblem("ends", f"{what} was lost: the run {found}", "let errors pass, and raise none of your own")
        return
    for note in getattr(outcome.error, "__notes__", ()):
        if note.startswith("then ") and "in plugin 'plugin'" in note:
            told = " ".join(note.removeprefix("then ").split())
            yield PluginProblem("ends", f"after {what}, it raised {told}", "expect on_fit_end at any time")
            return


def _left_by_break(plugin: object) -> Run:
    with Run({"w": np.zeros(2)}, plugins={"plugin": plugin}, learning_rate=1.0, hidden_size=2) as run:
        for _ in run.epochs(2):
            for loss in run.batches([1.0, 0.5, 0.25]):
                run.backward(loss, {"w": np.ones(2)})
                break
        for _ in run.epochs(3):
            break
    return run


def _behind(other: object, plugin: object) -> Run:
    return play({"other": other, "plugin": plugin}, losses=LOSSES, epochs=1, hidden_size=2)
