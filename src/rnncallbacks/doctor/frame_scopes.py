"""The names that are visible in a running script: those of its frames and of its modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import CellType, FrameType, FunctionType
from typing import Any

import attrs

from rnncallbacks.doctor.value_walk import Key, walk


@attrs.define
class OwnModules:
    """The modules of the user that were instrumented, by name, and their files."""

    names: set[str] = attrs.field(factory=set)

    def add(self, name: str) -> None:
        """Add a module before it is run."""
        self.names.add(name)

    def scopes(self, frame: FrameType | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The local names of a frame and of its callers, then the global names of every module of the user."""
        closures: dict[str, Mapping[str, Any]] = {}
        while frame is not None:
            if frame.f_globals.get("__name__") in self.names and frame.f_locals is not frame.f_globals:
                local = dict(frame.f_locals)
                yield frame.f_code.co_qualname, local
                self._add_closures(local, closures)
            frame = frame.f_back
        yield from closures.items()
        for name in sorted(self.names):
            module = sys.modules.get(name)
            if module is not None:
                yield name, vars(module)

    def _add_closures(self, names: Mapping[str, Any], found: dict[str, Mapping[str, Any]]) -> None:
        """Add the closure variables of the functions among some values, under the name of the enclosing function."""
        for function in names.values():
            cells = getattr(function, "__closure__", None)
            if not cells or not isinstance(function, FunctionType) or function.__module__ not in self.names:
                continue
            outer = function.__qualname__.rpartition(".<locals>.")[0]
            cells_by_name = zip(function.__code__.co_freevars, cells, strict=True)
            shared = {name: cell.cell_contents for name, cell in cells_by_name if _is_full(cell)}
            known = outer in found
            found[outer] = {**shared, **found.get(outer, {})}
            if not known:
                self._add_closures(shared, found)

    def values(self, frame: FrameType | None) -> Iterator[tuple[Key, Any]]:
        """Key and value of all that a frame reaches; the key's kind is "end"."""
        own = frozenset(self.names)
        seen: set[str] = set()
        for scope, names in self.scopes(frame):
            if scope in seen:  # recursion: the innermost call counts
                continue
            seen.add(scope)
            for name, value in walk(names, own):
                yield ("end", scope, name), value


def _is_full(cell: CellType) -> bool:
    """Whether the variable of a closure has a value."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
