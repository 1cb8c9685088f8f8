"""Threads of a script: those that a fork of its process would lack, and the loops that each runs."""

from __future__ import annotations

import threading
from collections import Counter
from types import FrameType

from rnncallbacks.doctor.instrument import Site

IDLE_THREADS = ("TMonitor",)
"""Classes of threads without effect on the script's computation, such as the monitor of ``tqdm``."""
ANY_FRAME = 0
"""In place of the identity of a frame: the loop encloses those of all frames."""


def other_threads() -> list[threading.Thread]:
    """The running threads besides the main one, without those that only refresh an output.

    >>> other_threads()
    []
    """
    main = threading.main_thread()
    return [one for one in threading.enumerate() if one is not main and type(one).__name__ not in IDLE_THREADS]


class OpenLoops:
    """The number of loops that each thread runs at present, one inside the other.

    A loop of a generator, such as one that yields batches, encloses only the loops of its own frame.
    """

    def __init__(self) -> None:
        self._count: Counter[tuple[int, int]] = Counter()

    def begin(self, site: Site, frame: FrameType) -> None:
        """A loop of this thread begins."""
        self._count[threading.get_ident(), id(frame) if site.generator else ANY_FRAME] += 1

    def end(self, site: Site, frame: FrameType) -> None:
        """A loop of this thread has ended."""
        self._count[threading.get_ident(), id(frame) if site.generator else ANY_FRAME] -= 1

    def are_nested(self, frame: FrameType) -> bool:
        """Whether the loop that this frame runs is inside another one."""
        return sum(self._count[threading.get_ident(), one] for one in (id(frame), ANY_FRAME)) > 1
