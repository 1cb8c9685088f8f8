"""The doctor's side of a process that runs a script: start it, read its records, request replays."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

import attrs

from rnncallbacks.doctor.crash_advice import CrashAdvice
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.script_link import running_script
from rnncallbacks.doctor.script_process import Assignment
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.doctor.watch_messages import Command, ReplayRequest

RELEASE_SECONDS = 5.0
"""Time limit for the answer of a frozen copy that it ends; its channel is not used again otherwise."""
LATE_SECONDS = 5.0
"""Time after the limit of a search in which its result is waited for: the script ends at the next iteration of a loop.
Chosen by eye."""
MOST_FROZEN_ITERATIONS = 6
"""Iterations that can be frozen at once."""


class ScriptTimeoutError(Exception):
    """The script's process did not answer in time."""


class ScriptOverError(Exception):
    """The script ended.

    Attributes
    ----------
    advice:
        The explanation of its error; None if there was none.
    """

    def __init__(self, advice: CrashAdvice | None) -> None:
        super().__init__(advice)
        self.advice = advice


class ReplayError(Exception):
    """A replay gave no answer."""


@attrs.define(eq=False)
class FrozenIteration:
    """An iteration that can be run again from its start, with other values in the script's arrays.

    Attributes
    ----------
    until:
        The time, as of ``time.monotonic``, at which waiting for answers ends.
    late:
        Whether an answer was late. It may still arrive, and would be mistaken for that to another request.
    """

    channel: Connection | None
    number: int
    until: float
    late: bool = False

    def replay(self, request: ReplayRequest) -> IterationRecord:
        """Run the iteration again.

        Raises
        ------
        ReplayError
            The replay failed, or took too long.
        """
        if self.late or self.channel is None:
            raise ReplayError("an earlier replay took too long")
        answer: IterationRecord | None = None
        until = min(self.until, time.monotonic() + 2 * request.seconds + 5.0)
        try:
            self.channel.send(request)
            while self.channel.poll(max(0.0, until - time.monotonic())):
                kind, what = self.channel.recv()
                if kind == "answer":
                    answer = what
                elif answer is None:
                    raise ReplayError(f"the replay ended with status {what}")
                else:
                    return answer
        except (EOFError, OSError) as error:
            raise ReplayError(str(error)) from error
        self.late = True
        raise ReplayError("the replay took too long")


@attrs.define(eq=False)
class WatchedScript:
    """A running script whose training loop is watched.

    Attributes
    ----------
    until:
        The time, as of ``time.monotonic``, at which waiting ends.
    is_nested:
        Whether the watched loop runs inside another one, as batches in epochs.
    """

    link: Connection
    until: float
    channels: list[Connection]
    is_nested: bool = False
    free: list[int] = attrs.field(factory=list)
    frozen: dict[int, FrozenIteration] = attrs.field(factory=dict)

    def go_on(self, *, freeze: bool = False, wanted: frozenset[Key] | None = None) -> FrozenIteration | None:
        """Let the script run its next iteration, and return a frozen copy of its start if that is possible."""
        channel = self.free.pop() if freeze and self.free else None
        with suppress(OSError):  # the script may have ended; its last message says so
            self.link.send(Command(channel=channel, wanted=wanted))
        if channel is None:
            return None
        if self._message("frozen"):
            frozen = FrozenIteration(self.channels[channel], channel, self.until)
            self.frozen[channel] = frozen
            return frozen
        self.free.append(channel)
        return None

    def release(self, frozen: FrozenIteration) -> None:
        """End a frozen copy."""
        if self.frozen.pop(frozen.number, None) is not None and frozen.channel is not None:
            try:
                frozen.channel.send(None)
                # A channel that two copies read would mix up their requests.
                while frozen.channel.poll(RELEASE_SECONDS):
                    if frozen.channel.recv()[0] == "released":
                        self.free.append(frozen.number)
                        return
            except (EOFError, OSError):
                return

    def record(self) -> IterationRecord:
        """The record of the iteration that has run.

        Raises
        ------
        ScriptOverError, ScriptTimeoutError
            There is none.
        """
        record: IterationRecord = self._message("record")
        return record

    def wait_for_loop(self) -> list[str]:
        """Wait until the loop begins; return the user's files that were run until then."""
        files: list[str]
        files, self.is_nested = self._message("found")
        return files

    def _message(self, wanted: str) -> Any:
        while True:
            left = self.until - time.monotonic()
            if left <= 0 or not self.link.poll(left):
                raise ScriptTimeoutError("the script took too long")
            try:
                kind, *what = self.link.recv()
            except (EOFError, OSError) as error:
                raise ScriptOverError(CrashAdvice("the process of the script was ended")) from error
            if kind == wanted:
                return what[0]
            if kind == "over":
                raise ScriptOverError(what[0])


def search_loop(assignment: Assignment, until: float, *, fork: bool = True) -> tuple[list[Any], CrashAdvice | None]:
    """Run a script until its training loop is found: the candidates, and the advice for its error.

    Raises
    ------
    ScriptTimeoutError
        The search did not end in its time: the script stays in one statement.
    """
    with running_script(assignment, fork=fork) as link:
        if not link.poll(max(0.0, min(until - time.monotonic(), assignment.seconds + LATE_SECONDS))):
            raise ScriptTimeoutError("the script took too long")
        try:
            _, candidates, error = link.recv()
        except (EOFError, OSError):
            return [], CrashAdvice("the process of the script was ended")
        return candidates, error


@contextmanager
def watched_script(assignment: Assignment, until: float, *, fork: bool = True) -> Iterator[WatchedScript]:
    """Run a script and watch its loop. All of its processes are ended when the context is left."""
    if not fork:
        with running_script(assignment, fork=False) as link:
            yield WatchedScript(link, until, [])
        return
    pairs = [socket.socketpair() for _ in range(MOST_FROZEN_ITERATIONS)]
    theirs = [other.detach() for _, other in pairs]
    ours = [Connection(one.detach()) for one, _ in pairs]
    try:
        with running_script(attrs.evolve(assignment, channels=tuple(theirs)), theirs, fork=True) as link:
            yield WatchedScript(link, until, ours, free=list(range(MOST_FROZEN_ITERATIONS)))
    finally:
        for one in ours:
            one.close()
