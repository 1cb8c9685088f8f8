"""The ranks of a run: their sums, broadcasts and gathered values, and the message of a rank that fails.

No call blocks in MPI itself. A waiting rank tests its request, yields the processor, and looks for messages of ranks
that failed or ended. It therefore never waits for a rank that will not answer.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from functools import cache, partial
from typing import Any, Literal

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.errors import RankError
from rnncallbacks.parallel.absent_ranks import ended_without_all_ranks
from rnncallbacks.parallel.mpi_library import check_launcher, load_mpi, started_by_mpi

SPINS = 50
"""Tests of a request before a rank begins to yield the processor: about 15 microseconds. Chosen by eye."""
YIELDS = 5000
"""Tests of a request before a rank begins to sleep between them: some milliseconds. Chosen by eye."""
SLEEP = 1e-4
"""Seconds of sleep between two tests of a rank that waits for a slow one. Chosen by eye."""
LOOK_EVERY = 64
"""Tests between two looks for messages. Chosen by eye."""
LEFT_SECONDS = 2.0
"""Seconds of waiting after which a rank that has ended is not expected any more. Chosen by eye."""
LIVENESS_SECONDS = 0.5
"""Seconds of waiting between two checks that the other processes of this machine exist. Chosen by eye."""


class Communicator:
    """All ranks of MPI.COMM_WORLD.

    Parameters
    ----------
    mpi:
        The module ``mpi4py.MPI``.

    Attributes
    ----------
    rank, ranks:
        The number of this rank, from 0, and the number of ranks.
    waited:
        Seconds that this rank has waited in all calls.
    """

    def __init__(self, mpi: Any) -> None:
        self._mpi = mpi
        self._world = mpi.COMM_WORLD.Dup()
        self._messages = mpi.COMM_WORLD.Dup()
        self.rank: int = self._world.Get_rank()
        self.ranks: int = self._world.Get_size()
        self.waited = 0.0
        self._sent: list[Any] = []
        self._failures: dict[int, str] = {}
        self._silent: set[int] = set()
        self._generation = 0
        self._later: list[tuple[str, int, int, str]] = []
        self._abandoned: list[Any] = []
        self._left: set[int] = set()
        self._done: dict[int, int] = {}
        self._killed: int | None = None
        self._processes: list[tuple[str, int]] = self._world.allgather((socket.gethostname(), os.getpid()))

    def sum(self, *arrays: Array) -> None:
        """Replace arrays by their sums over all ranks, which are the same on all ranks, bit for bit."""
        self._finish(*[self._world.Iallreduce(self._mpi.IN_PLACE, array) for array in arrays])

    def gather(self, numbers: Array) -> Array:
        """The numbers of all ranks, (ranks, numbers), on each rank."""
        everything = np.empty((self.ranks, numbers.size), numbers.dtype)
        self._finish(self._world.Iallgather(numbers, everything))
        return everything

    def broadcast(self, array: Array) -> None:
        """Replace a contiguous array by that of rank 0."""
        self._finish(self._world.Ibcast(array, root=0))

    def broadcast_object(self, value: Any) -> Any:
        """The value of rank 0, which has to be picklable."""
        content = np.frombuffer(pickle.dumps(value), np.uint8).copy() if self.rank == 0 else np.empty(0, np.uint8)
        size = np.array([content.size])
        self.broadcast(size)
        if self.rank != 0:
            content = np.empty(int(size[0]), np.uint8)
        self.broadcast(content)
        return value if self.rank == 0 else pickle.loads(content.tobytes())

    def gather_objects(self, value: Any) -> list[Any]:
        """The values of all ranks in their order, on each rank."""
        content = np.frombuffer(pickle.dumps(value), np.uint8).copy()
        sizes = np.zeros(self.ranks, np.int64)
        sizes[self.rank] = content.size
        self.sum(sizes)
        everything = np.empty(int(sizes.sum()), np.uint8)
        self._finish(self._world.Iallgatherv(content, [everything, sizes.tolist()]))
        ends = np.cumsum(sizes)
        return [pickle.loads(everything[end - size : end].tobytes()) for size, end in zip(sizes, ends, strict=True)]

    def tell(self, kind: Literal["failed", "exited", "left", "done"], text: str = "") -> None:
        """Send a message to all other ranks, without waiting for them.

        "failed": this rank fails, and Python prints the error. "exited": it fails, and Python prints nothing. "left":
        its process ends without an error. "done": after a failure, it has written its files and messages, and ends with
        the exit code ``text``.
        """
        for rank in range(self.ranks):
            if rank != self.rank:
                self._sent.append(self._messages.isend((kind, self.rank, self._generation, text), dest=rank))

    def renew(self) -> None:
        """Forget the failures, so that the ranks can go on after them. All ranks must call it.

        Raises
        ------
        RankError
            Another rank has ended.
        """
        self._receive()
        self._generation += 1
        self._failures, self._silent = {}, set()
        later, self._later = self._later, []
        for message in later:
            self._take(message)
        # Some ranks may have begun a sum that the others have not: it stays open in the communicator before.
        world, request = self._mpi.COMM_WORLD.Idup()
        self._finish(request)
        self._abandoned.append(self._world)
        self._world = world

    def wait_for_all(self) -> None:
        """Wait until all ranks have called this.

        Raises
        ------
        RankError
            A rank failed.
        """
        self._finish(self._world.Ibarrier(), ends=True)

    def are_done(self) -> bool:
        """Whether each other rank has sent "done" or does not exist any more."""
        self._receive()
        return all(rank in self._done or rank == self.rank or not self.exists(rank) for rank in range(self.ranks))

    def failures(self) -> dict[int, str]:
        """The reasons of the ranks that have failed, by rank."""
        self._receive()
        return self._failures

    def code_of_failed(self) -> int | None:
        """The exit code of the first of the other ranks that has failed, or None if it is not known."""
        return next((self._done[rank] for rank in self._failures if rank in self._done), None)

    def finalize(self) -> None:
        """Finalize MPI, if no sum is open. All ranks must call this."""
        if not self._abandoned:
            self._mpi.Finalize()

    def abort(self, code: int) -> None:
        """End the processes of all ranks immediately."""
        self._mpi.COMM_WORLD.Abort(code)

    def _finish(self, *requests: Any, ends: bool = False) -> None:
        are_done = requests[0].Test if len(requests) == 1 else partial(self._mpi.Request.Testall, list(requests))
        began = looked = time.perf_counter()
        tests = 0
        while not are_done():
            tests += 1
            if tests < SPINS:
                continue
            if tests % LOOK_EVERY == 0:
                self._receive()
                if (now := time.perf_counter()) - looked > LIVENESS_SECONDS:
                    looked = now
                    self._look_for_processes()
                # The part of a rank that has ended may have arrived since the last test.
                if (error := self._obstacle(ends, now - began)) is not None and not are_done():
                    raise error
            if tests < YIELDS:
                os.sched_yield()
            else:
                time.sleep(SLEEP)
        self.waited += time.perf_counter() - began

    def _obstacle(self, ends: bool, waited: float) -> RankError | None:
        """The reason why another rank will not take part in this call, or None.

        With ``ends``, ranks that have ended their runs take part. ``waited`` is in seconds: a rank may have done its
        part and ended shortly before this one sees it.
        """
        if self._failures:
            rank, text = next(iter(self._failures.items()))
            is_reported = rank not in self._silent or self.rank != (rank == 0)
            return RankError(f"rank {rank} of {self.ranks} failed: {text}", is_reported=is_reported)
        if self._killed is not None:
            rank = self._killed
            return RankError(
                f"rank {rank} of {self.ranks} does not exist any more: its process {self._processes[rank][1]} was "
                "killed, or ended without a message",
                hint="the system kills processes when memory runs out",
                is_reported=self.rank != (rank == 0),
            )
        if self._done and waited > LEFT_SECONDS:  # the message of the rank that failed may arrive later
            return RankError(
                f"rank {min(self._done)} of {self.ranks} has ended after an error, and rank {self.rank} waits for it",
                hint="to train another run after an error, catch it on all ranks; the others raise RankError",
                is_reported=self.rank != (0 in self._done),
            )
        if self._left and not ends and waited > LEFT_SECONDS:
            return RankError(
                f"rank {min(self._left)} of {self.ranks} has ended, and rank {self.rank} waits for it",
                hint="execute the same loop on all ranks: use values that are the same on all of them for decisions",
                is_reported=self.rank != (0 in self._left),
            )
        return None

    def _receive(self) -> None:
        while self._messages.iprobe():
            self._take(self._messages.recv())

    def _take(self, message: tuple[str, int, int, str]) -> None:
        kind, rank, generation, text = message
        if kind == "left":
            self._left.add(rank)
        elif kind == "done":
            self._done[rank] = int(text)
        elif generation > self._generation:
            self._later.append(message)
        elif generation == self._generation:
            self._failures[rank] = text
            if kind == "exited":
                self._silent.add(rank)

    def _look_for_processes(self) -> None:
        gone = [rank for rank in range(self.ranks) if not self.exists(rank)]
        self._killed = gone[0] if gone else None

    @property
    def are_on_one_machine(self) -> bool:
        """Whether all ranks are on this machine."""
        return len({host for host, _ in self._processes}) == 1

    def exists(self, rank: int) -> bool:
        """Whether the process of a rank exists; True for a rank on another machine."""
        host, process = self._processes[rank]
        if host != self._processes[self.rank][0]:
            return True  # on another machine: its launcher ends the job
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except (OSError, IndexError):
        return False


@cache
def connect() -> Communicator | None:
    """The ranks of the run, or None if this process is the only one.

    Raises
    ------
    RankError
        An MPI launcher started the process, but MPI cannot be loaded.
    """
    if not started_by_mpi():
        return None
    with ended_without_all_ranks():
        mpi = load_mpi()
        check_launcher(mpi.COMM_WORLD.Get_size())
        return Communicator(mpi) if mpi.COMM_WORLD.Get_size() > 1 else None
