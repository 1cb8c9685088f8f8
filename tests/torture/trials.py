"""The trials of an attack: their outcomes, and how many of them are run one after another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

import attrs
import numpy as np

from rnncallbacks.errors import RnnCallbacksError

SECONDS = 100
"""A trial that lasts longer has hung. Its own part takes a second, and a busy machine may be slow."""

Outcome = Literal[
    "held",
    "lost run",
    "blocked run",
    "differs",
    "damaged accepted",
    "foreign traceback",
    "slow",
    "hang",
    "crash",
]


@attrs.frozen
class Result:
    """What one trial came to.

    Attributes
    ----------
    outcome:
        Its class.
    what:
        What was done to the library, in words.
    detail:
        What was seen, where the library did not hold.
    counts:
        Numbers to be added up over the trials, such as kills.
    end_seconds:
        The longest time from a fault of one process to the end of all, in seconds; 0 for attacks on one process.
    """

    outcome: Outcome
    what: str
    detail: str = ""
    counts: dict[str, int] = attrs.field(factory=dict)
    end_seconds: float = 0.0


Trial = Callable[[np.random.Generator, Path], Result]
"""A function of the trial's own random numbers and of an empty folder."""


def generator_of(kind: str, seed: int, number: int) -> np.random.Generator:
    """The random numbers of one trial."""
    return np.random.default_rng([*kind.encode(), seed, number])


def traceback_of(error: BaseException) -> str:
    """The class and message of an error, and the innermost lines of its traceback."""
    inner = "".join(traceback.format_tb(error.__traceback__)[-3:])
    return f"{type(error).__name__}: {str(error)[:300]}\n{inner}"


def is_ours(error: BaseException) -> bool:
    """Whether the error is one of the library's, with text in it."""
    return isinstance(error, RnnCallbacksError) and bool(error.message)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Warnings of NumPy are not what a trial is about."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def run_trials(kind: str, trial: Trial, seed: int, numbers: range, folder: Path, out: TextIO) -> None:
    """Run trials in forked processes, and write one line for each.

    A process runs trials until one hangs or crashes; the next process goes on behind it.
    """
    numbers_left = list(numbers)
    while numbers_left:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            with os.fdopen(writer, "w") as lines, quiet():
                for number in numbers_left:
                    signal.alarm(SECONDS)
                    lines.write(json.dumps(_line(kind, trial, seed, number, folder)) + "\n")
                    lines.flush()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as lines:
            for line in lines:
                numbers_left.pop(0)
                out.write(line)
                out.flush()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if numbers_left and status:
            outcome: Outcome = "hang" if status == -signal.SIGALRM else "crash"
            result = Result(outcome, "?", f"the process ended with {status}")
            line = {"kind": kind, "seed": seed, "number": numbers_left.pop(0)} | attrs.asdict(result)
            out.write(json.dumps(line) + "\n")
            out.flush()


def _line(kind: str, trial: Trial, seed: int, number: int, folder: Path) -> dict[str, Any]:
    own = folder / f"{kind}-{number}"
    own.mkdir(parents=True)
    started = time.perf_counter()
    try:
        result = trial(generator_of(kind, seed, number), own)
    except Exception as error:
        result = Result("foreign traceback", "?", traceback_of(error))
    seconds = round(time.perf_counter() - started, 4)
    if result.outcome == "held":
        remove(own)
    return {"kind": kind, "seed": seed, "number": number, "seconds": seconds} | attrs.asdict(result)


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it."""
    for directory, _, names in os.walk(folder, topdown=False):
        for name in names:
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)
