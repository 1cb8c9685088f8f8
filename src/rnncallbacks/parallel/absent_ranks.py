"""Watches the start of MPI, which waits for all ranks: also for one that ended before it started MPI."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_SECONDS = 0.5
"""Seconds between two looks at the processes of the ranks. Chosen by eye."""
LOOKS = 3
"""Looks in a row at which a rank has to be absent: the launcher may not have started all yet. Chosen by eye."""
LAUNCHER = "hydra_pmi_proxy"
"""The process of MPICH that starts the ranks of one machine, and is their parent."""


@contextmanager
def ended_without_all_ranks() -> Iterator[None]:
    """End this process with a message if a rank of this machine ends in the meantime.

    Nothing is watched under another launcher than MPICH's, or on a system without ``/proc``.
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
        f"rnncallbacks.errors.RankError: {who} has ended before it started MPI, for which the other ranks wait\n"
        "  hint: see its error, if it printed one; all ranks have to make the plugin data_parallel"
    )


def _launcher() -> int | None:
    """The process that started the ranks: the parent, or that of a wrapper."""
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
