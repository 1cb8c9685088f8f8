"""Kills of one rank among several at a random moment: the run that is started again ends as one that was not killed."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path

import numpy as np

from rnncallbacks.parallel.mpi_library import command_on_ranks

from .rank_faults import END_SECONDS, PROGRAM, SECONDS, seconds_since_fault
from .trials import Outcome, Result

MOST_KILLS = 3
NEVER = 3600.0
SOONEST = 0.001
"""Seconds before the earliest kill: a timer of 0 would not start."""
MESSAGES = ("does not exist any more", "has ended before it started MPI")
"""What the other ranks say of a rank that was killed."""


@functools.cache
def uninterrupted(ranks: int, folder: Path) -> tuple[str, float]:
    """The digest with which the run ends that is not killed, and the seconds from the start of its timer to its end."""
    folder.mkdir(parents=True)
    ended = json.loads(_start(ranks, folder, 0, NEVER).stdout)
    return ended["digest"], ended["seconds"]


def rank_kill_trial(generator: np.random.Generator, folder: Path) -> Result:
    """One run on 2 or 3 ranks, of which one is killed up to three times."""
    ranks = int(generator.integers(2, 4))
    digest, seconds = uninterrupted(ranks, folder.parent / f"uninterrupted-{ranks}")
    kills, delivered, longest = int(generator.integers(1, MOST_KILLS + 1)), 0, 0.0
    what = f"{kills} kills on {ranks} ranks"
    for number in range(kills + 1):
        rank, moment = int(generator.integers(ranks)), float(generator.uniform(SOONEST, seconds))
        try:
            done = _start(ranks, folder, rank, NEVER if number == kills else moment)
        except subprocess.TimeoutExpired:
            return Result("hang", what, f"no end within {SECONDS} s")
        if not done.returncode:
            break
        delivered += 1
        longest = max(longest, seconds_since_fault(folder))
        if number == kills:
            return Result("lost run", what, done.stderr[-2000:])
        killed = f"RankError: rank {rank} of {ranks} "
        if not any(killed + message in done.stderr for message in MESSAGES):
            return Result("differs", what, f"no message that rank {rank} was killed: {done.stderr[-2000:]}")
    left = sorted(path.name for path in folder.iterdir() if path.suffix not in (".safetensors", ".lock", ".owner"))
    if left:
        return Result("damaged accepted", what, f"left behind: {left}")
    if json.loads(done.stdout)["digest"] != digest:
        return Result("differs", what, f"{done.stdout} and {digest}")
    held: Outcome = "held" if longest <= END_SECONDS else "slow"
    return Result(held, what, counts={"kills of ranks": delivered}, end_seconds=longest)


def _start(ranks: int, folder: Path, rank: int, seconds: float) -> subprocess.CompletedProcess[str]:
    command = command_on_ranks(ranks, [str(PROGRAM), "killed", str(folder), str(rank), f"{seconds:.4f}"])
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment)
