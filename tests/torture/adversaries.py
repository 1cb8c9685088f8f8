"""Plugins that mean harm or are mistaken: each gets an error that names it, or the run goes on; all others are told.

The run has the recommended plugins, history_log and two witnesses, one ahead of the adversary and one behind it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rnncallbacks import Run, hookimpl
from rnncallbacks.config.configuration import recommended
from rnncallbacks.core.hookspecs import HOOKS
from rnncallbacks.plugins import HistoryLog, SelfRepair

from .trials import Result, is_ours, traceback_of

NAME = "adversary"
ERRORS: list[type[BaseException]] = [
    ValueError,
    KeyError,
    StopIteration,
    StopAsyncIteration,
    GeneratorExit,
    KeyboardInterrupt,
    SystemExit,
    RecursionError,
    MemoryError,
    OSError,
    UnicodeError,
    AssertionError,
    AttributeError,
]


class NoNotesError(Exception):
    """An error that takes no note and has no text."""

    def add_note(self, note: str) -> None:
        raise RuntimeError("no notes")

    def __str__(self) -> str:
        raise RuntimeError("no text")


@attrs.define(eq=False)
class EndWitness:
    """Counts the starts and ends of a run."""

    starts: int = 0
    ends: int = 0

    @hookimpl
    def on_fit_start(self) -> None:
        self.starts += 1

    @hookimpl
    def on_fit_end(self) -> None:
        self.ends += 1


def make_plugin(hook: str, act: Callable[..., object], options: dict[str, Any], wrapper: str, **more: Any) -> Any:
    """A plugin whose hook calls ``act`` with the hook's arguments; ``more`` are further attributes of its class."""
    arguments = ", ".join(HOOKS[hook])
    passed = ", ".join(f"{name}={name}" for name in HOOKS[hook])
    bodies = {
        "plain": f"return act({passed})",
        "before": f"act({passed}); return (yield)",
        "after": f"result = yield; act({passed}); return result",
        "hookwrapper": f"outcome = yield; act({passed})",
        "twice": "yield; yield",
        "swallows": f"try:\n        yield\n    except Exception: pass\n    return act({passed})",
    }
    space: dict[str, Any] = {"act": act}
    exec(f"def {hook}(self, {arguments}):\n    {bodies[wrapper]}", space)
    marks = {"plain": {}, "hookwrapper": {"hookwrapper": True}}.get(wrapper, {"wrapper": True})
    method = hookimpl(**marks, **options)(space[hook])
    return type("Adversary", (), {hook: method, **more})()


# What an adversary does in its hook -----------------------------------------------------------------------------------


def _raise(error: type[BaseException]) -> Callable[..., object]:
    def act(**arguments: Any) -> object:
        raise error("by the adversary")

    return act


def _acts(generator: np.random.Generator, arguments: str) -> dict[str, Callable[..., object]]:
    run_acts: dict[str, Callable[[Run], object]] = {
        "unregisters itself": lambda run: run.plugins.unregister(NAME),
        "unregisters itself through the run": lambda run: run.unregister(NAME),
        "unregisters another": lambda run: run.plugins.unregister("loss_averaging"),
        "unregisters a witness": lambda run: run.plugins.unregister("behind"),
        "registers another": lambda run: run.plugins.register(EndWitness(), f"more-{run.step}"),
        "stops the run": lambda run: run.stop("the adversary wants it"),
        "stops without a reason": lambda run: run.stop(""),
        "skips the batch": lambda run: run.skip_batch(),
        "raises an alarm": lambda run: run.raise_alarm("RNN602", "by the adversary"),
        "raises an alarm that raises": lambda run: run.raise_alarm("RNN602", "by the adversary", action="raise"),
        "raises an alarm to be repaired": lambda run: run.raise_alarm("RNN602", "by the adversary", action="repair"),
        "raises an unknown alarm": lambda run: run.raise_alarm("XYZ", "by the adversary"),
        "trains in the hook": lambda run: run.backward(1.0, {"w": np.ones((2, 2))}),
        "records in the hook": lambda run: run.record(1.0),
        "iterates in the hook": lambda run: list(run.batches([1.0], phase="val")),
        "iterates the training in the hook": lambda run: list(run.batches([1.0])),
        "begins epochs": lambda run: list(run.epochs(3)),
        "enters the run": lambda run: run.__enter__(),
        "leaves the run": lambda run: run.__exit__(None, None, None),
        "logs an array": lambda run: run.log(value=np.ones(3)),
        "logs a huge number": lambda run: run.log(value=10**400),
        "logs a surrogate": lambda run: run.log(value="\ud800\0"),
        "logs an odd name": lambda run: run.log(**{"=a,b\n": 1}),
        "parameters of another dtype": lambda run: setattr(run, "params", {"w": np.ones((2, 2), np.float16)}),
        "parameters of another shape": lambda run: setattr(run, "params", {"w": np.ones(3)}),
        "parameters None": lambda run: setattr(run, "params", None),
        "parameters read-only": lambda run: run.params["w"].setflags(write=False),
        "parameters gone": lambda run: run.params.clear(),
        "parameters NaN": lambda run: run.params["w"].fill(np.nan),
        "history cleared": lambda run: run.history.rows.clear(),
        "history of odd rows": lambda run: run.history.rows.append({"epoch": object()}),
        "alarms cleared": lambda run: run.alarms.clear(),
        "scale NaN": lambda run: run.scale_learning_rate("mine", float("nan")),
        "scale zero": lambda run: run.scale_learning_rate("mine", 0.0),
        "step back": lambda run: setattr(run, "step", 0),
        "epoch ahead": lambda run: setattr(run, "epoch", 10**6),
        "calls a hook": lambda run: run.plugins.call("on_epoch_start", run=run),
        "calls no hook": lambda run: run.plugins.call("on_nothing", run=run),
    }
    grads_acts: dict[str, Callable[[Any], object]] = {
        "gradients NaN": lambda grads: grads["w"].fill(np.nan),
        "gradients infinite": lambda grads: grads["w"].fill(np.inf),
        "gradients read-only": lambda grads: grads["w"].setflags(write=False),
        "gradients of another dtype": lambda grads: grads.__setitem__("w", np.ones((2, 2), np.float16)),
        "gradients gone": lambda grads: grads.__delitem__("w"),
        "gradients resized": lambda grads: setattr(grads["w"], "shape", (4,)),
    }
    acts: dict[str, Callable[..., object]] = {}
    for error in [*ERRORS, NoNotesError]:
        acts[f"raises {error.__name__}"] = _raise(error)
    values: list[Any] = [0, False, "", [], np.zeros(2), object(), NotImplemented, (), float("nan")]
    value = values[generator.integers(len(values))]
    acts[f"returns {type(value).__name__}"] = lambda **_: value
    for name, run_act in run_acts.items():
        if "run" in arguments:
            acts[name] = functools.partial(_on, run_act, "run")
    for name, grads_act in grads_acts.items():
        if "grads" in arguments:
            acts[name] = functools.partial(_on, grads_act, "grads")
    if "batch" in arguments:
        acts["skips in the batch"] = lambda batch, **_: setattr(batch, "skipped", True)
        acts["loss of the batch gone"] = lambda batch, **_: setattr(batch, "loss", None)
        acts["loss of the batch NaN"] = lambda batch, **_: setattr(batch, "loss", float("nan"))
        acts["phase of the batch another"] = lambda batch, **_: setattr(batch, "phase", "other")
    if "summary" in arguments:
        acts["row cleared"] = lambda summary, **_: summary.row.clear()
        acts["row of odd values"] = lambda summary, **_: summary.row.update(train_loss=object())
    return acts


def _on(act: Callable[[Any], object], name: str, **arguments: Any) -> object:
    act(arguments[name])
    return None


# Adversaries that need no hook to do harm -----------------------------------------------------------------------------


def _odd_objects(hook: str) -> dict[str, Callable[[], Any]]:
    def nothing(**arguments: Any) -> None:
        return None

    def raising(self: object, *arguments: Any) -> Any:
        raise ValueError("by the adversary")

    def plugin(**more: Any) -> Any:
        return make_plugin(hook, nothing, {}, "plain", **more)

    def function(text: str) -> Any:
        space: dict[str, Any] = {}
        exec(text, space)
        return type("Adversary", (), {hook: hookimpl(space[hook])})()

    class Slots:
        __slots__ = ()

        @hookimpl
        def on_fit_start(self) -> None:
            pass

    return {
        "__getattr__ raises": lambda: plugin(__getattr__=raising),
        "__getattribute__ raises": lambda: plugin(__getattribute__=raising),
        "__dir__ raises": lambda: plugin(__dir__=raising),
        "__dir__ of nonsense": lambda: plugin(__dir__=lambda self: [1, None, "on_fit_start"]),
        "__eq__ returns an array": lambda: plugin(__eq__=lambda self, other: np.ones(2), __hash__=lambda self: 1),
        "__eq__ raises": lambda: plugin(__eq__=raising, __hash__=lambda self: 1),
        "__eq__ true": lambda: plugin(__eq__=lambda self, other: True, __hash__=lambda self: 1),
        "no hash": lambda: plugin(__hash__=None),
        "__hash__ raises": lambda: plugin(__hash__=raising),
        "__repr__ raises": lambda: plugin(__repr__=raising),
        "__bool__ raises": lambda: plugin(__bool__=raising),
        "__len__ zero": lambda: plugin(__len__=lambda self: 0),
        "__class__ raises": lambda: plugin(__class__=property(raising)),
        "action raises": lambda: plugin(action=property(raising)),
        "repairs raises": lambda: plugin(repairs=property(raising)),
        "action of nonsense": lambda: plugin(action=np.ones(2)),
        "action repair": lambda: plugin(action="repair"),
        "repairs an array": lambda: plugin(repairs=np.ones(2)),
        "state_dict raises": lambda: plugin(state_dict=raising, load_state_dict=raising),
        "codes of nonsense": lambda: plugin(codes=3),
        "property raises": lambda: plugin(other=property(raising)),
        "slots": Slots,
        "no self": lambda: function(f"def {hook}(run): pass"),
        "no argument": lambda: function(f"def {hook}(): pass"),
        "unknown argument": lambda: function(f"def {hook}(self, rum): pass"),
        "star arguments": lambda: function(f"def {hook}(self, *args, **kwargs): pass"),
        "default": lambda: function(f"def {hook}(self, run=None): pass"),
        "keyword only": lambda: function(f"def {hook}(self, *, run): pass"),
        "async": lambda: function(f"async def {hook}(self): pass"),
        "generator": lambda: function(f"def {hook}(self): yield"),
        "a class": lambda: type(plugin()),
        "None": lambda: None,
        "a number": lambda: 3,
        "a string": lambda: "progress",
        "a module": lambda: np,
        "a function": lambda: nothing,
        "a dict": lambda: {hook: nothing},
        "no hook": object,
        "not marked": lambda: type("Adversary", (), {hook: lambda self: None})(),
        "misspelled": lambda: type("Adversary", (), {f"{hook}s": hookimpl(lambda self: None)})(),
        "a mark on a number": lambda: type("Adversary", (), {hook: 3})(),
    }


# The trial ------------------------------------------------------------------------------------------------------------


def adversary_trial(generator: np.random.Generator, folder: Path) -> Result:
    """One adversary among other plugins."""
    hooks = list(HOOKS)
    hook = hooks[generator.integers(len(hooks))]
    if generator.random() < 0.2:
        objects = _odd_objects(hook)
        kind = list(objects)[generator.integers(len(objects))]
        adversary, what = objects[kind](), f"{kind}, {hook}"
    else:
        acts = _acts(generator, " ".join(HOOKS[hook]))
        kind = list(acts)[generator.integers(len(acts))]
        wrappers = ("plain", "plain", "plain", "before", "after", "hookwrapper", "twice", "swallows")
        wrapper = wrappers[generator.integers(len(wrappers))]
        order: dict[str, Any] = [{}, {"tryfirst": True}, {"trylast": True}][generator.integers(3)]
        after = int(generator.integers(1, 4))
        adversary = make_plugin(hook, _from_call(after, acts[kind]), order, wrapper)
        what = f"{kind} in {hook}, {wrapper} {order}, from call {after}"
    return _judge(adversary, what, hook, folder)


def _from_call(number: int, act: Callable[..., object]) -> Callable[..., object]:
    """The act from its n-th call on."""
    calls = 0

    def later(**arguments: Any) -> object:
        nonlocal calls
        calls += 1
        return act(**arguments) if calls >= number else None

    return later


def _judge(adversary: Any, what: str, hook: str, folder: Path) -> Result:
    ahead, behind = EndWitness(), EndWitness()
    error: BaseException | None = None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _train({"ahead": ahead, NAME: adversary, "behind": behind}, folder)
    except BaseException as raised:
        error = raised
    for name, witness in (("ahead", ahead), ("behind", behind)):
        # Where on_fit_start failed, the end is told to plugins that heard nothing of the start, too.
        if not witness.starts <= witness.ends <= 1:
            return Result("lost run", what, f"witness {name}: {witness.starts} starts, {witness.ends} ends; {error!r}")
    if error is None:
        return Result("held", what)
    try:
        text = str(error)
    except Exception:  # of NoNotesError
        return Result("held", what)
    told = f"{text} {' '.join(getattr(error, '__notes__', []))}"
    if NAME in told or is_ours(error) or _raised_by_script(error):
        return Result("held", what)
    return Result("foreign traceback", what, f"{told}\n{traceback_of(error)}")


def _raised_by_script(error: BaseException) -> bool:
    """Whether a line of the script itself failed, such as one that reads parameters which the plugin took away."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].name == _train.__name__


def _train(plugins: dict[str, Any], folder: Path) -> None:
    params = {"w": np.full((2, 2), 0.5)}
    more = recommended() | {"self_repair": SelfRepair(), "history_log": HistoryLog(directory=folder)}
    with Run(params, plugins={**plugins, **more}, learning_rate=0.1) as run:
        for _ in run.epochs(3):
            for target in run.batches([0.5, 0.6, 0.7]):
                loss = float(((params["w"] - target) ** 2).mean())
                grads = run.backward(loss, {"w": (params["w"] - target) / 2})
                if not run.skipped:
                    params["w"] = params["w"] - run.learning_rate * grads["w"]
            for target in run.batches([0.8], phase="val"):
                run.record(float(((params["w"] - target) ** 2).mean()))
