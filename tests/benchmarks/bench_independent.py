"""The independent benchmark: guards on training scripts with styles, tasks and cells that they were not written for.

    python tests/benchmarks/bench_independent.py --slice 400 --json independent.jsonl --page page.md
    python tests/benchmarks/bench_independent.py --case rate_x30/lists/parity/gru/adam/0/bare

A run of a fault or trap has a combination of style, task, cell, optimizer and seed, and is repeated with each level of
evidence. Results in the JSON file are not measured again. Delete the file after a change to a guard.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from itertools import count, islice
from multiprocessing import Pool
from pathlib import Path
from random import Random
from typing import Any, cast, get_args

import attrs
from independent_report import PAGE_COMMAND, IndependentReport, Measurement
from threadpoolctl import threadpool_limits

from rnncallbacks import recommended
from rnncallbacks.testing import FiredAlarm, shipped_guards
from rnncallbacks.testing.independent import (
    INDEPENDENT_FAULTS,
    INDEPENDENT_HEALTHY,
    INDEPENDENT_TRAPS,
    IndependentCase,
    IndependentFault,
    IndependentOutcome,
    Split,
    named_fault,
    run_independent_case,
)

Key = tuple[str, str, str, str, str, int]
"""Fault, style, task, cell, optimizer and seed."""

HEALTHY_SHARE = 4
"""One healthy run for so many runs of faults and traps."""


def plan(split: Split, size: int, seed: int, only: list[str]) -> list[Key]:
    """The combinations of a slice: each fault and trap in turn, with a random style, task, cell, optimizer and seed.

    Seeds of the split "tune" are even, those of "report" odd.
    """
    variants = [*INDEPENDENT_FAULTS.values(), *INDEPENDENT_TRAPS.values()]
    variants += [INDEPENDENT_HEALTHY] * (len(variants) // HEALTHY_SHARE)
    variants = [
        one for one in variants if (not only or one.name in only) and any(True for _ in one.combinations(split))
    ]

    def keys() -> Any:
        for number in count():
            turn = Random(f"{split} {seed} {number}")
            for variant in turn.sample(variants, len(variants)):
                yield _key(variant, split, turn, 2 * (1000 * seed + number) + (split == "report"))

    chosen: dict[Key, None] = {}
    for key in islice(keys(), 20 * size):
        chosen[key] = None
        if len(chosen) == size:
            break
    return list(chosen)


def _key(variant: IndependentFault, split: Split, turn: Random, seed: int) -> Key:
    return (variant.name, *turn.choice(list(variant.combinations(split))), seed)


def measure(plugins: str, key: Key) -> tuple[Key, dict[str, Any]]:
    """The loss of the healthy twin, and the outcome with each level of evidence."""
    started = time.process_time()
    levels = named_fault(key[0]).levels
    cases = [IndependentCase(*key, level) for level in levels]  # type: ignore[arg-type]
    entry: dict[str, Any] = {"twin_loss": cases[0].twin_loss(), "outcomes": {}, "crashes": {}}
    for case in cases:
        given = recommended() if plugins == "recommended" else shipped_guards()
        try:
            fields = attrs.asdict(run_independent_case(case, given), recurse=True)
        except Exception as error:
            entry["crashes"][case.level] = f"{type(error).__name__}: {error}"
        else:
            del fields["case"]
            entry["outcomes"][case.level] = fields
    return key, entry | {"seconds": round(time.process_time() - started, 3)}


def measure_all(keys: list[Key], plugins: str, processes: int, path: Path) -> dict[Key, dict[str, Any]]:
    done: dict[Key, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            done[cast(Key, tuple(entry["key"]))] = entry
    missing = [key for key in keys if key not in done]
    with path.open("a") as file, Pool(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        for key, entry in pool.imap_unordered(partial(measure, plugins), missing):
            done[key] = entry
            file.write(json.dumps({"key": key} | entry) + "\n")
            file.flush()
    return {key: done[key] for key in keys}


def measurements(results: dict[Key, dict[str, Any]]) -> list[Measurement]:
    found = []
    for key, entry in results.items():
        losses = {repr(fields["clean_loss"]) for fields in entry["outcomes"].values()}
        if key[0] in (INDEPENDENT_HEALTHY.name, "closure_adds_gradients"):
            losses.add(repr(entry["twin_loss"]))
        for level, fields in entry["outcomes"].items():
            outcome = IndependentOutcome(
                case=IndependentCase(*key, level),  # type: ignore[arg-type]
                alarms=tuple(FiredAlarm(**alarm) for alarm in fields["alarms"]),
                headlines=fields["headlines"],
                passed=tuple(fields["passed"]),
                clean_loss=fields["clean_loss"],
            )
            found.append(Measurement(outcome, entry["twin_loss"], changed=len(losses) > 1))
    return found


def show(words: str) -> None:
    """Runs one case and prints its diagnosis."""
    *names, seed, level = words.split("/")
    case = IndependentCase(*names, int(seed), level)  # type: ignore[arg-type, call-arg]
    script = case.script()
    run = script.train(shipped_guards())
    print(run.diagnosis)
    print(f"clean loss {script.clean_loss():.4g}, healthy twin {case.twin_loss():.4g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", nargs="+", choices=get_args(Split), default=list(get_args(Split)))
    parser.add_argument("--slice", type=int, default=100, help="combinations in each split (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other combinations (default: 0)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--plugins", choices=("guards", "recommended"), default="guards")
    parser.add_argument("--only", nargs="*", default=[], help="names of faults and traps, or healthy")
    parser.add_argument("--json", type=Path, help="file that stores results between runs")
    parser.add_argument("--page", type=Path, help="write the page of the documentation to this file")
    parser.add_argument("--list", type=Path, help="write misses and false alarms of the split tune to this file")
    parser.add_argument("--case", help="FAULT/STYLE/TASK/CELL/OPTIMIZER/SEED/LEVEL: run one case, print its diagnosis")
    options = parser.parse_args()
    if options.case:
        show(options.case)
        return
    reports: dict[Split, IndependentReport] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = options.json or Path(folder) / "independent.jsonl"
        for split in options.split:
            keys = plan(split, options.slice, options.seed, options.only)
            results = measure_all(keys, options.plugins, options.processes, path)
            reports[split] = IndependentReport(measurements(results))
            seconds = sum(entry["seconds"] for entry in results.values())
            crashes = [(key, *crash) for key, entry in results.items() for crash in entry["crashes"].items()]
            print(f"{split}: {len(keys)} combinations, {seconds:.0f} s\n\n{reports[split].by_level()}\n")
            for crash in crashes:
                print("crashed:", *crash)
    if "tune" in reports:
        print(reports["tune"].details())
    if options.list:
        options.list.write_text(reports["tune"].failures())
    if options.page:
        words = sys.argv[1:]
        for option in ("--json", "--list", "--page"):
            if option in words:
                del words[words.index(option) : words.index(option) + 2]
        options.page.write_text(IndependentReport.page(reports, " ".join([PAGE_COMMAND, *words])))


if __name__ == "__main__":
    main()
