"""Threads of a script, which a fork of its process would lack."""

from __future__ import annotations

import threading

IDLE_THREADS = ("TMonitor",)
"""Classes of threads without effect on the script's computation, such as the monitor of ``tqdm``."""


def other_threads() -> list[threading.Thread]:
    """The running threads besides the main one, without those that only refresh an output.

    >>> other_threads()
    []
    """
    main = threading.main_thread()
    return [one for one in threading.enumerate() if one is not main and type(one).__name__ not in IDLE_THREADS]
