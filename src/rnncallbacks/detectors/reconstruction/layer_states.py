"""The states that enter the layers of a network with a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rnncallbacks.arrays.containers import Array, named_arrays_or_none

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

LayerState: TypeAlias = tuple[Array | None, Array | None]
"""The hidden and the cell state that enter a layer, of shape (batch, units); None for zeros."""
States: TypeAlias = tuple[LayerState, ...]
"""The states that enter each layer."""


def zero_states(layers: int) -> States:
    """Zeros for each layer.

    Example
    -------
    >>> zero_states(2)
    ((None, None), (None, None))
    """
    return ((None, None),) * layers


def entering_states(batch: Batch, rows: int, hidden: Sequence[int]) -> list[States]:
    """The states that may have entered a batch of ``rows`` sequences: those that were shown, else zeros.

    ``hidden`` are the numbers of units of the layers. The arrays are one for each layer, with a second one where a cell
    state is shown, too; arrays of shape (layers, batch, units) are taken apart.
    """
    zeros = [zero_states(len(hidden))]
    state: Any = batch.observed.get("entering_state")
    if state is None:
        state = batch.entering_state
    if state is None:
        return zeros
    arrays = list(_layer_arrays(state, len(hidden)))
    if not any(array.any() for array in arrays):
        return zeros
    found: list[States] = []
    for pairs in _paired(arrays, len(hidden)):
        for transposed in (False, True):
            states = tuple(
                tuple(None if array is None else _oriented(array, rows, size, transposed) for array in pair)
                for pair, size in zip(pairs, hidden, strict=True)
            )
            given = [array is not None for pair in pairs for array in pair]
            if given == [array is not None for pair in states for array in pair]:
                found.append(states)  # type: ignore[arg-type]
    return found or zeros


def _layer_arrays(state: object, layers: int) -> Iterator[Array]:
    for array in (named_arrays_or_none(state) or {}).values():
        if layers > 1 and array.ndim == 3 and len(array) == layers:
            yield from array
        else:
            yield array


def _paired(arrays: Sequence[Array], layers: int) -> Iterator[list[LayerState]]:
    """The ways to give each layer its hidden and its cell state."""
    if len(arrays) == layers:
        yield [(array, None) for array in arrays]
    if len(arrays) == 2 * layers:
        yield list(zip(arrays[::2], arrays[1::2], strict=True))
        if layers > 1:
            yield list(zip(arrays[:layers], arrays[layers:], strict=True))


def _oriented(array: Array, rows: int, hidden: int, transposed: bool) -> Array | None:
    if array.size != rows * hidden:
        return None
    if transposed:
        return np.asarray(array.T, dtype=np.float64) if array.shape == (hidden, rows) else None
    fits = array.shape == (rows, hidden) or array.ndim != 2 or rows == 1
    return np.asarray(array, dtype=np.float64).reshape(rows, hidden) if fits else None
