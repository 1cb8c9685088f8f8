"""The names that are visible in a running script: those of its frames and of its modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import attrs

from rnncallbacks.doctor.value_walk import Key, walk

MAIN = "__main__"


@attrs.define
class OwnModules:
    """The modules of the user that were instrumented, by name, and their files."""

    names: set[str] = attrs.field(factory=set)

    def add(self, name: str) -> None:
        """Add a module before it is run."""
        self.names.add(name)

    def scopes(self, frame: FrameType | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The local names of a frame and of its callers, then the global names of every module of the user."""
        while frame is not None:
            if frame.f_globals.get("__name__") in self.names and frame.f_locals is not frame.f_globals:
                yield frame.f_code.co_qualname, dict(frame.f_locals)
            frame = frame.f_back
        for name in sorted(self.names):
            module = sys.modules.get(name)
            if module is not None:
                yield name, vars(module)

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
