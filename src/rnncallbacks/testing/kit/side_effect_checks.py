"""Checks of side effects: on the process, and on gradients where a plugin should only read them."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rnncallbacks.arrays.containers import Array, named_arrays
from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.core.call_order import Place, call_order
from rnncallbacks.core.hookspecs import Hook, hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.testing.kit.trials import LOSSES, PluginProblem, Trial

OWN_GENERATOR = "make a generator of its own: np.random.default_rng(seed)"
IN_FIT_END = "put it back in on_fit_end"
PROCESS: Mapping[str, tuple[Callable[[], object], str]] = {
    "the global generator of numpy.random": (lambda: _numpy_state(), OWN_GENERATOR),
    "the global generator of random": (random.getstate, OWN_GENERATOR),
    "the working directory": (os.getcwd, "use absolute paths in place of os.chdir"),
    "the environment variables": (lambda: dict(os.environ), IN_FIT_END),
    "the handling of floating-point errors": (np.geterr, "use with np.errstate(...)"),
    "the handler of SIGINT": (lambda: signal.getsignal(signal.SIGINT), IN_FIT_END),
    "the handler of SIGTERM": (lambda: signal.getsignal(signal.SIGTERM), IN_FIT_END),
    "the settings of the root logger": (
        lambda: (logging.root.level, logging.root.manager.disable, list(logging.root.handlers)),
        "use a logger of its own: logging.getLogger(__name__)",
    ),
    "the way in which NumPy prints": (np.get_printoptions, "use with np.printoptions(...)"),
    "the standard output": (lambda: (id(sys.stdout), id(sys.stderr)), IN_FIT_END),
    "the list of running threads": (lambda: {one.ident for one in threading.enumerate()}, "join threads in on_fit_end"),
}
"""The states that a run must not change: a function that reads each, and the advice if it has changed."""
ONLY_READING: tuple[Place, ...] = ("first", "last")
"""The places in on_backward that see the gradients of the script, or those of the update."""


def _numpy_state() -> bytes:
    state: Any = np.random.get_state()  # noqa: NPY002  (it is the old generator that scripts share)
    return bytes(state[1].tobytes()) + bytes(repr(state[2:]), "ascii")


class SeesChanges:
    """Compares gradients, parameters and data before the plugin and after it.

    Attributes
    ----------
    changed:
        What was changed, with the hook.
    entered:
        The parameters with which the batch was entered.
    """

    def __init__(self) -> None:
        self.changed: set[tuple[str, Hook]] = set()
        self.entered: list[Array] = []

    @hookimpl(wrapper=True, ahead=True)
    def on_epoch_start(self, run: Run) -> Generator[None, Any, Any]:
        return (yield from self._compared("on_epoch_start", params=list(named_arrays(run.params).values())))

    @hookimpl(wrapper=True, ahead=True)
    def on_batch_start(self, run: Run, batch: Batch) -> Generator[None, Any, Any]:
        data = batch.data
        params = list(named_arrays(run.params).values())
        self.entered = [array.copy() for array in params]
        # Of other phases, the parameters are compared at the end of the batch: averages may be evaluated in it.
        compared = {"data": [data], **({"params": params} if batch.phase == "train" else {})}
        result = yield from self._compared("on_batch_start", **compared)
        if batch.data is not data:
            self.changed.add(("data", "on_batch_start"))
        return result

    @hookimpl(wrapper=True, ahead=True)
    def on_backward(self, run: Run, grads: Gradients) -> Generator[None, Any, Any]:
        arrays = {"params": list(named_arrays(run.params).values()), "gradients": list(grads.arrays)}
        return (yield from self._compared("on_backward", **arrays))

    @hookimpl(wrapper=True, ahead=True)
    def on_batch_end(self, run: Run, batch: Batch) -> Generator[None, Any, Any]:
        params = list(named_arrays(run.params).values())
        if batch.phase == "train":
            return (yield from self._compared("on_batch_end", params=params))
        result = yield
        if not _equal(self.entered, params):
            self.changed.add(("params", "on_batch_end"))
        return result

    def _compared(self, hook: Hook, **groups: Sequence[Any]) -> Generator[None, Any, Any]:
        before = {name: [np.array(array) for array in arrays] for name, arrays in groups.items()}
        result = yield
        for name, arrays in groups.items():
            if not _equal(before[name], arrays):
                self.changed.add((name, hook))
        return result


def _equal(before: Sequence[Any], after: Sequence[Any]) -> bool:
    return all(np.array_equal(*pair, equal_nan=True) for pair in zip(before, after, strict=True))


def check_process(trial: Trial) -> Iterator[PluginProblem]:
    """The state that all parts of the process share."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), np.errstate():
        plugin = trial.make()
        before = {name: read() for name, (read, _) in PROCESS.items()}
        trial.play(plugin=plugin)
        for name, (read, advice) in PROCESS.items():
            now, then = read(), before[name]
            # Threads that others started may end during the run.
            if now - then if isinstance(now, set) and isinstance(then, set) else now != then:
                yield PluginProblem("process", f"a run changed {name}", advice)


def check_order(trial: Trial) -> Iterator[PluginProblem]:
    """The changes of state that the script and other plugins expect to be unchanged."""
    sees = SeesChanges()
    data = [np.array([1.0, 2.0]) for _ in LOSSES[0]]
    run = trial.play(sees, batches=data, grads=lambda step: {"w": np.array([step, -100.0 * step])}).run
    if run is None:
        return
    for what, hook in sorted(sees.changed):
        places = {position.place for position in call_order(run.plugins, hook) if position.plugin == "plugin"}
        if what == "params":
            advice = "change them in on_fit_start, on_epoch_end or on_fit_end"
            yield PluginProblem("order", f"it changes the parameters in {hook}", advice)
        elif what == "data" and "ahead" not in places:
            advice = "work on a copy, or use @hookimpl(ahead=True) to replace batch.data"
            yield PluginProblem("order", "it changes the data of the script", advice)
        elif what == "gradients" and places <= set(ONLY_READING):
            advice = "leave out tryfirst and trylast, or use @hookimpl(ahead=True) to complete the gradients"
            yield PluginProblem("order", "it changes gradients where it should only see them", advice)
