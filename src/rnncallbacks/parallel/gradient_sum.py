"""The sum of the gradients of all ranks, in one message with a few numbers of each rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.parallel.communicator import Communicator

PIECES = 4
"""Pieces of 16 bits in which a number of 64 bits is sent: float32 represents each piece exactly."""


class GradientSum:
    """Adds up the gradients of all ranks.

    The gradients of each dtype are one buffer. The first buffer ends with a slot for each rank. A rank writes the bits
    of its numbers into its own slot as integers from 0 to 65,535, and zeros into the others. The sum over the ranks
    therefore holds the numbers of each rank exactly, whatever the dtype of the gradients.

    Parameters
    ----------
    communicator:
        The ranks.
    numbers:
        How many numbers of 64 bits each rank sends.
    """

    def __init__(self, communicator: Communicator, numbers: int) -> None:
        self._ranks = communicator
        self._slots_shape = (communicator.ranks, PIECES * numbers)
        self._layout: list[tuple[tuple[int, ...], np.dtype[np.generic]]] = []
        self._described = ""
        self._buffers: list[Array] = []
        self._views: list[Array] = []
        self._slots: Array = np.empty(0)

    @property
    def has_layout(self) -> bool:
        """Whether the shapes of the gradients are known, so that this rank can take part without gradients."""
        return bool(self._buffers)

    def fits(self, arrays: Sequence[Array]) -> bool:
        """Whether the arrays have the shapes and dtypes of those before."""
        return [(array.shape, array.dtype) for array in arrays] == self._layout

    def describe(self, arrays: Sequence[Array]) -> str:
        """The number of gradients and their dtypes, in words."""
        if self._described and self.fits(arrays):
            return self._described
        dtypes = ", ".join(sorted({str(array.dtype) for array in arrays}))
        return f"{sum(array.size for array in arrays):,} gradients in {dtypes}"

    def take_layout(self, arrays: Sequence[Array]) -> None:
        """Make buffers for arrays of these shapes and dtypes."""
        if self.fits(arrays):
            return
        self._described = self.describe(arrays)
        self._layout = [(array.shape, array.dtype) for array in arrays]
        slots = self._slots_shape[0] * self._slots_shape[1]
        sizes: dict[np.dtype[np.generic], int] = {}
        for array in arrays:
            kind = _summed_dtype(array)
            sizes[kind] = sizes.get(kind, 0) + array.size
        buffers = {
            kind: np.zeros(size + (0 if number else slots), kind) for number, (kind, size) in enumerate(sizes.items())
        }
        filled = dict.fromkeys(sizes, 0)
        self._views = []
        for array in arrays:
            kind = _summed_dtype(array)
            begin = filled[kind]
            filled[kind] += array.size
            self._views.append(buffers[kind][begin : begin + array.size].reshape(array.shape))
        self._buffers = list(buffers.values())
        self._slots = self._buffers[0][-slots:].reshape(self._slots_shape)

    def exchange(self, arrays: Sequence[Array] | None, factor: float, numbers: Array) -> Array:
        """Add up the gradients, and return the numbers of all ranks, (ranks, numbers). All ranks must call it.

        Parameters
        ----------
        arrays:
            The gradients, which are not changed; or None for zeros, also with a factor of 0.
        factor:
            The factor by which they are multiplied before the sum.
        numbers:
            The numbers of this rank, in float64.
        """
        if arrays is None or factor == 0.0:
            for buffer in self._buffers:
                buffer.fill(0.0)
        else:
            for array, view in zip(arrays, self._views, strict=True):
                np.multiply(array, factor, out=view, dtype=view.dtype, casting="same_kind")
            self._slots.fill(0.0)
        self._slots[self._ranks.rank] = numbers.view(np.uint16)
        self._ranks.sum(*self._buffers)
        return self._slots.astype(np.uint16).view(np.float64)

    def write(self, arrays: Sequence[Array], factor: float) -> None:
        """Replace the gradients by their sum over all ranks times a factor."""
        for array, view in zip(arrays, self._views, strict=True):
            np.multiply(view, factor, out=array, dtype=view.dtype, casting="same_kind")


def _summed_dtype(array: Array) -> np.dtype[np.generic]:
    """The dtype of the sum: MPI has no half precision."""
    return array.dtype if array.itemsize >= 4 else np.dtype(np.float32)
