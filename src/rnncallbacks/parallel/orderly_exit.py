"""How the processes of a run end: together, also after a failure, and with one message."""

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
from rnncallbacks.parallel.death_watch import watch

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
FIRST_RANK_SECONDS = 4.0
"""Longest time that rank 0 waits after a failure for the messages of the others, in seconds. Chosen by eye."""
OTHER_RANKS_SECONDS = 8.0
"""Longest time that the other ranks wait for rank 0 to write its files and end, in seconds. Chosen by eye."""
SAME_ERROR_SECONDS = 0.5
"""Time that a rank waits for the message of another that may fail with the same error, in seconds. Chosen by eye."""


class OrderlyExit:
    """Ends the processes of all ranks when one of them fails, after they have written their files and messages.

    Rank 0 writes the files of the run and ends last. The launcher kills all processes as soon as one has ended with an
    error.

    Parameters
    ----------
    communicator:
        The ranks.
    """

    def __init__(self, communicator: Communicator) -> None:
        self._communicator = communicator
        self._error: BaseException | None = None
        self._message = ""
        self._is_displayed = self._reports = False
        self._code: int | None = None
        self._watch = watch(communicator)
        self._show_error = sys.excepthook
        sys.excepthook = self._on_unhandled_error
        atexit.register(self._leave)
        # mpiexec -disable-auto-cleanup sends this signal when a rank has ended. By default, it would end the others.
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def fail(self, error: BaseException) -> None:
        """Send the other ranks the reason why this one fails. A note on the error names the rank."""
        if self._error is not None:
            return
        self._error = error
        if not isinstance(error, RankError):
            error.add_note(f"on rank {self._communicator.rank} of {self._communicator.ranks}")
        self._message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        # The rank that reports the error must not receive it from this one.
        if not (isinstance(error, RankError) and error.is_reported):
            self._communicator.tell("exited" if isinstance(error, SystemExit) else "failed", self._message)

    def begin_run(self) -> None:
        """Recover from an error that the scripts of all ranks have caught: the ranks can train another run.

        Raises
        ------
        RankError
            Another rank has ended.
        """
        if self._error is not None:
            self._communicator.renew()
            self._error, self._message, self._code = None, "", None
            self._is_displayed = self._reports = False

    def exit_with(self, code: int) -> None:
        """Have this process end with an exit code after a failure, and the others if this one failed first."""
        self._code = code

    def _on_unhandled_error(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.fail(error)
        if not self.is_reported(error):
            self._show_error(kind, error, trace)
            self._end_watch()

    def is_reported(self, error: BaseException) -> bool:
        """Whether another rank reports an error: one that failed before, or failed with the same error.

        If not, the caller has to display it.
        """
        self._is_displayed = self._is_displayed or error is self._error
        is_reported = (isinstance(error, RankError) and error.is_reported) or self._is_reported_below()
        self._reports = self._reports or not is_reported
        return is_reported

    def _is_reported_below(self) -> bool:
        """Whether a rank of a lower number has failed with the same message."""
        communicator = self._communicator
        patience = time.monotonic() + SAME_ERROR_SECONDS
        while communicator.rank and time.monotonic() < patience:
            failures = communicator.failures()
            if any(rank < communicator.rank and text == self._message for rank, text in failures.items()):
                return True
            time.sleep(0.01)
        return False

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.end()

    def _leave(self) -> None:
        communicator = self._communicator
        try:
            if self._error is None:
                communicator.tell("left")
                communicator.wait_for_all()
                if self._watch is not None:
                    self._watch.end()
                    self._watch.wait()
                communicator.finalize()
                return
        except BaseException as error:
            self._error = error
        # Also an error that the script has caught ends the other ranks.
        cause = self._error
        if isinstance(cause, Exception) and not self._is_displayed and not self.is_reported(cause):
            self._show_error(type(cause), cause, cause.__traceback__)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end has begun, and takes some seconds at most
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        code = _exit_code(self._error) if self._code is None else self._code
        communicator.tell("done", str(code))
        first = communicator.rank == 0
        patience = time.monotonic() + (FIRST_RANK_SECONDS if first else OTHER_RANKS_SECONDS)
        while not (communicator.are_done() if first else not communicator.exists(0)):
            if time.monotonic() > patience:
                communicator.abort(code or 1)
            communicator.failures()  # receives messages, also the exit code of the rank that failed
            time.sleep(0.01)
        # Python itself would exit with 0 or by a signal.
        if self._reports or not isinstance(self._error, RankError):
            self._end_watch()
        first_code = communicator.code_of_failed() if isinstance(self._error, RankError) else None
        os._exit(code if first_code is None else first_code)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return error.code or 0
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


@cache
def orderly_exit() -> OrderlyExit | None:
    """The exit of this process, installed by the first call, or None if the process is the only one."""
    communicator = connect()
    return None if communicator is None else OrderlyExit(communicator)
