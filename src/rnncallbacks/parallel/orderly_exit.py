"""How the processes of a run end: together, after a failure too, and with one message."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from functools import cache
from types import TracebackType

from rnncallbacks.errors import RankError
from rnncallbacks.parallel.communicator import Communicator, connect

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
FIRST_RANK_SECONDS = 4.0
"""Seconds that rank 0 waits after a failure until the others have written their messages."""
OTHER_RANKS_SECONDS = 8.0
"""Seconds that the other ranks wait until rank 0 has written its files and ends all of them."""
SAME_ERROR_SECONDS = 0.5
"""Seconds that a rank waits for the message of another one that may fail with the same error. Chosen by eye."""


class OrderlyExit:
    """Ends the processes of all ranks when one of them fails, once each has written what it has to write.

    Rank 0 writes the files of the run, and ends last but for the launcher: a launcher kills all processes as soon as
    one has ended with an error.

    Parameters
    ----------
    communicator:
        The ranks.
    """

    def __init__(self, communicator: Communicator) -> None:
        self._communicator = communicator
        self._error: BaseException | None = None
        self._told = ""
        self._show_error = sys.excepthook
        sys.excepthook = self._on_unhandled_error
        atexit.register(self._leave)
        # mpiexec -disable-auto-cleanup reports the end of a rank by this signal, which would end the others at once.
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def fail(self, error: BaseException) -> None:
        """Tell the other ranks that this one fails, and why; a note on the error names the rank."""
        if self._error is not None:
            return
        self._error = error
        if not isinstance(error, RankError):
            error.add_note(f"on rank {self._communicator.rank} of {self._communicator.ranks}")
        self._told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if not (
            isinstance(error, RankError) and error.is_told
        ):  # else the one that tells it must not hear it from here
            self._communicator.tell("exited" if isinstance(error, SystemExit) else "failed", self._told)

    def _on_unhandled_error(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.fail(error)
        if not self.is_told(error):
            self._show_error(kind, error, trace)

    def is_told(self, error: BaseException) -> bool:
        """Whether another rank reports an error: one that failed before, or failed with the same error."""
        if isinstance(error, RankError):
            return error.is_told
        communicator = self._communicator
        patience = time.monotonic() + SAME_ERROR_SECONDS
        while communicator.rank and time.monotonic() < patience:
            failures = communicator.failures()
            if any(rank < communicator.rank and text == self._told for rank, text in failures.items()):
                return True
            time.sleep(0.01)
        return False

    def _leave(self) -> None:
        communicator = self._communicator
        try:
            if self._error is None:
                communicator.tell("left")
                communicator.wait_for_all()
                communicator.finalize()
                return
        except BaseException as error:
            self._error = error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end has begun, and takes some seconds at most
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        communicator.tell("done")
        first = communicator.rank == 0
        patience = time.monotonic() + (FIRST_RANK_SECONDS if first else OTHER_RANKS_SECONDS)
        while not (communicator.are_done() if first else not communicator.exists(0)):
            if time.monotonic() > patience:
                communicator.abort(1)
            time.sleep(0.01)
        os._exit(
            INTERRUPTED if isinstance(self._error, KeyboardInterrupt) else 1
        )  # Python would exit with 0 or a signal


@cache
def orderly_exit() -> OrderlyExit | None:
    """How this process ends, or None if it is the only one."""
    communicator = connect()
    return None if communicator is None else OrderlyExit(communicator)
