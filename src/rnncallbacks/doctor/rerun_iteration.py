"""Replays without fork: the script is run again, with the same seeds, up to the iteration."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.script_link import ScriptProcess, start_script
from rnncallbacks.doctor.script_process import Assignment
from rnncallbacks.doctor.watch_messages import ReplayRequest
from rnncallbacks.doctor.watched_script import FrozenIteration, ReplayError

AHEAD = 2
"""Processes that run up to the iteration in advance. Chosen by eye, for two processors."""


class RerunIteration(FrozenIteration):
    """An iteration of a script that is run again from the start of the script.

    Parameters
    ----------
    assignment:
        That of the script, with the seeds of the first run.
    iteration:
        The iteration, from 1.
    until:
        The time, as of ``time.monotonic``, after which no answer is waited for.
    new_place:
        Makes an empty directory for the files of a process.
    ahead:
        Processes that run up to the iteration in advance.
    """

    def __init__(
        self, assignment: Assignment, iteration: int, until: float, new_place: Callable[[], Path], ahead: int
    ) -> None:
        super().__init__(channel=None, number=-iteration, until=until)
        self._assignment = attrs.evolve(assignment, rerun=iteration, channels=())
        self._new_place = new_place
        self._ahead = ahead
        self._waiting: deque[ScriptProcess] = deque()

    def replay(self, request: ReplayRequest) -> IterationRecord:
        """Run the script up to the iteration, and the iteration.

        Raises
        ------
        ReplayError
            The replay failed, or took too long.
        """
        if time.monotonic() > self.until:
            raise ReplayError("the time is over")
        self.replays += 1
        while len(self._waiting) <= self._ahead:
            self._waiting.append(start_script(self._next_assignment(), fork=False))
        process = self._waiting.popleft()
        try:
            process.link.send(request)
            if not process.link.poll(max(0.0, self.until - time.monotonic())):
                raise ReplayError("the replay took too long")
            kind, what = process.link.recv()
        except (EOFError, OSError) as error:
            raise ReplayError(str(error)) from error
        finally:
            process.end()
        if kind != "answer":
            raise ReplayError("the script did not reach the iteration again")
        record: IterationRecord = what
        return record

    def close(self) -> None:
        """End the processes that wait."""
        while self._waiting:
            self._waiting.popleft().end()

    def _next_assignment(self) -> Assignment:
        return attrs.evolve(self._assignment, folder=self._new_place())


@contextmanager
def rerun_iterations(
    assignment: Assignment, until: float, new_place: Callable[[], Path], ahead: int = AHEAD
) -> Iterator[Callable[[int], RerunIteration]]:
    """Make iterations of a script by their number; their processes are ended with the body."""
    made: list[RerunIteration] = []

    def make(iteration: int) -> RerunIteration:
        made.append(RerunIteration(assignment, iteration, until, new_place, ahead))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.close()
