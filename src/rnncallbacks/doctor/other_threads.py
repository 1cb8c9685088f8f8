"""Threads of a script that a fork of its process would not have."""

from __future__ import annotations

import threading

IDLE_THREADS = ("TMonitor",)
"""Classes of threads that change nothing that a script computes: the monitor of ``tqdm`` refreshes a line."""


def other_threads() -> list[threading.Thread]:
    """The running threads besides the main one, without those that only refresh an output.

    >>> other_threads()
    []
    """
    main = threading.main_thread()
    return [one for one in threading.enumerate() if one is not main and type(one).__name__ not in IDLE_THREADS]
