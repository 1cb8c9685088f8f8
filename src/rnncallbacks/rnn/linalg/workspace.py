"""Work arrays that are allocated once and reused in every training step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays.containers import FloatArray

# Bytes. The widest registers load twice as fast from addresses that are multiples of their size.
_ALIGNMENT = 64

# Views kept per workspace. A dataset in length buckets has a few dozen (name, shape) pairs; chosen by eye.
_MAX_VIEWS = 512


class _NamedArrays:
    """Uninitialized arrays by name and shape."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._memory: dict[str, FloatArray] = {}
        self._arrays: dict[tuple[str, tuple[int, ...]], FloatArray] = {}
        self._steps: dict[tuple[str, tuple[int, ...]], list[FloatArray]] = {}

    def array(self, name: str, shape: tuple[int, ...], *, fill: float | None = None) -> FloatArray:
        """The array of this name and shape. ``fill`` is written to newly allocated memory only."""
        found = self._arrays.get((name, shape))
        return self._make(name, shape, fill) if found is None else found

    def steps(self, name: str, shape: tuple[int, ...]) -> list[FloatArray]:
        """Views of the array along its first axis, kept because making them costs as much as a small operation."""
        found = self._steps.get((name, shape))
        if found is None:
            found = self._steps[name, shape] = list(self.array(name, shape))
        return found

    def _make(self, name: str, shape: tuple[int, ...], fill: float | None) -> FloatArray:
        size = math.prod(shape)
        if len(self._arrays) >= _MAX_VIEWS:
            self._arrays.clear()
            self._steps.clear()
        if name not in self._memory or self._memory[name].size < size:
            # Released first, so that the smaller and the larger memory never exist at the same time.
            self._forget(name)
            memory = _aligned(size, self.dtype)
            if fill is not None:
                memory.fill(fill)
            self._memory[name] = memory
        view = self._arrays[name, shape] = self._memory[name][:size].reshape(shape)
        return view

    def _forget(self, name: str) -> None:
        self._memory.pop(name, None)
        for views in (self._arrays, self._steps):
            for key in [key for key in views if key[0] == name]:
                del views[key]


class Workspace(_NamedArrays):
    """Uninitialized arrays by name and shape. Their contents last until the same name is requested again.

    All shapes of a name share one block of memory, which is as large as the largest of them. A dataset with batches of
    different lengths therefore needs no more memory than its longest batch.

    Parameters
    ----------
    dtype:
        Of all arrays.

    Example
    -------
    >>> work = Workspace("float32")
    >>> work.array("hidden", (4, 2, 3)) is work.array("hidden", (4, 2, 3))
    True
    >>> np.shares_memory(work.array("hidden", (4, 2, 3)), work.array("hidden", (2, 2, 3)))
    True
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        super().__init__(dtype)
        self._parts: dict[str, Workspace] = {}
        self._scratch = _NamedArrays(dtype)

    def part(self, name: str) -> Workspace:
        """A workspace within this one, with its own names and the same scratch memory."""
        part = self._parts.get(name)
        if part is None:
            part = self._parts[name] = Workspace(self.dtype)
            part._scratch = self._scratch
        return part

    def scratch(self, shape: tuple[int, ...]) -> FloatArray:
        """An array in the memory that a workspace shares with all of its parts.

        Its contents last until the next call. It serves for copies of matrices, rows in another order, and summands
        that are used at once, so that a network of several layers needs the largest of them only.
        """
        return self._scratch.array("scratch", shape)


def _aligned(size: int, dtype: np.dtype[Any]) -> FloatArray:
    memory = np.empty(size * dtype.itemsize + _ALIGNMENT, dtype=np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return memory[begin : begin + size * dtype.itemsize].view(dtype)
