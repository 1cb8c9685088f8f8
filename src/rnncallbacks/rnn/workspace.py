"""Work arrays that are allocated once and used again in every step of a training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays import FloatArray

# Bytes. The widest registers load twice as fast from addresses that are multiples of their size.
_ALIGNMENT = 64

# Views are kept for as many (name, shape) pairs as this; a dataset in length buckets has a few dozen.
_MAX_VIEWS = 512


class Workspace:
    """Arrays by name and shape, uninitialised, whose contents last until the name is asked for again.

    All shapes of one name share one piece of memory, as large as the largest of them: a dataset with batches of many
    lengths needs no more memory than its longest batch.

    Example
    -------
    >>> work = Workspace("float32")
    >>> work.array("hidden", (4, 2, 3)) is work.array("hidden", (4, 2, 3))
    True
    >>> np.shares_memory(work.array("hidden", (4, 2, 3)), work.array("hidden", (2, 2, 3)))
    True
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._memory: dict[str, FloatArray] = {}
        self._arrays: dict[tuple[str, tuple[int, ...]], FloatArray] = {}
        self._steps: dict[tuple[str, tuple[int, ...]], list[FloatArray]] = {}
        self._parts: dict[str, Workspace] = {}

    def part(self, name: str) -> Workspace:
        """A workspace within this one, with names of its own."""
        if name not in self._parts:
            self._parts[name] = Workspace(self.dtype)
        return self._parts[name]

    def array(self, name: str, shape: tuple[int, ...], *, fill: float | None = None) -> FloatArray:
        """The array; ``fill`` is what freshly allocated memory holds, not what is in an array used before."""
        found = self._arrays.get((name, shape))
        return self._make(name, shape, fill) if found is None else found

    def steps(self, name: str, shape: tuple[int, ...]) -> list[FloatArray]:
        """The array cut along its first axis: making such views anew would cost as much as the arithmetic on them."""
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
            self._forget(name)
            memory = _aligned(size, self.dtype)
            if fill is not None:
                memory.fill(fill)
            self._memory[name] = memory
        view = self._arrays[name, shape] = self._memory[name][:size].reshape(shape)
        return view

    def _forget(self, name: str) -> None:
        for views in (self._arrays, self._steps):
            for key in [key for key in views if key[0] == name]:
                del views[key]


def _aligned(size: int, dtype: np.dtype[Any]) -> FloatArray:
    memory = np.empty(size * dtype.itemsize + _ALIGNMENT, dtype=np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return memory[begin : begin + size * dtype.itemsize].view(dtype)
