"""Threads of a script: those that a fork of its process would lack, and the loops that each runs."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from types import FrameType

from rnncallbacks.doctor.instrument import Site

IDLE_THREADS = ("TMonitor",)
"""Classes of threads without effect on the script's computation, such as the monitor of ``tqdm``."""
EPOCHS = re.compile(r"epoch|\bfor ep in\b", re.IGNORECASE)
"""Loops of epochs, by their first line."""
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
    """The loops that each thread runs at present, one inside the other.

    A loop of a generator, such as one that yields batches, encloses only the loops of its own frame.

    Attributes
    ----------
    epoch:
        The pass of the loop of epochs around the training loop, from 1; without one, how often that loop began.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._epochs: Site | None = None
        self._open: defaultdict[tuple[int, int], list[Site]] = defaultdict(list)

    def begin(self, site: Site, frame: FrameType) -> None:
        """A loop of this thread begins."""
        self._open[threading.get_ident(), id(frame) if site.generator else ANY_FRAME].append(site)

    def end(self, site: Site, frame: FrameType) -> None:
        """A loop of this thread has ended."""
        self._open[threading.get_ident(), id(frame) if site.generator else ANY_FRAME].pop()

    def around(self, loop: Site, frame: FrameType) -> list[Site]:
        """The loops around a loop that this frame runs, the outermost first."""
        found = [site for one in (ANY_FRAME, id(frame)) for site in self._open[threading.get_ident(), one]]
        return [site for site in found if site is not loop]

    def begin_training(self, loop: Site, frame: FrameType) -> None:
        """The training loop begins. The outermost loop around it that is written as one of epochs counts them: one that
        goes through sequences may be inside it.
        """
        if self._epochs is None:
            self.epoch += 1
            self._epochs = next((site for site in self.around(loop, frame) if EPOCHS.search(site.source)), None)

    def tick(self, loop: Site) -> None:
        """A pass of a loop begins while the training loop does not run."""
        self.epoch += loop is self._epochs
