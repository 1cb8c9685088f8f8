"""Carried states of a run on several ranks: joins those of all rows for a checkpoint, and divides them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnncallbacks.arrays.containers import Array, map_arrays, named_arrays
from rnncallbacks.parallel.row_shares import share_of

Saved = Mapping[str, Any]
"""A carried state and the mask of the rows to reset, as ``run.hidden_states.saved()`` has them for each phase."""


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
