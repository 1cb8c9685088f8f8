"""Kills of one rank among several at a random moment: the run that is started again ends as one that was not killed."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np

from rnncallbacks.parallel.mpi_library import command_on_ranks

from .rank_faults import PROGRAM, SECONDS
from .trials import Result

MOST_KILLS = 3
NEVER = 3600.0


@functools.cache
def uninterrupted(ranks: int, folder: Path) -> tuple[str, float]:
    """What the run ends with that is not killed, and how long it takes in seconds."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    done = _start(ranks, folder, 0, NEVER)
    return done.stdout, time.monotonic() - began


def rank_kill_trial(generator: np.random.Generator, folder: Path) -> Result:
    """One run on 2 or 3 ranks, of which one is killed up to three times."""
    ranks = int(generator.integers(2, 4))
    whole, seconds = uninterrupted(ranks, folder.parent / f"uninterrupted-{ranks}")
    kills, delivered = int(generator.integers(1, MOST_KILLS + 1)), 0
    what = f"{kills} kills on {ranks} ranks"
    for number in range(kills + 1):
        # The first half of a second is that of Python's start.
        moment = NEVER if number == kills else float(generator.uniform(0.2, max(seconds, 0.5)))
        try:
            done = _start(ranks, folder, int(generator.integers(ranks)), moment)
        except subprocess.TimeoutExpired:
            return Result("hang", what, f"no end within {SECONDS} s")
        if not done.returncode:
            break
        delivered += 1
        if number == kills:
            return Result("lost run", what, done.stderr[-2000:])
    left = sorted(path.name for path in folder.iterdir() if path.suffix not in (".safetensors", ".lock", ".owner"))
    if left:
        return Result("damaged accepted", what, f"left behind: {left}")
    if json.loads(done.stdout) != json.loads(whole):
        return Result("differs", what, f"{done.stdout} and {whole}")
    return Result("held", what, counts={"kills of ranks": delivered})


def _start(ranks: int, folder: Path, rank: int, seconds: float) -> subprocess.CompletedProcess[str]:
    command = command_on_ranks(ranks, [str(PROGRAM), "killed", str(folder), str(rank), f"{seconds:.4f}"])
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment)
