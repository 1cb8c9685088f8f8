"""Watches the start of MPI, which would wait forever for a rank that ended before it."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

LOOK_SECONDS = 0.5
"""Seconds between two checks that the processes of the ranks exist. Chosen by eye."""
LOOKS = 3
"""Consecutive checks without a rank after which it has ended: the launcher may not have started it. Chosen by eye."""
WAIT_SECONDS = 4.0
"""Longest time for which the rank that has reported an absent one waits for the others to end. Chosen by eye."""
LAUNCHER = "hydra_pmi_proxy"
"""The MPICH process that starts the ranks of one machine and is their parent."""


@contextmanager
def ended_without_all_ranks() -> Iterator[None]:
    """A context manager that ends this process with a message if a rank of this machine ends within it.

    It needs MPICH's launcher and a system with ``/proc``; otherwise, it does nothing.
    """
    over = threading.Event()
    launcher = _launcher()
    expected = int(os.environ.get("MPI_LOCALNRANKS", "0"))
    if launcher is not None and expected > 1:
        threading.Thread(target=_watch, args=(launcher, expected, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


@attrs.define
class AbsentRanks:
    """The checks of the ranks of this machine since all of them were present.

    Attributes
    ----------
    expected:
        The number of ranks of this machine.
    checks:
        The number of consecutive checks in which not all ranks were present.
    seen:
        The ranks that were present in one of these checks. A rank that ends because another is absent is among them.
    """

    expected: int
    checks: int = 0
    seen: set[int] = attrs.field(factory=set)

    def note(self, present: Sequence[int] | None) -> None:
        """Take the ranks that one check has found, or None if the system does not say."""
        if present is None or len(present) >= self.expected:
            self.checks, self.seen = 0, set()
        else:
            self.checks += 1
            self.seen.update(present)


def _watch(launcher: int, expected: int, over: threading.Event) -> None:
    found = AbsentRanks(expected)
    while not over.wait(LOOK_SECONDS):
        found.note(_ranks_of(launcher))
        if found.checks >= LOOKS:
            _end(launcher, found)


def _end(launcher: int, found: AbsentRanks) -> None:
    """End this process. The first rank that calls this reports; its lock keeps the others silent until they end."""
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0rnncallbacks-absent-{launcher}")
        except OSError:
            os._exit(1)
        sys.stderr.write(f"{_message(found)}\n")
        sys.stderr.flush()
        until = time.monotonic() + WAIT_SECONDS
        while len(_ranks_of(launcher) or ()) > 1 and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        os._exit(1)


def _message(found: AbsentRanks) -> str:
    ranks = int(os.environ.get("PMI_SIZE", found.expected))
    absent = [str(rank) for rank in range(ranks) if rank not in found.seen]
    is_one_machine = ranks == found.expected
    who = f"rank {', '.join(absent)} of {ranks}" if is_one_machine else f"one of {found.expected} ranks of this machine"
    return (
        f"rnncallbacks.errors.RankError: {who} has ended before it started MPI, and the other ranks wait for it\n"
        "  hint: see its error, if it printed one, and make the plugin data_parallel on all ranks"
    )


def _launcher() -> int | None:
    """The process that started the ranks: the parent of this process, or of a wrapper around it."""
    process = os.getppid()
    try:
        while process > 1:
            if Path(f"/proc/{process}/comm").read_text().strip() == LAUNCHER:
                return process
            process = int(Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _ranks_of(launcher: int) -> list[int] | None:
    """The ranks whose processes exist, or None if the system does not say."""
    try:
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    except OSError:
        return None
    ranks = []
    for child in children:
        try:
            variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ranks += [int(one.partition(b"=")[2]) for one in variables if one.startswith(b"PMI_RANK=")]
    return ranks
