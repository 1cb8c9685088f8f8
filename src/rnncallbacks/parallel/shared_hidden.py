"""The carried states of a run on several ranks: those of all rows, for checkpoints, and those of this rank's rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rnncallbacks.core.hidden_state import HiddenStates
from rnncallbacks.parallel.communicator import Communicator
from rnncallbacks.parallel.hidden_rows import divided, joined, row_count
from rnncallbacks.parallel.row_shares import share_of


class SharedHidden:
    """Sends the carried states of all ranks to rank 0 when it saves a checkpoint.

    Parameters
    ----------
    states:
        The states of this rank.
    communicator:
        The ranks.
    """

    def __init__(self, states: HiddenStates, communicator: Communicator) -> None:
        self._states = states
        self._ranks = communicator
        self._rows: dict[str, int | None] = {}
        self._axes: dict[str, int] = {}

    def start(self, *, resumed: bool) -> None:
        """Take the states of this rank's rows, if all ranks have resumed from a checkpoint with those of all rows."""
        self._axes = self._states.axes()
        if resumed and self._axes:
            saved, place = self._states.saved(), (self._ranks.rank, self._ranks.ranks)
            for phase, one in saved.items():
                taken = share_of(row_count(one, self._axes), *place)
                self._rows[phase] = taken.stop - taken.start
            self._states.restore({phase: divided(one, self._axes, *place) for phase, one in saved.items()})

    def end_batch(self, phase: str, rows: int | None) -> None:
        """Note the number of rows of this rank in the last batch of a phase; None if it has a loader of its own."""
        self._rows[phase] = rows

    def show_all_rows(self, request: Callable[[], bool]) -> None:
        """Have the run of rank 0 save the states of all rows, as a run of one process does.

        Parameters
        ----------
        request:
            Has the other ranks call :meth:`collect`. It returns False if they cannot.
        """
        if self._ranks.rank == 0 and self._axes:
            self._states.collect = lambda: self._of_all(request)

    def show_own_rows(self) -> None:
        """Have the run of rank 0 save the states of its own rows again."""
        self._states.collect = None

    def _of_all(self, request: Callable[[], bool]) -> dict[str, dict[str, Any]]:
        self.show_own_rows()
        try:
            return self.collect() if request() else self._states.saved()
        finally:
            self.show_all_rows(request)

    def collect(self) -> dict[str, dict[str, Any]]:
        """The states of all rows, by phase. All ranks must call it."""
        own = self._states.saved()
        parts = {}
        for phase, one in own.items():
            rows = self._rows.get(phase)
            parts[phase] = row_count(one, self._axes) if rows is None else rows, one
        ranks = self._ranks.gather_objects(parts)
        nothing = 0, {"carried": None, "due": None}
        return {phase: joined([part.get(phase, nothing) for part in ranks], self._axes) for phase in own}
