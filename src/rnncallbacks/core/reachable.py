"""Finds the mutable objects that a function can reach, copies them, and restores them.

A training script's loss function often has side effects: it fills gradient buffers, caches activations in a
model, counts its calls, or draws random numbers. :class:`Reachable` undoes that.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import FunctionType
from typing import Any

import attrs
import numpy as np

from rnncallbacks.core.object_copies import ArrayCopy, ObjectCopy
from rnncallbacks.core.object_graph import ATOM_TYPES, Variables, copies_of, objects_behind
from rnncallbacks.core.position_copies import GeneratorCopy, counter_like


@attrs.frozen(kw_only=True)
class ReachableLimits:
    """Limits of the search."""

    objects: int = 50_000
    """Objects that are visited at most. A model of some hundred layers has about 5,000. Chosen by eye."""
    array_bytes: int = 2**28
    """Bytes of arrays that are copied at most: 256 MiB. Chosen by eye."""


REACHABLE_LIMITS = ReachableLimits()


class Reachable:
    """The mutable objects that are reachable from some roots, with a copy of each.

    The search follows attributes, containers, bound methods, ``functools.partial``, the variables that a function
    closes over, and the global variables that its code names. Of installed packages it follows objects and not
    functions. The global generators of ``random`` and ``numpy.random`` are always copied.

    Attributes
    ----------
    complete:
        False if there are more objects or larger arrays than the limits permit.

    Example
    -------
    >>> buffers = {"dW": np.zeros(2)}
    >>> def loss():
    ...     buffers["dW"] += 1.0
    ...     buffers["calls"] = buffers.get("calls", 0) + 1
    ...     return 0.5
    >>> reachable = Reachable()
    >>> reachable.take([buffers])
    >>> loss(), reachable.restore(), buffers
    (0.5, [], {'dW': array([0., 0.])})
    """

    def __init__(self, limits: ReachableLimits = REACHABLE_LIMITS) -> None:
        self.limits = limits
        self.complete = True
        self._visited: dict[int, object] = {}  # the objects themselves, so that no identity is used twice
        self._bytes = 0
        self._counters: list[itertools.count[Any]] = []
        self._copies: list[ObjectCopy] = [GeneratorCopy(None), GeneratorCopy(_generator_of_random())]

    def take(self, roots: Iterable[object]) -> None:
        """Copy everything that is reachable from the roots.

        Objects that are known are copied again, and searched again only if they hold other members than before.
        """
        waiting: deque[object] = deque()
        for copy in self._copies:
            if copy.take() and (copy.holds_members or isinstance(copy, ArrayCopy)):
                waiting.extend(objects_behind(copy.of))
        waiting.extend(roots)
        self._search(waiting)

    def rewind(self) -> None:
        """Set random number generators to their state at the first call, and lend counters, until :meth:`restore`.

        An ``itertools.count`` cannot be set back: another one takes its place wherever it is held.
        """
        stand_ins = {id(one): counter_like(one) for one in self._counters}
        stand_ins = {identity: one for identity, one in stand_ins.items() if one is not None}
        for copy in self._copies:
            if isinstance(copy, GeneratorCopy):
                copy.rewind()
            elif stand_ins:
                with suppress(Exception):  # a holder that refuses: the change is found afterwards
                    copy.lend(stand_ins)

    def restore(self) -> list[str]:
        """Restore every object from its copy; return descriptions of those that could not be restored."""
        try:
            return self._put_back()
        except BaseException:  # a second Ctrl-C may come between two objects
            self._put_back()
            raise

    def _put_back(self) -> list[str]:
        lost = []
        for copy in self._copies:
            try:
                if copy.changed:
                    copy.write()
                    if copy.changed:
                        lost.append(self._describe(copy.of))
            except Exception as error:
                lost.append(f"{self._describe(copy.of)} ({type(error).__name__}: {error})")
        return lost

    def _search(self, waiting: deque[object]) -> None:
        visited = self._visited
        while waiting:
            one = waiting.popleft()
            if type(one) in ATOM_TYPES or id(one) in visited:
                continue
            if len(visited) >= self.limits.objects:
                self.complete = False
                return
            visited[id(one)] = one
            if isinstance(one, itertools.count):
                self._counters.append(one)
            for copy in copies_of(one):
                if isinstance(copy, ArrayCopy) and not self._has_room_for(copy.of):
                    continue
                copy.take()
                self._copies.append(copy)
            waiting.extend(objects_behind(one))

    def _has_room_for(self, array: Any) -> bool:
        """Whether an array has to be copied, and is within the limit."""
        if isinstance(array.base, np.ndarray) and id(array.base) in self._visited:
            return False  # it shares the memory of one that was copied
        self._bytes += array.nbytes
        self.complete = self.complete and self._bytes <= self.limits.array_bytes
        return self.complete

    def _describe(self, target: object) -> str:
        """An object in words, with the name under which another object holds it."""
        if isinstance(target, Variables):
            return "a global variable"
        kind = f"the {type(target).__name__} object"
        for one in self._visited.values():
            if isinstance(one, FunctionType):
                cells = zip(one.__code__.co_freevars, one.__closure__ or (), strict=True)
                names: Iterable[Any] = (name for name, cell in cells if cell is target or _content(cell) is target)
            elif isinstance(one, dict):
                names = (key for key, value in one.items() if value is target)
            elif isinstance(one, Variables):
                names = (name for name in one.names if one.of.get(name) is target)
            else:
                continue
            for name in names:
                return f"{kind} {name!r}"
        return kind


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _generator_of_random() -> Any:
    """The hidden generator behind ``random.random`` and the other functions of that module."""
    return getattr(random.getstate, "__self__", None)
