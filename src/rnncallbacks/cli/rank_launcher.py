"""Starts a command on several processes, and defines the behavior of a command on one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from types import FrameType

from rnncallbacks.errors import RankError
from rnncallbacks.parallel.communicator import Communicator
from rnncallbacks.parallel.mpi_library import INSTALL_HINT, command_on_ranks

ENDING = (signal.SIGINT, signal.SIGTERM)
"""Signals at which the ranks end cleanly. They get SIGINT for both, because the launcher kills them at a SIGTERM."""


def run_on_ranks(ranks: int, arguments: Sequence[str]) -> int:
    """Run ``rnncallbacks`` with these arguments on several processes of this machine, and return the exit code.

    Raises
    ------
    RankError
        mpi4py or mpiexec is not installed.
    """
    if find_spec("mpi4py") is None:
        raise RankError("--ranks: mpi4py is not installed", hint=INSTALL_HINT)
    command = command_on_ranks(ranks, ["-m", "rnncallbacks", *arguments])
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    # In its own session, the launcher gets Ctrl-C once.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, forward) for number in ENDING}
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def silence_other_ranks(communicator: Communicator | None) -> None:
    """Drop what a rank writes to the standard output, unless it is rank 0."""
    if communicator is not None and communicator.rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (until the process ends)
