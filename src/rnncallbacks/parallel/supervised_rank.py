"""Runs a program as one rank: ``mpiexec -n 4 python -m rnncallbacks.parallel.supervised_rank train.py``.

A launcher kills all ranks as soon as a signal has ended one of them. This program runs the rank as its child. If the
child is killed, the launcher sees a process that ends with an exit code, and the other ranks have time to report which
rank was killed and to write their files.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
"""The operation of ``prctl`` that has the system send a signal when the parent ends; Linux only."""
LINUX = sys.platform == "linux"
FORWARDED = (signal.SIGINT, signal.SIGTERM)
ANSWER_SECONDS = 0.5
"""Seconds for which the connection to the launcher stays open after the rank was killed. Chosen by eye."""


def run_as_rank(arguments: Sequence[str]) -> None:
    """Run a script, or a module after ``-m``, in a child of this process, and exit with its exit code."""
    child = os.fork()
    if not child:
        _end_with_parent()
        _run(arguments)
        return

    def forward(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in FORWARDED:
        # Elsewhere, the child is in the group of this process, and gets the launcher's signals by itself.
        signal.signal(number, forward if LINUX else signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # mpiexec reports the end of another rank
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        # MPICH's launcher ends all ranks without a message if it cannot send its answer to a request of the killed one.
        time.sleep(ANSWER_SECONDS)
    os._exit(status if status >= 0 else 128 - status)


def _end_with_parent() -> None:
    if LINUX:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(arguments: Sequence[str]) -> None:
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    run_as_rank(sys.argv[1:])
