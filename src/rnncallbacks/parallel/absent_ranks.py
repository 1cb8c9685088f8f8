"""Watches the start of MPI, which would wait forever for a rank that ended before it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_SECONDS = 0.5
"""Seconds between two checks that the processes of the ranks exist. Chosen by eye."""
LOOKS = 3
"""Consecutive checks without a rank after which it has ended: the launcher may not have started it. Chosen by eye."""
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


def _watch(launcher: int, expected: int, over: threading.Event) -> None:
    looks = 0
    while not over.wait(LOOK_SECONDS):
        present = _ranks_of(launcher)
        looks = looks + 1 if present is not None and len(present) < expected else 0
        if looks == LOOKS and present is not None:
            if os.environ.get("PMI_RANK") == str(min(present, default=0)):
                sys.stderr.write(f"{_message(present, expected)}\n")
                sys.stderr.flush()
            os._exit(1)


def _message(present: list[int], expected: int) -> str:
    ranks = int(os.environ.get("PMI_SIZE", expected))
    absent = [str(rank) for rank in range(ranks) if rank not in present]
    who = f"rank {', '.join(absent)} of {ranks}" if ranks == expected else f"one of {expected} ranks of this machine"
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
