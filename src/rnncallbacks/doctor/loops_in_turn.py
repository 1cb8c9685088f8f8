"""The candidates for the training loop, in the order in which they are watched."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import attrs

from rnncallbacks.doctor.crash_advice import CrashAdvice
from rnncallbacks.doctor.loop_search import LoopCandidate, likeliest_first
from rnncallbacks.doctor.script_process import Assignment, LoopKind
from rnncallbacks.doctor.watched_script import ScriptTimeoutError, search_loop


@attrs.frozen(kw_only=True)
class LoopTurnThresholds:
    """Limits of the searches. Chosen by eye."""

    watched_loops: int = 7
    """Largest number of loops that are watched until one has parameters."""
    changing_loops: int = 4
    """Largest number of loops that change arrays at each iteration, before other kinds are searched."""
    search_share: float = 0.4
    """Share of the remaining time for one search."""


LOOP_TURN = LoopTurnThresholds()


@attrs.define(eq=False)
class LoopsInTurn:
    """Searches loops of one kind after the other, each search without those that were rejected.

    Attributes
    ----------
    new_place:
        Makes an empty folder for the files of a script.
    until:
        The time, as of ``time.monotonic``, at which searching ends.
    fork:
        Whether the script's process may be forked.
    named:
        The loop that the user named: the only one.
    error:
        The explanation of the script's error in the last search; None if it had none.
    out_of_time:
        Whether a search without a result took all of its time.
    """

    new_place: Callable[[], Path]
    until: float
    fork: bool
    named: LoopCandidate | None = None
    error: CrashAdvice | None = None
    out_of_time: bool = False
    _watched: int = 0
    _kinds: list[LoopKind] = attrs.field(factory=lambda: ["still", "large", "periodic", "changing"])
    _rejected: set[tuple[str, int]] = attrs.field(factory=set)
    _waiting: list[LoopCandidate] = attrs.field(factory=list)

    def next(self, assignment: Assignment) -> LoopCandidate | None:
        """The likeliest loop that was not returned before, or None."""
        self._watched += 1
        if self.named is not None:
            return self.named if self._watched == 1 else None
        if self._watched > LOOP_TURN.watched_loops:
            return None
        other_kinds = self._watched > LOOP_TURN.changing_loops
        if other_kinds and not self._waiting and self._kinds[-1:] == ["changing"]:
            self._end_kind()
        self.error = None
        while not self._waiting and self._kinds and self.error is None and time.monotonic() < self.until:
            self._search(assignment)
        if not self._waiting or time.monotonic() >= self.until:
            return None
        candidate = self._waiting.pop()
        self._rejected.add((candidate.site.file, candidate.site.line))
        return candidate

    def _search(self, assignment: Assignment) -> None:
        began = time.monotonic()
        searched = attrs.evolve(
            assignment,
            search=self._kinds[-1],
            folder=self.new_place(),
            excluded=frozenset(self._rejected),
            seconds=LOOP_TURN.search_share * (self.until - began),
        )
        try:
            found, self.error = search_loop(searched, self.until, fork=self.fork)
        except ScriptTimeoutError:  # a search of another kind would wait as long
            self.out_of_time = True
            self._kinds.clear()
            return
        self._waiting = likeliest_first(found)[::-1]
        if not self._waiting:
            self.out_of_time |= time.monotonic() - began >= searched.seconds
            self._end_kind()

    def _end_kind(self) -> None:
        self._kinds.pop()
        self._rejected.clear()
