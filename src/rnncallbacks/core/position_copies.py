"""Copies of objects that advance when they are used (generators, iterators, files), and of binary buffers."""

from __future__ import annotations

import random
from ast import literal_eval
from io import IOBase
from itertools import count, cycle
from operator import length_hint
from types import FrameType, GeneratorType
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from rnncallbacks.core.object_copies import CannotRestoreError, ObjectCopy

_ITERATORS_WITH_POSITION: Any = tuple(map(type, map(iter, ([], (), range(0), "", b"", bytearray()))))
"""Iterators of Python that can be set to a position; ``itertools`` and generators cannot."""


class GeneratorCopy(ObjectCopy):
    """The state of a random number generator, of NumPy or of ``random``. Without an object, NumPy's global one."""

    _first: Any = None

    def rewind(self) -> None:
        """Set the generator to its state at the first call, so that each call draws the same numbers."""
        if self._first is None:
            self._first = self.content
        elif not self._equal(self._first, self.content):
            self._set(self._first[1])

    def read(self) -> Any:
        one = self.of
        if isinstance(one, random.Random):
            state: Any = one.getstate()
        elif one is None or isinstance(one, np.random.RandomState):
            state = (np.random if one is None else one).get_state(legacy=False)
        elif isinstance(one, np.random.SeedSequence):
            state = None  # it has no other state than the number that were spawned
        else:
            state = _bits_of(one).state
        return (_comparable(state), _spawned(one)), state

    def write(self) -> None:
        self._set(self.content[1])
        seeds, (_, spawned) = _seeds_of(self.of), self.content[0]
        if seeds is not None and seeds.n_children_spawned != spawned:
            # The number cannot be assigned, but a pickled sequence is given it.
            state = list(seeds.__reduce__()[2])
            state[state.index(seeds.n_children_spawned, 1)] = spawned
            seeds.__setstate_cython__(tuple(state))

    def _set(self, state: Any) -> None:
        one = self.of
        if isinstance(one, random.Random):
            one.setstate(state)
        elif one is None or isinstance(one, np.random.RandomState):
            (np.random if one is None else one).set_state(state)
        elif not isinstance(one, np.random.SeedSequence):
            _bits_of(one).state = state

    def _equal(self, one: Any, other: Any) -> bool:
        return one is not None and bool(one[0] == other[0])


class PositionCopy(ObjectCopy):
    """The position of a generator, an iterator or an open file. Only files opened for reading can be restored."""

    def read(self) -> Any:
        one = self.of
        try:
            if isinstance(one, IOBase):
                return one.tell()
            if isinstance(one, GeneratorType):
                frame: FrameType | None = one.gi_frame
                return None if frame is None else (frame.f_lasti, tuple(map(id, frame.f_locals.values())))
            if isinstance(one, _ITERATORS_WITH_POSITION):
                # Since Python 3.12, the position of a range iterator is not among what it is made from again.
                return one.__reduce__()[2:], length_hint(one, -1)
            if isinstance(one, cycle):
                with catch_warnings():  # Python 3.12 and 3.13 say that iterators of itertools will not be pickled
                    simplefilter("ignore", DeprecationWarning)
                    state: Any = one.__reduce__()
                return len(state[2][0]), length_hint(state[1][0], -1)
            return length_hint(one, -1), repr(one)
        except (OSError, ValueError, TypeError):  # a file that is closed, or has no position
            return None

    def write(self) -> None:
        if isinstance(self.of, IOBase) and not self.of.writable():
            self.of.seek(self.content)
        elif isinstance(self.of, _ITERATORS_WITH_POSITION) and self.content and self.content[0]:
            self.of.__setstate__(*self.content[0])
        if self.read() != self.content:
            raise CannotRestoreError("it has moved on")


def _bits_of(generator: Any) -> Any:
    return generator.bit_generator if isinstance(generator, np.random.Generator) else generator


def _seeds_of(generator: Any) -> Any:
    """The sequence from which a generator of NumPy spawns others; None if it has none."""
    if isinstance(generator, np.random.SeedSequence):
        return generator
    bits = _bits_of(generator)
    return getattr(bits, "seed_seq", None) if isinstance(bits, np.random.BitGenerator) else None


def _spawned(generator: Any) -> int | None:
    return getattr(_seeds_of(generator), "n_children_spawned", None)


def _comparable(state: Any) -> Any:
    """The state of a random number generator, with bytes in place of arrays."""
    if isinstance(state, dict):
        return {key: _comparable(value) for key, value in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state


class ArrayModuleCopy(ObjectCopy):
    """The entries of an ``array.array``."""

    def read(self) -> bytes:
        return bytes(self.of.tobytes())

    def write(self) -> None:
        del self.of[:]
        self.of.frombytes(self.content)


def counter_like(counter: count[Any]) -> count[Any] | None:
    """Another ``itertools.count`` at the same number, as none can be set back; None if its numbers are not Python's.

    Example
    -------
    >>> counter = count(2.5, 0.5)
    >>> next(counter), next(counter_like(counter)), next(counter)
    (2.5, 3.0, 3.0)
    """
    try:
        numbers = literal_eval(repr(counter).removeprefix("count"))
    except (ValueError, SyntaxError):
        return None
    return count(*numbers) if isinstance(numbers, tuple) else count(numbers)
