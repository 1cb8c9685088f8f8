"""Starts the process that runs a script, and holds the doctor's end of the link to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import types
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import attrs

from rnncallbacks.doctor import script_process
from rnncallbacks.doctor.script_process import Assignment

ENVIRONMENT = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "BLIS")} | {
    "VECLIB_MAXIMUM_THREADS": "1"
}
"""Variables of the environment, unless they are set: a fork has none of its parent's threads, and starts new ones."""
MARK = "RNNCALLBACKS_DOCTOR_PROCESS"
"""Environment variable that identifies processes forked by a script's process."""
SAME_HASHES = {"PYTHONHASHSEED": "0"}
"""Variables that give sets the same order when a script is run again."""


@attrs.define(eq=False)
class ScriptProcess:
    """A process that runs a script, and the link to it."""

    link: Connection
    process: subprocess.Popen[bytes] | SpawnProcess
    mark: str

    def end(self) -> None:
        """End the process, with its frozen copies and replays, which are in its group, and those that have left it."""
        self.link.close()
        if isinstance(self.process, SpawnProcess):
            self.process.kill()
            self.process.join()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        while (escaped := _processes_with(self.mark)) and sys.platform == "linux":
            for number in escaped:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


def _processes_with(mark: str) -> list[int]:
    """The processes that were started with a mark in their environment, on systems that show it.

    Compiled code can fork without Python's knowledge, and leave the group. It cannot run another program.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def can_fork() -> bool:
    """Whether processes of this system can be forked."""
    return hasattr(os, "fork")


def start_script(assignment: Assignment, descriptors: Sequence[int] = (), *, fork: bool) -> ScriptProcess:
    """Start the process of a script.

    Parameters
    ----------
    assignment:
        Its task.
    descriptors:
        File descriptors that the process gets and this one closes.
    fork:
        Whether the process will be forked. Otherwise it is started in a way that all systems have.
    """
    started = _with_descriptors(descriptors, assignment.output) if fork else _spawned()
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


def _with_descriptors(descriptors: Sequence[int], output: Path | None) -> ScriptProcess:
    own, other = socket.socketpair()
    mark = uuid.uuid4().hex
    with open(os.devnull if output is None else output, "wb") as prints:
        process = subprocess.Popen(
            [sys.executable, *([] if output is None else ["-u"]), "-m", script_process.__name__, str(other.fileno())],
            pass_fds=[other.fileno(), *descriptors],
            env=ENVIRONMENT | os.environ | {MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=prints,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    other.close()
    for descriptor in descriptors:
        os.close(descriptor)
    return ScriptProcess(Connection(own.detach()), process, mark)


def _spawned() -> ScriptProcess:
    context = multiprocessing.get_context("spawn")
    if sys.platform != "win32":
        resource_tracker.ensure_running()  # one process for all that are spawned, which has no mark
    ours, theirs = context.Pipe()
    process = context.Process(target=script_process.run_spawned, args=(theirs,), daemon=True)
    environment, main, mark = dict(os.environ), sys.modules["__main__"], uuid.uuid4().hex
    os.environ.update(ENVIRONMENT | environment | SAME_HASHES | {MARK: mark})
    sys.modules["__main__"] = types.ModuleType("__main__")  # or the process would import the doctor's command first
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
    theirs.close()
    return ScriptProcess(ours, process, mark)
