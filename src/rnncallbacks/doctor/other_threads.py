"""Threads of a script: those that a fork of its process would lack, and the loops that each runs."""

from __future__ import annotations

import threading
from collections import Counter

IDLE_THREADS = ("TMonitor",)
"""Classes of threads without effect on the script's computation, such as the monitor of ``tqdm``."""


def other_threads() -> list[threading.Thread]:
    """The running threads besides the main one, without those that only refresh an output.

    >>> other_threads()
    []
    """
    main = threading.main_thread()
    return [one for one in threading.enumerate() if one is not main and type(one).__name__ not in IDLE_THREADS]


class OpenLoops:
    """The number of loops that each thread runs at present, one inside the other."""

    def __init__(self) -> None:
        self._count: Counter[int] = Counter()

    def begin(self) -> None:
        """A loop of this thread begins."""
        self._count[threading.get_ident()] += 1

    def end(self) -> None:
        """A loop of this thread has ended."""
        self._count[threading.get_ident()] -= 1

    @property
    def are_nested(self) -> bool:
        """Whether this thread runs a loop inside another one."""
        return self._count[threading.get_ident()] > 1
