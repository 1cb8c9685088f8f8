"""The fault benchmark: what guards make of faults that were put into trainings on purpose, and of healthy ones.

    python tests/benchmarks/bench_faults.py --half report --seeds 8 --processes 2 --json faults.jsonl

Cases that the file already holds are not run again, unless they crashed. What was measured under other guards must
go: delete the file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from itertools import cycle
from multiprocessing import Pool
from pathlib import Path
from random import Random
from typing import Any

import attrs
from threadpoolctl import threadpool_limits

from rnncallbacks.testing import FAULTS, HEALTHY, TRAPS, Fault, Fired, Outcome, guards, run_case
from rnncallbacks.testing.cases import GUARDS
from rnncallbacks.testing.scoring import Score, harmful, wilson

HELD_OUT = ("anbn",)
"""Tasks on which no threshold was set."""

Case = tuple[str, str, str, str, int, str]


def plan(half: str, seeds: int, only: list[str]) -> list[Case]:
    """Each fault and trap with every seed in each of its loops, over tasks, cells and optimisers in turn. Twins first."""
    cases: list[Case] = []
    for fault in (*FAULTS.values(), *TRAPS.values()):
        if only and fault.name not in only:
            continue
        every = fault.combinations()
        combinations = [one for one in every if half == "report" or one[0] not in HELD_OUT] or every
        Random(fault.name).shuffle(combinations)
        turns = cycle(combinations)
        for seed in range(int(half == "report"), 2 * seeds, 2):
            cases += [(fault.name, *next(turns), seed, through) for through in fault.through]
    twins = sorted({(HEALTHY.name, *case[1:]) for case in cases})
    return twins + cases


def run(names: list[str], case: Case) -> tuple[Case, dict[str, Any], float]:
    started = time.perf_counter()
    try:
        outcome: dict[str, Any] = attrs.asdict(run_case(*case, guards(names)))  # type: ignore[arg-type]
    except Exception as error:
        outcome = {"crash": f"{type(error).__name__}: {error}"}
    return case, outcome, time.perf_counter() - started


def run_all(cases: list[Case], names: list[str], processes: int, path: Path) -> dict[Case, dict[str, Any]]:
    done: dict[Case, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if "crash" not in entry["outcome"]:
                done[tuple(entry["case"])] = entry["outcome"]
    missing = [case for case in cases if case not in done]
    with path.open("a") as file, Pool(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        for case, outcome, seconds in pool.imap_unordered(partial(run, names), missing, chunksize=4):
            done[case] = outcome
            file.write(json.dumps({"case": case, "outcome": outcome, "seconds": round(seconds, 3)}) + "\n")
            file.flush()
    return {case: done[case] for case in cases}


def as_outcome(fields: dict[str, Any]) -> Outcome:
    alarms = tuple(Fired(**alarm) for alarm in fields["alarms"])
    return Outcome(**fields | {"alarms": alarms, "repairs": tuple(fields["repairs"])})


def share(hits: int, trials: int) -> str:
    if not trials:
        return "-"
    low, high = wilson(hits, trials)
    return f"{hits}/{trials} = {hits / trials:.1%} [{low:.1%}, {high:.1%}]"


def table(rows: Iterable[Iterable[object]]) -> str:
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * (lines[0].count("|") - 1), *lines[1:]])


def report(results: dict[Case, dict[str, Any]]) -> str:
    known = {HEALTHY.name: HEALTHY, **FAULTS, **TRAPS}
    crashes = [(case, one["crash"]) for case, one in results.items() if "crash" in one]
    outcomes = {case: as_outcome(one) for case, one in results.items() if "crash" not in one}
    by_fault: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes.values():
        by_fault[outcome.fault].append(outcome)
    rows: list[list[object]] = [
        [
            "fault",
            "code",
            "runs",
            "harmful",
            "detected of harmful",
            "named of detected",
            "mentioned",
            "noted",
            "batches median",
            "90 %",
            "other causes",
        ]
    ]
    everything: list[tuple[Fault, Outcome]] = []
    for name, fault in FAULTS.items():
        if name not in by_fault:
            continue
        harmed = []
        for one in by_fault[name]:
            twin = outcomes.get((HEALTHY.name, one.task, one.cell, one.optimiser, one.seed, one.through))
            if twin is not None and harmful(fault, one, twin):
                harmed.append((fault, one))
        everything += harmed
        score = Score.of(harmed)
        others: dict[str, int] = defaultdict(int)
        for one in by_fault[name]:
            for alarm in one.loud:
                if alarm.code not in fault.codes:
                    others[alarm.code] += 1
        rows.append(
            [
                name,
                "/".join(fault.codes),
                len(by_fault[name]),
                len(harmed),
                share(score.detected, score.runs),
                share(score.named, score.detected),
                score.mentioned,
                score.noted,
                score.delay(0.5),
                score.delay(0.9),
                ", ".join(f"{code} x{number}" for code, number in sorted(others.items())),
            ]
        )
    total = Score.of(everything)
    rows.append(
        [
            "all",
            "",
            sum(len(by_fault[name]) for name in FAULTS),
            total.runs,
            share(total.detected, total.runs),
            share(total.named, total.detected),
            total.mentioned,
            total.noted,
            total.delay(0.5),
            total.delay(0.9),
            "",
        ]
    )
    quiet: list[list[object]] = [["healthy or trap", "runs", "false alarms", "per 1,000 batches", "codes"]]
    healthy_runs = [name for name in known if known[name].kind != "fault" and name in by_fault]
    for name in (*healthy_runs, "all"):
        runs = [one for each in healthy_runs for one in by_fault[each]] if name == "all" else by_fault[name]
        false = [one for one in runs if one.loud]
        codes = sorted({alarm.code for one in false for alarm in one.loud})
        batches = sum(one.batches for one in runs)
        alarms = sum(len(one.loud) for one in runs)
        per = f"{1000 * alarms / batches:.3f}" if batches else "-"
        quiet.append([name, len(runs), share(len(false), len(runs)), per, ", ".join(codes)])
    text = table(rows) + "\n\n" + table(quiet)
    for case, crash in crashes[:20]:
        text += f"\n\ncrashed: {' '.join(map(str, case))}: {crash}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("faults.jsonl"))
    parser.add_argument("--only", nargs="*", default=[], help="names of faults and traps")
    parser.add_argument("--guards", nargs="*", default=list(GUARDS), help="entry points of the guards to be measured")
    parser.add_argument("--alarms", action="store_true", help="list the alarms of every case")
    options = parser.parse_args()
    results = run_all(plan(options.half, options.seeds, options.only), options.guards, options.processes, options.json)
    if options.alarms:
        for case, one in results.items():
            fired = [
                (alarm["code"], alarm["severity"], alarm["batch"], alarm["explained_by"])
                for alarm in one.get("alarms", [])
            ]
            print(*case, f"{one.get('true_loss', float('nan')):.3f}", one.get("crash", fired))
    print(report(results))


if __name__ == "__main__":
    main()
