"""The main function of the process that runs a script for the doctor: ``python -m rnncallbacks.doctor.script_process``.

Its argument is the number of a file descriptor. The first message that it reads there is an :class:`Assignment`.
"""

from __future__ import annotations

import builtins
import ctypes
import gc
import itertools
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

import attrs
import numpy as np

from rnncallbacks.doctor import instrument
from rnncallbacks.doctor.attended_runs import GIVEN, RunsOfScript
from rnncallbacks.doctor.crash_advice import CrashAdvice, advice_on
from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.frozen_copy import REPLAY_FAILED
from rnncallbacks.doctor.instrument import Sites
from rnncallbacks.doctor.loop_search import (
    LARGE_CHANGES,
    LOOP_SEARCH,
    LoopSearch,
    SearchEnded,
)
from rnncallbacks.doctor.loops_beside_runs import OutsideRuns
from rnncallbacks.doctor.periodic_search import PeriodicSearch
from rnncallbacks.doctor.process_state import process_state
from rnncallbacks.doctor.sandbox import Sandbox
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.doctor.still_search import StillSearch
from rnncallbacks.doctor.user_modules import run_instrumented
from rnncallbacks.doctor.watch_messages import RerunRequest, WatchEnded
from rnncallbacks.doctor.watching import LoopWatch

Watcher: TypeAlias = LoopSearch | PeriodicSearch | StillSearch | OutsideRuns | LoopWatch
LoopKind: TypeAlias = Literal["changing", "periodic", "large", "still"]
SET_PARENT_DEATH_SIGNAL = 1  # of prctl


@attrs.frozen
class Assignment:
    """The task of the process.

    Attributes
    ----------
    script, arguments:
        The script and its arguments.
    loop:
        File and line of the loop to watch; None to search for it.
    period, first:
        Every how many iterations the loop updates the parameters, and the iteration before which these begin.
    search:
        The kind of loop that is searched: "changing", in which parameters change at each iteration; "periodic", every
        few iterations; "large", by more than their size; "still", never.
    excluded:
        File and line of rejected loops.
    folder:
        An empty directory for the files of the script.
    seconds:
        Time limit of the search.
    channels:
        File descriptors on which frozen copies answer.
    is_rerun:
        Whether the script is run once for each request for an iteration, and stops behind it.
    output:
        A file for the output of the script; None to drop it. Only where the process is forked.
    run_batches:
        Training batches after which the script's runs are stopped; None for a script without a ``Run``.
    beside_runs:
        Whether only loops that no run drives are searched.
    seed:
        Seed of ``random``, of ``np.random`` and of generators that the script makes without one; None to leave them.
    """

    script: Path
    folder: Path
    arguments: tuple[str, ...] = ()
    loop: tuple[str, int] | None = None
    period: int = 1
    first: int = 1
    search: LoopKind = "changing"
    excluded: frozenset[tuple[str, int]] = frozenset()
    seconds: float = 20.0
    channels: tuple[int, ...] = ()
    is_rerun: bool = False
    output: Path | None = None
    run_batches: int | None = None
    beside_runs: bool = False
    seed: int | None = None


@contextmanager
def hooks(watcher: Watcher) -> Iterator[None]:
    """Let instrumented code call a watcher."""
    frame_of = sys._getframe

    def returned(number: int, value: Any) -> Any:
        watcher.returned(number, value, frame_of(1))
        return value

    def shown(number: int, text: str, value: Any) -> Any:
        watcher.shown(number, text, value)
        return value

    def term(number: int, text: str, value: Any, base: Any, rate: Any) -> Any:
        if isinstance(watcher, LoopWatch):
            watcher.term(number, text, value, base, rate)
        return value

    functions = {
        instrument.START: lambda number: watcher.start(number, frame_of(1)),
        instrument.TICK: lambda number: watcher.tick(number, frame_of(1)),
        instrument.END: lambda number: watcher.end(number, frame_of(1)),
        instrument.RETURN: returned,
        instrument.BEFORE: watcher.before,
        instrument.SHOWN: shown,
        instrument.TERM: term,
    }
    vars(builtins).update(functions)
    try:
        yield
    finally:
        for name in functions:
            vars(builtins).pop(name, None)


def seed_generators(seed: int) -> None:
    """Give ``random``, ``np.random`` and every later ``np.random.default_rng()`` a seed."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (the script's generator)
    made, seeds = np.random.default_rng, itertools.count(seed)
    np.random.default_rng = lambda seed=None: made(next(seeds) if seed is None else seed)


def end_with_parent(link: Connection) -> None:
    """Let the kernel end this process when the doctor's process is killed, and end it now if it was; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if has_no_other_end(link):
            os._exit(0)


def has_no_other_end(link: Connection) -> bool:
    """Whether the other end of a link, which is a socket, has been closed and nothing is left to read."""
    with socket.socket(fileno=os.dup(link.fileno())) as end:
        try:
            return not end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True


def run_spawned(link: Connection) -> None:
    """Run an assignment in a process of :mod:`multiprocessing`, without input and output."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    run_assignment(link)


def run_assignment(link: Connection) -> None:
    """Run the script of the assignment, and send what was found."""
    assignment: Assignment = link.recv()
    end_with_parent(link)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the doctor ends this process
    sites, modules = Sites(), OwnModules()
    sandbox = Sandbox(assignment.folder, for_good=True)
    sandbox.__enter__()  # left with the process only: threads of the script may outlive it
    if assignment.is_rerun:
        _answer_requests(assignment, sandbox, link)
    runs = None if assignment.run_batches is None else RunsOfScript(assignment.run_batches)
    if runs is not None:
        modules.add(GIVEN)
    if assignment.loop is None:
        given = sites, modules, set(assignment.excluded), assignment.seconds
        search = LoopSearch(*given, LARGE_CHANGES if assignment.search == "large" else LOOP_SEARCH)
        watcher: LoopSearch | PeriodicSearch | StillSearch | OutsideRuns = search
        if assignment.search in ("periodic", "still"):
            watcher = PeriodicSearch(*given) if assignment.search == "periodic" else StillSearch(*given)
            watcher.candidates = search.candidates
        if runs is not None and assignment.beside_runs:
            watcher = OutsideRuns(search, runs, assignment.seconds)
        with runs.attend() if runs is not None else nullcontext():
            error = _run(assignment, sandbox, sites, modules, watcher)
        link.send(("candidates", list(search.candidates.values()), error))
    else:
        channels = [Connection(one) for one in assignment.channels]
        fork = sandbox.fork if channels else None
        watch = LoopWatch(sites, modules, assignment.loop, link, channels, fork)
        watch.updates.period, watch.updates.first = assignment.period, assignment.first
        with runs.attend() if runs is not None else nullcontext():
            error = _run(assignment, sandbox, sites, modules, watch)
        if watch.replaying is not None:
            os._exit(REPLAY_FAILED)
        link.send(("over", error))
    os._exit(0)


def _answer_requests(assignment: Assignment, sandbox: Sandbox, link: Connection) -> NoReturn:
    """Run the script for each request; say after each run whether the process can run it once more."""
    assert assignment.loop is not None
    threads, sites = threading.active_count(), Sites()
    gc.freeze()  # what is imported is not searched after each run
    with suppress(EOFError, OSError):
        while True:
            request: RerunRequest = link.recv()
            modules = OwnModules()
            with process_state(modules):
                runs = None if assignment.run_batches is None else RunsOfScript(assignment.run_batches)
                if runs is not None:
                    modules.add(GIVEN)
                watch = LoopWatch(sites, modules, assignment.loop, link, [], None, request)
                watch.updates.period, watch.updates.first = assignment.period, assignment.first
                with runs.attend() if runs is not None else nullcontext():
                    error = _run(assignment, sandbox, sites, modules, watch)
                if not watch.answered:
                    link.send(("over", error))
                del runs, watch
            gc.collect()  # closes its files
            is_ready = threading.active_count() == threads
            try:
                sandbox.clear()
            except OSError:
                is_ready = False
            link.send(("ready", is_ready))
    os._exit(0)


def _run(
    assignment: Assignment, sandbox: Sandbox, sites: Sites, modules: OwnModules, watcher: Watcher
) -> CrashAdvice | None:
    """Run the script to its end; return the explanation of its error, None if it had none."""
    source = read_script(assignment.script)
    if assignment.seed is not None:
        seed_generators(assignment.seed)
    try:
        with hooks(watcher):
            run_instrumented(source, list(assignment.arguments), sites, modules.add)
    except (SearchEnded, WatchEnded):
        return None
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            return CrashAdvice(leaving.code)
        return advice_on(leaving, source) if leaving.code else None
    except BaseException as error:
        return advice_on(error, source)
    finally:
        sandbox.note_refused()
    return None


if __name__ == "__main__":
    # Loaded under its own name, so that messages name classes that the doctor knows.
    from rnncallbacks.doctor.script_process import run_assignment as run_here

    run_here(Connection(int(sys.argv[1])))
