"""Finds one-hot vectors in an array and replaces them by token numbers."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays.containers import Array

BLANK_TOKEN = -1
"""The token number of a vector of zeros, which is padding."""


def decode_one_hot(array: Array, preferred_axis: int | None = None) -> tuple[Array, int | None]:
    """Token numbers in place of one-hot vectors, and the axis of the vectors.

    Any axis may be the one-hot axis. If several fit, the preferred axis is used, else the longest one. Up to half
    of the vectors of an array of three axes may be zero; their token number is -1.

    Parameters
    ----------
    array:
        Of any shape: floats of at least two axes, or integers of at least three.
    preferred_axis:
        The axis to take where axes of the same length fit.

    Returns
    -------
    tuple
        Token numbers, with one axis less, and the one-hot axis; or the array itself and None.

    Example
    -------
    >>> tokens, axis = decode_one_hot(np.eye(4)[[2, 0, 3]])
    >>> tokens.tolist(), axis
    ([2, 0, 3], 1)
    """
    if array.ndim < (2 if array.dtype.kind == "f" else 3) or not array.size:
        return array, None
    # In the order of memory, the search for nonzero entries is one pass.
    memory_order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    in_memory_order = array.transpose(memory_order)
    nonzero = in_memory_order != 0
    ones = int(np.count_nonzero(nonzero))
    axes = _candidate_axes(array, ones, preferred_axis)
    if not axes:
        return array, None
    positions = np.unravel_index(np.flatnonzero(nonzero), nonzero.shape)
    if not (in_memory_order[positions] == 1).all():
        return array, None
    position_on_axis = {axis: positions[place] for place, axis in enumerate(memory_order)}
    for axis in axes:
        rest = [other for other in range(array.ndim) if other != axis]
        tokens = np.full([array.shape[other] for other in rest], BLANK_TOKEN, dtype=np.intp)
        tokens[tuple(position_on_axis[other] for other in rest)] = position_on_axis[axis]
        # If the number of nonzero vectors is the number of ones, each of them has exactly one.
        if np.count_nonzero(tokens >= 0) == ones:
            return tokens, axis
    return array, None


def _candidate_axes(array: Array, ones: int, preferred_axis: int | None) -> list[int]:
    """The axes whose length agrees with the number of ones, the longest first: it has the fewest blank vectors."""
    axes = [1, array.ndim - 1, 0] if array.ndim <= 3 else [array.ndim - 1]
    if preferred_axis is not None:
        axes.insert(0, preferred_axis)
    fitting = [axis for axis in axes if array.shape[axis] > 1 and _fits(array, axis, ones)]
    return sorted(fitting, key=lambda axis: -array.shape[axis])


def _fits(array: Array, axis: int, ones: int) -> bool:
    vectors = array.size // array.shape[axis]
    return ones == vectors or (array.ndim == 3 and vectors <= 2 * ones <= 2 * vectors)
