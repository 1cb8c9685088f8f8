"""A frozen copy of a script's process, which forks a replay for each request."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection

from rnncallbacks.doctor.watch_messages import ReplayRequest

REPLAY_FAILED = 3
"""Exit status of a replay that ended without an answer."""


def next_replay(channel: Connection, fork: Callable[[], int]) -> ReplayRequest:
    """Fork a process for each request until the channel closes; return the request in that process."""
    gc.disable()
    while True:
        try:
            request: ReplayRequest | None = channel.recv()
        except (EOFError, OSError):
            os._exit(0)
        if request is None:
            channel.send(("released", None))  # from now on another copy may use the channel
            os._exit(0)
        replay = fork()
        if replay == 0:
            return request
        _, status = os.waitpid(replay, 0)
        channel.send(("done", status))


def end_after(seconds: float) -> None:
    """Let the system end this process after some seconds."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def print_nothing() -> None:
    """Drop what this process prints: a replay repeats what the script prints."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
