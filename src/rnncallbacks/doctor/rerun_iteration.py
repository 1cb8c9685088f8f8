"""Replays without fork: the script is run again, with the same seeds, up to the iteration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.script_link import ScriptProcess, start_script
from rnncallbacks.doctor.script_process import Assignment
from rnncallbacks.doctor.watch_messages import ReplayRequest, RerunRequest
from rnncallbacks.doctor.watched_script import FrozenIteration, ReplayError


class RerunScript:
    """A script that is run from its start for each request.

    One process runs it again and again, which saves the start of Python and the imports. A script whose second run in
    a process has other values than the first one gets a process for each run.

    Parameters
    ----------
    assignment:
        That of the script, with the seeds of the first run.
    until:
        The time, as of ``time.monotonic``, after which no answer is waited for.
    new_place:
        Makes an empty directory for the files of a process.
    """

    def __init__(self, assignment: Assignment, until: float, new_place: Callable[[], Path]) -> None:
        self._assignment = attrs.evolve(assignment, is_rerun=True, channels=())
        self._until = until
        self._new_place = new_place
        self._process: ScriptProcess | None = None
        self._has_run = False
        self.repeats: bool | None = None
        """Whether the script repeats its values in one process; None before its second run."""

    def answer(self, request: RerunRequest) -> IterationRecord:
        """Run the script up to an iteration, and the iteration.

        Raises
        ------
        ReplayError
            The replay failed, or took too long.
        """
        record = self._answer(request)
        if self.repeats is None:
            try:
                self.repeats = self._is_ready() and record.same_as(self._answer(request))
            except ReplayError:
                self.repeats = False
        if not self.repeats:
            self.close()
        return record

    def _answer(self, request: RerunRequest) -> IterationRecord:
        if time.monotonic() > self._until:
            raise ReplayError("the time is over")
        if self._has_run and not self._is_ready():
            self.close()
        if self._process is None:
            self._process = start_script(attrs.evolve(self._assignment, folder=self._new_place()), fork=False)
        self._has_run = True
        try:
            self._process.link.send(request)
        except OSError as error:
            self.close()
            raise ReplayError(str(error)) from error
        kind, what = self._message()
        if kind != "answer":
            raise ReplayError("the script did not reach the iteration again")
        record: IterationRecord = what
        return record

    def _is_ready(self) -> bool:
        """Whether the process can run the script once more, when its last run has ended."""
        try:
            return self._process is not None and bool(self._message()[1])
        except ReplayError:
            return False
        finally:
            self._has_run = False

    def _message(self) -> tuple[str, Any]:
        assert self._process is not None
        try:
            if not self._process.link.poll(max(0.0, self._until - time.monotonic())):
                raise ReplayError("the replay took too long")
            message: tuple[str, Any] = self._process.link.recv()
        except (EOFError, OSError) as error:
            self.close()
            raise ReplayError(str(error)) from error
        except ReplayError:
            self.close()
            raise
        return message

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
        self._process, self._has_run = None, False


class RerunIteration(FrozenIteration):
    """An iteration of a script that is run again from the start of the script."""

    def __init__(self, script: RerunScript, iteration: int, until: float) -> None:
        super().__init__(channel=None, number=-iteration, until=until)
        self._script = script
        self._iteration = iteration

    def replay(self, request: ReplayRequest) -> IterationRecord:
        """Run the script up to the iteration, and the iteration.

        Raises
        ------
        ReplayError
            The replay failed, or took too long.
        """
        return self._script.answer(RerunRequest(self._iteration, request))


@contextmanager
def rerun_iterations(
    assignment: Assignment, until: float, new_place: Callable[[], Path]
) -> Iterator[Callable[[int], RerunIteration]]:
    """Make iterations of a script by their number; the process that runs them is ended with the body."""
    script = RerunScript(assignment, until, new_place)
    try:
        yield lambda iteration: RerunIteration(script, iteration, until)
    finally:
        script.close()
