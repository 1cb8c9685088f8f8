"""Checks of what a plugin changes besides itself: the process, and the gradients where it should only read them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from rnncallbacks.core.call_order import Place, call_order
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.gradients import Gradients
from rnncallbacks.testing.kit.trials import PluginProblem, Trial

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
    "the standard output": (lambda: (id(sys.stdout), id(sys.stderr)), IN_FIT_END),
    "the list of running threads": (lambda: {one.ident for one in threading.enumerate()}, "join threads in on_fit_end"),
}
"""What is the same after a run as before it: a function that reads it, and the advice if it is not."""
ONLY_READING: tuple[Place, ...] = ("first", "last")
"""The places in on_backward that see the gradients of the script, or those of the update."""


def _numpy_state() -> bytes:
    state: Any = np.random.get_state()  # noqa: NPY002  (it is the old generator that scripts share)
    return bytes(state[1].tobytes()) + bytes(repr(state[2:]), "ascii")


class SeesGradients:
    """Compares the gradients before the plugin and after it."""

    changed = False

    @hookimpl(wrapper=True, ahead=True)
    def on_backward(self, run: Run, grads: Gradients) -> Iterator[Any]:
        before = [array.copy() for array in grads.arrays]
        result = yield
        after = zip(before, grads.arrays, strict=True)
        self.changed = self.changed or not all(np.array_equal(*pair, equal_nan=True) for pair in after)
        return result


def check_process(trial: Trial) -> Iterator[PluginProblem]:
    """What the process has in common for all its parts, and finds changed after a run."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), np.errstate():
        plugin = trial.make()
        before = {name: read() for name, (read, _) in PROCESS.items()}
        trial.play(plugin=plugin)
        for name, (read, advice) in PROCESS.items():
            if read() != before[name]:
                yield PluginProblem("process", f"a run changed {name}", advice)


def check_order(trial: Trial) -> Iterator[PluginProblem]:
    """Gradients that are changed where other plugins expect to see those of the script, or of the update."""
    sees = SeesGradients()
    run = trial.play(sees, grads=lambda step: {"w": np.array([step, -100.0 * step])}).run
    if run is not None and sees.changed:
        places = {position.place for position in call_order(run.plugins, "on_backward") if position.plugin == "plugin"}
        if places <= set(ONLY_READING):
            advice = "leave out tryfirst and trylast, or use @hookimpl(ahead=True) to complete the gradients"
            yield PluginProblem("order", "it changes gradients where it should only see them", advice)
