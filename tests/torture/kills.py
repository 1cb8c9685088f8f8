"""Kills: a run is ended by SIGKILL, once or several times, and started again until it ends by itself.

What it leaves behind has to be that of the run that was not killed, bit for bit.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rnncallbacks import Run, hookimpl
from rnncallbacks.errors import RnnCallbacksError

from .fingerprints import differences, fingerprint
from .training_runs import RATES, STYLES, TrainingRun
from .trials import SECONDS, Outcome, Result, quiet, remove

SAVINGS: list[dict[str, Any]] = [
    {"every_epochs": 1, "fsync": False},
    {"every_epochs": 2, "fsync": True},
    {"every_steps": 2, "fsync": False},
    {"every_steps": 3, "every_epochs": 1, "fsync": False},
    {"every_steps": 2, "keep_last": 2, "monitor": "val_loss", "path": "run-{step}.safetensors", "fsync": False},
]
"""Options of the plugin checkpoint."""
MOST_KILLS = 3
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.chmod", "os.mkdir")
"""Audit events at which a process can be killed; each comes before the operation."""
RESULT, LOG, REFUSAL = "result.json", "starts.log", "refusal.json"


@attrs.frozen
class Kill:
    """When a process ends: before a file operation (``event`` counts them), or at a share of the run's duration."""

    event: int | None
    share: float

    def __str__(self) -> str:
        return f"at {self.share:.3f} of its duration" if self.event is None else f"before file operation {self.event}"


@attrs.define(eq=False)
class StartWitness:
    """Notes where each start of the run begins."""

    log: Path

    @hookimpl(trylast=True)
    def on_fit_start(self, run: Run) -> None:
        with self.log.open("a") as file:
            file.write(f"{run.epoch} {run.step}\n")


@attrs.frozen
class Uninterrupted:
    """The run that was not killed: what it left, how long it took, and how many file operations it made."""

    left: dict[str, str]
    seconds: float
    events: int


def draw_run(generator: np.random.Generator) -> TrainingRun:
    """A style, a learning rate and options of the plugin checkpoint."""
    saving = SAVINGS[generator.integers(len(SAVINGS))]
    styles, rates = list(STYLES), list(RATES)
    return TrainingRun(
        styles[generator.integers(len(styles))], rates[generator.integers(len(rates))], tuple(saving.items())
    )


def draw_kills(generator: np.random.Generator, moments: bool = True) -> list[tuple[bool, float]]:
    """Up to three kills: whether it is before a file operation, and at which share of the run."""
    count = int(generator.integers(1, MOST_KILLS + 1))
    return [(not moments or generator.random() < 0.5, float(generator.random())) for _ in range(count)]


@functools.cache
def uninterrupted(run: TrainingRun, folder: Path) -> Uninterrupted:
    """Train without a kill, in a process of its own."""
    started = time.perf_counter()
    folder.mkdir(parents=True)
    _wait(_start(run, folder, None))
    seconds = time.perf_counter() - started
    written = json.loads((folder / RESULT).read_text())
    remove(folder)
    return Uninterrupted(written["left"], seconds, written["events"])


def kill_trial(generator: np.random.Generator, folder: Path, moments: bool = True) -> Result:
    """One run that is killed and started again."""
    run = draw_run(generator)
    shares = draw_kills(generator, moments)
    reference = uninterrupted(run, folder.parent / f"uninterrupted-{run.style}-{run.rate}-{hash(run.saving)}")
    kills = [Kill(int(share * reference.events) + 1 if at_event else None, share) for at_event, share in shares]
    what = f"{run}; killed {', then '.join(map(str, kills))}"
    delivered = 0
    for kill in kills:
        child = _start(run, folder, kill.event)
        if kill.event is None:
            time.sleep(kill.share * reference.seconds)
            os.kill(child, signal.SIGKILL)
        killed = _wait(child) == -signal.SIGKILL
        delivered += killed
        if not killed:
            break
    if not (folder / RESULT).exists() and not (folder / REFUSAL).exists():
        _wait(_start(run, folder, None))
    outcome, detail = _judge(folder, reference)
    return Result(outcome, what, detail, {"kills": delivered, "runs": 1})


def _judge(folder: Path, reference: Uninterrupted) -> tuple[Outcome, str]:
    if (folder / REFUSAL).exists():
        refusal = json.loads((folder / REFUSAL).read_text())
        return ("blocked run" if refusal["ours"] else "foreign traceback"), refusal["text"]
    if not (folder / RESULT).exists():
        return "hang", f"no end within {SECONDS} s"
    written = json.loads((folder / RESULT).read_text())
    if written["lost"]:
        return "lost run", written["lost"]
    different = differences(reference.left, written["left"])
    return ("differs", "\n".join(different)) if different else ("held", "")


def _start(run: TrainingRun, folder: Path, event: int | None) -> int:
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        events = _count_events(event)
        with quiet():
            _child(run, folder, events)
        os._exit(0)
    return child


def _child(run: TrainingRun, folder: Path, events: list[int]) -> None:
    # A file under a name of its own is a checkpoint once run-last.txt names it.
    had_checkpoint = any((folder / name).exists() for name in ("checkpoint.safetensors", "run-last.txt"))
    before = len(_starts(folder))
    try:
        done = run.train(folder, StartWitness(folder / LOG))
    except BaseException as error:
        text = "".join(traceback.format_exception(error))[-3000:]
        _write(folder / REFUSAL, {"ours": isinstance(error, RnnCallbacksError), "text": text})
        os._exit(1)
    counted = events[0]
    begun = _starts(folder)[before]
    lost = f"a checkpoint existed, and the run began at epoch {begun[0]}" if had_checkpoint and begun == (0, 0) else ""
    _write(folder / RESULT, {"left": fingerprint(done, folder), "events": counted, "lost": lost})


def _starts(folder: Path) -> list[tuple[int, int]]:
    path = folder / LOG
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(epoch), int(step)) for epoch, step in map(str.split, lines)]


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content))
    temporary.rename(path)


def _count_events(fatal: int | None) -> list[int]:
    """Count the file operations of this process in a list of one number; kill it before the operation ``fatal``."""
    events = [0]

    def watch(name: str, arguments: tuple[Any, ...]) -> None:
        if name in FILE_EVENTS and not str(arguments[0]).endswith((".py", ".pyc", RESULT, ".part")):
            events[0] += 1
            if events[0] == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return events


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
