"""Starts the process that runs a script, and holds the doctor's end of the link to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import attrs

from rnncallbacks.doctor import script_process
from rnncallbacks.doctor.script_process import Assignment

ENVIRONMENT = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "BLIS")} | {
    "VECLIB_MAXIMUM_THREADS": "1"
}
"""Variables of the environment, unless they are set: a fork has none of its parent's threads, and starts new ones."""
SAME_HASHES = {"PYTHONHASHSEED": "0"}
"""Variables with which a script that is run again goes through its sets in the same order."""


@attrs.define(eq=False)
class ScriptProcess:
    """A process that runs a script, and the link to it."""

    link: Connection
    process: subprocess.Popen[bytes] | SpawnProcess

    def end(self) -> None:
        """End the process, with its frozen copies and replays, which are in its group."""
        self.link.close()
        if isinstance(self.process, SpawnProcess):
            self.process.kill()
            self.process.join()
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def can_fork() -> bool:
    """Whether processes of this system can be forked."""
    return hasattr(os, "fork")


def start_script(assignment: Assignment, descriptors: Sequence[int] = (), *, fork: bool = True) -> ScriptProcess:
    """Start the process of a script.

    Parameters
    ----------
    assignment:
        What it does.
    descriptors:
        File descriptors that the process gets and this one closes.
    fork:
        Whether the process will be forked. Otherwise it is started in a way that all systems have.
    """
    started = _with_descriptors(descriptors) if fork else _spawned()
    started.link.send(assignment)
    return started


@contextmanager
def running_script(assignment: Assignment, descriptors: Sequence[int] = (), *, fork: bool) -> Iterator[Connection]:
    """The link to a process that runs a script and is ended with the body."""
    started = start_script(assignment, descriptors, fork=fork)
    try:
        yield started.link
    finally:
        started.end()


def _with_descriptors(descriptors: Sequence[int]) -> ScriptProcess:
    own, other = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", script_process.__name__, str(other.fileno())],
        pass_fds=[other.fileno(), *descriptors],
        env=ENVIRONMENT | os.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    other.close()
    for descriptor in descriptors:
        os.close(descriptor)
    return ScriptProcess(Connection(own.detach()), process)


def _spawned() -> ScriptProcess:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=script_process.run_spawned, args=(theirs,), daemon=True)
    environment, main = dict(os.environ), sys.modules["__main__"]
    os.environ.update(ENVIRONMENT | environment | SAME_HASHES)
    sys.modules["__main__"] = types.ModuleType("__main__")  # or the process would import the doctor's command first
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
    theirs.close()
    return ScriptProcess(ours, process)
