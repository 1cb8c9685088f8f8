"""Packs arrays into one buffer for each dtype, so that they are sent in one message."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnncallbacks.arrays.containers import Array


class Packing:
    """Buffers for arrays that have the same shapes and dtypes in each call.

    A contiguous array that is the only one of its dtype, such as the buffer of a network's parameters, is not copied.

    Example
    -------
    >>> packing, arrays = Packing(), [np.ones(2), np.full((2, 1), 2.0)]
    >>> for buffer in packing.packed(arrays):
    ...     buffer *= 10
    >>> packing.unpack(arrays)
    >>> arrays
    [array([10., 10.]), array([[20.],
           [20.]])]
    """

    def __init__(self) -> None:
        self._buffers: dict[np.dtype[np.generic], Array] = {}

    def packed(self, arrays: Sequence[Array]) -> list[Array]:
        """One buffer for each dtype, with the entries of the arrays."""
        groups = _by_dtype(arrays)
        buffers = []
        for dtype, group in groups.items():
            if _is_buffer(group):
                buffers.append(group[0])
                continue
            size = sum(array.size for array in group)
            buffer = self._buffers.get(dtype)
            if buffer is None or buffer.size != size:
                buffer = self._buffers[dtype] = np.empty(size, dtype)
            np.concatenate([array.reshape(-1) for array in group], out=buffer)
            buffers.append(buffer)
        return buffers

    def unpack(self, arrays: Sequence[Array]) -> None:
        """Write the buffers of the last call back into the arrays."""
        for dtype, group in _by_dtype(arrays).items():
            if _is_buffer(group):
                continue
            begin = 0
            for array in group:
                array[...] = self._buffers[dtype][begin : begin + array.size].reshape(array.shape)
                begin += array.size


def _by_dtype(arrays: Sequence[Array]) -> dict[np.dtype[np.generic], list[Array]]:
    groups: dict[np.dtype[np.generic], list[Array]] = {}
    for array in arrays:
        groups.setdefault(array.dtype, []).append(array)
    return groups


def _is_buffer(group: list[Array]) -> bool:
    return len(group) == 1 and group[0].flags.c_contiguous
