"""Reports which rank was killed, also under a launcher that then kills the others: ``mpiexec -n 4 python train.py``.

A process of its own holds a connection to each rank. The system closes the connection when the rank ends. If the other
ranks do not report it because MPICH's launcher has killed them too, this process does.

The launcher kills the ranks as soon as its own connection to one of them is closed. This may be before the connection
to the watching process is closed, so that process holds copies of the launcher's connections. The launcher then waits
for the end of a process. If a rank has not ended by a signal, the other ranks have the time to end by themselves.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the watching process imports nothing but the standard library
    from rnncallbacks.parallel.communicator import Communicator

TOLD = b"t"
HELLO_BYTES = 32
"""Size of the first message of a rank, with its number and process id."""
PATIENCE_SECONDS = 9.0
"""Longest time from the end of a rank to the end of the others, in seconds. It is above ``OTHER_RANKS_SECONDS`` of
``orderly_exit``."""
END_SECONDS = 1.0
"""Longest time that rank 0 waits for the end of the watching process, in seconds. Chosen by eye."""


class DeathWatch:
    """The connection of this rank to the watching process, which rank 0 starts.

    Parameters
    ----------
    communicator:
        The ranks, all of this machine.
    """

    def __init__(self, communicator: Communicator) -> None:
        name, self._process = "", None
        if communicator.rank == 0:
            name = f"\0rnncallbacks-{os.getpid()}-{os.urandom(8).hex()}"
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(name)
                listening.listen(communicator.ranks)
                command = [sys.executable, "-S", "-E", __file__, str(listening.fileno()), str(communicator.ranks)]
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=[listening.fileno()],
                )
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(communicator.broadcast_object(name))
        hello = f"{communicator.rank} {os.getpid()}".encode().ljust(HELLO_BYTES)
        socket.send_fds(self._connection, [hello], [int(os.environ["PMI_FD"])] if "PMI_FD" in os.environ else [])
        self._connection.settimeout(PATIENCE_SECONDS)
        with suppress(OSError):
            self._connection.recv(1)  # the watch has begun
        os.register_at_fork(after_in_child=self._connection.close)

    def end(self) -> None:
        """Say that the ranks end by themselves, or that this rank has reported why they end."""
        with suppress(OSError, subprocess.TimeoutExpired):
            self._connection.send(TOLD)

    def wait(self) -> None:
        """Wait for the end of the watching process, after all ranks have called :meth:`end`."""
        with suppress(subprocess.TimeoutExpired):
            if self._process is not None:
                self._process.wait(END_SECONDS)


def watch(communicator: Communicator) -> DeathWatch | None:
    """The watch over the ranks, or None outside Linux, and if the ranks are on several machines."""
    return DeathWatch(communicator) if sys.platform == "linux" and communicator.are_on_one_machine else None


def _watch(listening: socket.socket, count: int) -> None:
    ranks: dict[int, tuple[str, str]] = {}
    events = select.epoll()
    listening.settimeout(PATIENCE_SECONDS)
    try:
        connections = [listening.accept()[0] for _ in range(count)]
    except TimeoutError:
        return  # a rank has ended before it was connected
    for connection in connections:
        hello, *_ = socket.recv_fds(connection, HELLO_BYTES, 1)
        if not hello:
            return  # as above
        rank, process = hello.decode().split()
        ranks[connection.fileno()] = rank, process
        events.register(connection, select.EPOLLIN)
    for connection in connections:
        with suppress(OSError):
            connection.send(TOLD)
    ended: list[tuple[str, str]] = []
    told, until = 0, float("inf")
    while len(ended) < count and told < count and (left := until - time.monotonic()) > 0:
        for file, _ in events.poll(left if ended else None):
            if _says_told(file):
                told += 1
                continue
            events.unregister(file)
            ended.append(ranks[file])
            until = min(until, time.monotonic() + PATIENCE_SECONDS)
    if told:
        return
    rank, process = ended[0]
    sys.stderr.write(
        f"rnncallbacks.errors.RankError: rank {rank} of {count} does not exist any more: its process {process} was "
        "killed, or ended without a message, and the launcher ends the others\n"
        "  hint: the system kills processes when memory runs out, and the launcher when it gets a signal\n"
    )


def _says_told(file: int) -> bool:
    """Whether a rank has called ``end``; False if its connection is closed."""
    try:
        return os.read(file, 1) == TOLD
    except ConnectionResetError:  # the rank ended before it had read that the watch began
        return False


if __name__ == "__main__":
    _watch(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
