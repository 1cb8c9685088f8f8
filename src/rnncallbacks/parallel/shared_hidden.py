"""The carried states of a run on several ranks: those of all rows, for checkpoints, and those of this rank's rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rnncallbacks.arrays.containers import Array, map_arrays, named_arrays
from rnncallbacks.core.hidden_state import HiddenStates
from rnncallbacks.parallel.communicator import Communicator
from rnncallbacks.parallel.row_shares import share_of

Saved = Mapping[str, Any]
"""A carried state and the mask of the rows to reset, as ``run.hidden_states.saved()`` has them for each phase."""


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


def joined(parts: Sequence[tuple[int, Saved]], axes: Mapping[str, int]) -> dict[str, Any]:
    """The state of all rows.

    Parameters
    ----------
    parts:
        The number of rows and the state of each rank.
    axes:
        The axis of the rows in each array of a state, by its path.
    """
    filled = [(rows, part) for rows, part in parts if rows and part["carried"] is not None]
    if len(filled) < sum(rows > 0 for rows, _ in parts) or not filled:
        return {"carried": None, "due": None}
    named = [named_arrays(part["carried"], "state") for _, part in filled]
    names = {id(array): name for name, array in named[0].items()}

    def join(array: Array) -> Array:
        name = names[id(array)]
        return np.concatenate([one[name] for one in named], axes[name])

    due = None
    if any(part["due"] is not None for _, part in filled):
        masks = [np.zeros(rows, bool) if part["due"] is None else part["due"] for rows, part in filled]
        due = np.concatenate(masks)
    return {"carried": map_arrays(join, filled[0][1]["carried"]), "due": due}


def divided(saved: Saved, axes: Mapping[str, int], rank: int, ranks: int) -> dict[str, Any]:
    """The state of the rows of one rank. A rank without rows gets the state of the first row."""
    if saved["carried"] is None:
        return dict(saved)
    named = named_arrays(saved["carried"], "state")
    names = {id(array): name for name, array in named.items()}
    name, array = next(iter(named.items()))
    rows = share_of(array.shape[axes[name]], rank, ranks)
    if rows.start == rows.stop:
        rows = slice(0, 1)

    def take(array: Array) -> Array:
        return array[(slice(None),) * axes[names[id(array)]] + (rows,)].copy()

    due = None if saved["due"] is None else saved["due"][rows]
    return {"carried": map_arrays(take, saved["carried"]), "due": due}


def row_count(saved: Saved, axes: Mapping[str, int]) -> int:
    """The number of rows of a state, or 0 if nothing is carried."""
    if saved["carried"] is None:
        return 0
    name, array = next(iter(named_arrays(saved["carried"], "state").items()))
    return int(array.shape[axes[name]])
