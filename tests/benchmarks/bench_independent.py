"""The independent benchmark: guards on training scripts with styles, tasks and cells that they were not written for.

    python tests/benchmarks/bench_independent.py --slice 400 --json independent.jsonl --page page.md
    python tests/benchmarks/bench_independent.py --case rate_x30/lists/parity/gru/adam/0/bare

A run of a fault or trap has a combination of style, task, cell, optimizer and seed, and is repeated with each level of
evidence. Where a fault does no harm, other combinations are tried. Results in the JSON file are not measured again.
Delete the file after a change to a guard.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
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
    IndependentOutcome,
    Split,
    named_fault,
    run_independent_case,
)

Key = tuple[str, str, str, str, str, int]
"""Fault, style, task, cell, optimizer and seed."""

HEALTHY_SHARE = 4
"""One healthy run for so many runs of faults and traps."""


CANDIDATES = 3
"""Combinations that are tried until a fault does harm."""


def plan(split: Split, size: int, seed: int, only: list[str]) -> list[tuple[Key, ...]]:
    """Each fault and trap in turn, with random styles, tasks, cells, optimizers and seeds.

    A fault has several candidates, of which the first one that is harmful counts. Seeds of the split "tune" are even,
    those of "report" odd.
    """
    variants = [*INDEPENDENT_FAULTS.values(), *INDEPENDENT_TRAPS.values()]
    variants += [INDEPENDENT_HEALTHY] * (len(variants) // HEALTHY_SHARE)
    variants = [
        one for one in variants if (not only or one.name in only) and any(True for _ in one.combinations(split))
    ]

    def slots() -> Iterator[tuple[Key, ...]]:
        for number in count():
            turn = Random(f"{split} {seed} {number}")
            for variant in turn.sample(variants, len(variants)):
                every = list(variant.combinations(split))
                chosen = turn.sample(every, 1 if variant.healthy else min(CANDIDATES, len(every)))
                yield tuple((variant.name, *one, 2 * (1000 * seed + number) + (split == "report")) for one in chosen)

    # Few combinations of a fault may be drawn twice.
    return list(islice(dict.fromkeys(islice(slots(), 20 * size)), size))


def measure(plugins: str, candidates: tuple[Key, ...]) -> dict[str, Any]:
    """The outcomes of the first harmful candidate with each level of evidence, or of the last one without levels."""
    started = time.process_time()
    entry: dict[str, Any] = {}
    for key in candidates:
        cases = [IndependentCase(*key, level) for level in named_fault(key[0]).levels]  # type: ignore[arg-type]
        entry = {"slot": candidates[0], "key": key, "twin_loss": cases[0].twin_loss(), "outcomes": {}, "crashes": {}}
        for case in cases:
            given = recommended() if plugins == "recommended" else shipped_guards()
            try:
                outcome = run_independent_case(case, given)
            except Exception as error:
                entry["crashes"][case.level] = f"{type(error).__name__}: {error}"
                continue
            entry["outcomes"][case.level] = attrs.asdict(outcome, filter=attrs.filters.exclude("case"))
            if not named_fault(case.fault).healthy and not outcome.harmed(entry["twin_loss"]):
                break
        else:
            break
    return entry | {"seconds": round(time.process_time() - started, 3)}


def measure_all(slots: list[tuple[Key, ...]], plugins: str, processes: int, path: Path) -> list[dict[str, Any]]:
    done: dict[Key, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            done[cast(Key, tuple(entry["slot"]))] = entry
    missing = [slot for slot in slots if slot[0] not in done]
    with path.open("a") as file, Pool(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        for entry in pool.imap_unordered(partial(measure, plugins), missing):
            done[entry["slot"]] = entry
            file.write(json.dumps(entry) + "\n")
            file.flush()
    return [done[slot[0]] for slot in slots]


def measurements(results: list[dict[str, Any]]) -> list[Measurement]:
    found = []
    for entry in results:
        key = entry["key"]
        losses = [repr(fields["clean_loss"]) for fields in entry["outcomes"].values()]
        if key[0] in (INDEPENDENT_HEALTHY.name, "closure_adds_gradients"):
            losses.append(repr(entry["twin_loss"]))
        changed = len(set(losses)) > 1 if len(losses) > 1 else None
        for level, fields in entry["outcomes"].items():
            outcome = IndependentOutcome(
                case=IndependentCase(*key, level),  # type: ignore[arg-type]
                alarms=tuple(FiredAlarm(**alarm) for alarm in fields["alarms"]),
                headlines=fields["headlines"],
                passed=tuple(fields["passed"]),
                clean_loss=fields["clean_loss"],
            )
            found.append(Measurement(outcome, entry["twin_loss"], changed))
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
            slots = plan(split, options.slice, options.seed, options.only)
            results = measure_all(slots, options.plugins, options.processes, path)
            reports[split] = IndependentReport(measurements(results))
            seconds = sum(entry["seconds"] for entry in results)
            crashes = [(entry["key"], *crash) for entry in results for crash in entry["crashes"].items()]
            print(f"{split}: {len(slots)} combinations, {seconds:.0f} s\n\n{reports[split].by_level()}\n")
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
