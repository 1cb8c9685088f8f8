"""Faults of one rank among several: whatever it does, all ranks end, with one message or with the same parameters."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np

from rnncallbacks.parallel.mpi_library import command_on_ranks

from .trials import Result

PROGRAM = Path(__file__).parents[1] / "parallel" / "rank_program.py"
ENDING = (
    "error",
    "error in a hook",
    "error after the run",
    "kill",
    "interrupt",
    "exit",
    "no backward",
    "unequal shards",
)
"""Faults that end the run with a message."""
GOING_ON = ("stop", "stop in a hook", "stop between batches", "skip", "slow rank", "NaN", "NaN and a stop")
"""Faults after which all ranks go on, or stop in order."""
MESSAGES = {
    "error": "bad data",
    "error in a hook": "a plugin",
    "error after the run": "after the run",
    "kill": "does not exist any more",
    "interrupt": "KeyboardInterrupt",
    "exit": "SystemExit",
    "no backward": "not at the same place",
    "unequal shards": "not at the same place",
}
SECONDS = 40
"""A run that lasts longer has hung: it takes two seconds, and on a busy machine ten."""

END_SECONDS = 10.0
"""All ranks have to end within this time after the fault of one."""


def seconds_since_fault(folder: Path) -> float:
    """The time since the fault of one rank, in seconds; 0 if it had none."""
    moment = folder.with_name(f"{folder.name}.fault")
    return round(time.time() - float(moment.read_text()), 3) if moment.exists() else 0.0


def rank_trial(generator: np.random.Generator, folder: Path) -> Result:
    """One run on 2 to 4 ranks with a fault of one of them."""
    ranks = int(generator.integers(2, 5))
    fault = str(generator.choice([*ENDING, *GOING_ON]))
    rank, step = int(generator.integers(ranks)), int(generator.integers(1, 18))
    what = f"{fault} on rank {rank} of {ranks} in batch {step}"
    command = command_on_ranks(ranks, [str(PROGRAM), "faulty", fault, str(rank), str(step), str(folder)])
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return Result("hang", what, f"no end within {SECONDS} s")
    seconds = seconds_since_fault(folder) if fault in ENDING else 0.0
    if fault in ENDING:
        if not process.returncode or MESSAGES[fault] not in err:
            return Result("differs", what, f"exit code {process.returncode}, and no message {MESSAGES[fault]!r}: {err}")
        if err.count("Traceback (most recent call last)") != 1:
            return Result("foreign traceback", what, err[-2000:])
    elif process.returncode:
        return Result("crash", what, err[-2000:])
    elif not json.loads(out)["same"]:
        return Result("differs", what, out)
    half_written = [path.name for path in folder.iterdir() if path.suffix not in (".safetensors", ".lock", ".owner")]
    if half_written:
        return Result("damaged accepted", what, f"left behind: {half_written}")
    if seconds > END_SECONDS:
        return Result("slow", what, f"the ranks ended {seconds} s after the fault", end_seconds=seconds)
    return Result("held", what, end_seconds=seconds)
