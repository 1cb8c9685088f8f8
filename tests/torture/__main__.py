"""The command of the attack: ``python -m tests.torture kills --count 2000 --seed 0 --out torture.jsonl``."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported: a process with threads cannot fork

import argparse
import collections
import functools
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .adversaries import adversary_trial
from .configurations import configuration_trial
from .edits import edit_trial
from .flips import flip_trial
from .kills import kill_trial
from .page import page, read_lines
from .rank_faults import rank_trial
from .rank_kills import rank_kill_trial
from .training_runs import warm_up
from .trials import Trial, run_trials

KINDS: dict[str, Trial] = {
    "kills": kill_trial,
    "flips": flip_trial,
    "edits": edit_trial,
    "configurations": configuration_trial,
    "plugins": adversary_trial,
}
NEEDS_MPI: dict[str, Trial] = {"ranks": rank_trial, "rank-kills": rank_kill_trial}
"""Attacks that need the extra mpi, and start processes of their own."""
HELP = "The attack; slice: the trials of the test suite; page: write the page of the documentation from --out."
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "torture.md"
SLICE = {"kills": 2, "flips": 3, "edits": 5, "configurations": 10, "plugins": 12}
"""Trials of each kind in the test suite. Its kills come before file operations, and not at moments of the clock."""

MOST_SHOWN = 10
"""Trials in which the library did not hold that are printed; the others are in the file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for. Returns the exit code: 1 if the library did not hold in a trial."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("kind", choices=[*KINDS, *NEEDS_MPI, "slice", "page"], help=HELP)
    parser.add_argument("--count", type=int, default=100, help="Trials, or kills for the kind kills. [default: 100]")
    parser.add_argument("--seed", type=int, default=0, help="Together with its number, it determines a trial.")
    parser.add_argument("--number", type=int, help="Run only the trial of this number, to see it again.")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("torture.jsonl"),
        help="One JSON line a trial is appended. Trials in it are done.",
    )
    parser.add_argument("--costs", type=Path, default=Path("checkpoint.jsonl"), help="page: from bench_checkpoint.py.")
    parser.add_argument("--commit", default="unknown", help="page: the commit on which the trials ran.")
    given = parser.parse_args(arguments)
    if given.kind == "page":
        PAGE.write_text(page(read_lines(given.out), read_lines(given.costs), given.commit), "utf-8")
        return 0
    logging.disable(logging.CRITICAL)
    warm_up()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, given.out.open("a", 1) as out:
        if given.kind == "slice":
            attacks: dict[str, Trial] = KINDS | {"kills": functools.partial(kill_trial, moments=False)}
            for kind, count in SLICE.items():
                run_trials(kind, attacks[kind], given.seed, range(count), Path(folder), out)
        else:
            _run(given, Path(folder), out)
    lines = [one for one in read_lines(given.out) if one["seed"] == given.seed and given.kind in ("slice", one["kind"])]
    counts = collections.Counter((one["kind"], one["outcome"]) for one in lines)
    for (kind, outcome), count in counts.items():
        print(f"{kind}: {outcome} {count}")
    slowest = max(lines, key=lambda one: float(one.get("end_seconds", 0.0)), default={})
    if slowest.get("end_seconds"):
        ended = [one["end_seconds"] for one in lines if one.get("end_seconds")]
        middle = sorted(ended)[len(ended) // 2]
        most = f"median {middle:.1f}, most {slowest['end_seconds']:.1f} (number {slowest['number']})"
        print(f"{given.kind}: seconds from a fault to the end of all ranks, {len(ended)} trials: {most}")
    for one in [one for one in lines if one["outcome"] != "held"][:MOST_SHOWN]:
        print(f"{one['kind']} {one['number']}: {one['outcome']}: {one['what']}\n{one['detail']}"[:800])
    return int(any(outcome != "held" for _, outcome in counts))


def _run(given: argparse.Namespace, folder: Path, out: Any) -> None:
    trial = (KINDS | NEEDS_MPI)[given.kind]
    if given.number is not None:
        run_trials(given.kind, trial, given.seed, range(given.number, given.number + 1), folder, out)
        return
    while True:
        done = [one for one in read_lines(given.out) if (one["kind"], one["seed"]) == (given.kind, given.seed)]
        missing = given.count - sum(_size(one) for one in done)
        if missing <= 0:
            return
        first = max((one["number"] + 1 for one in done), default=0)
        # A trial has up to three kills: as many trials as there are missing kills would be too many.
        more = max(1, missing // 3) if given.kind == "kills" else missing
        run_trials(given.kind, trial, given.seed, range(first, first + more), folder, out)


def _size(line: dict[str, Any]) -> int:
    """What a trial counts for: its kills, or 1."""
    return int(line["counts"].get("kills", 1) if line["kind"] == "kills" else 1)


if __name__ == "__main__":
    sys.exit(main())
