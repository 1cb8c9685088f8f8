"""The fault benchmark: runs guards on training runs with known faults, and on healthy ones.

    python tests/benchmarks/bench_faults.py --half report --seeds 8 --processes 2 --json faults.jsonl

Published rules run along with the guards, and repairable faults also run with the plugin self_repair. Cases in the JSON
file are not run again, unless they crashed. Delete the file after a change to a guard.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from itertools import cycle
from multiprocessing import Pool
from pathlib import Path
from random import Random
from typing import Any

import attrs
import numpy as np
from comparators import COMPARATORS
from fault_report import OURS, Measured, Report, repairable
from threadpoolctl import threadpool_limits

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.config.configuration import PRESETS
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.plugins.remedies.self_repair import REMEDIES, SelfRepair
from rnncallbacks.testing import FAULTS, HEALTHY, TRAPS, CaseOutcome, FiredAlarm, run_case, shipped_guards

HELD_OUT = ("anbn",)
"""Tasks that were not used to set thresholds."""

Case = tuple[str, str, str, str, str, int, str]
"""What reacts to alarms ("watch", "repair" or "random"), and the arguments of run_case."""


@attrs.define(eq=False, kw_only=True)
class RandomRepair(SelfRepair):
    """Like self_repair, with a random remedy of another code for each alarm."""

    seed: int = 0

    @hookimpl
    def on_alarm(self, run: Run, alarm: Alarm) -> None:
        if alarm.code in REMEDIES:
            others = [code for code, remedy in REMEDIES.items() if remedy is not REMEDIES[alarm.code]]
            generator = np.random.default_rng([self.seed, int(alarm.code[3:])])
            super().on_alarm(run, attrs.evolve(alarm, code=str(generator.choice(others))))


def plan(half: str, seeds: int, only: list[str], quick: bool, skip: int = 0) -> list[Case]:
    """The cases, healthy twins first.

    Each fault and trap runs with every seed in each of its loops. Its runs cycle through its tasks, cells and
    optimizers. A quick run has one case of each. ``skip`` leaves out the cases of the first seeds, for example because
    they were inspected while a guard was developed.
    """
    cases: list[Case] = []
    for number, fault in enumerate((*FAULTS.values(), *TRAPS.values())):
        if only and fault.name not in only:
            continue
        loops = (fault.loops[number % len(fault.loops)],) if quick else fault.loops
        turns = {}
        for loop in loops:
            every = fault.combinations(loop)
            combinations = [one for one in every if half == "report" or one[0] not in HELD_OUT] or every
            Random(fault.name + loop).shuffle(combinations)
            turns[loop] = cycle(combinations)
        arms = ("watch", "repair", "random") if repairable(fault) else ("watch",)
        for number_of_seed in range(skip + (1 if quick else seeds)):
            for loop in loops:
                case = (fault.name, *next(turns[loop]), 2 * number_of_seed + int(half == "report"), loop)
                cases += [(arm, *case) for arm in arms if number_of_seed >= skip]
    twins = sorted({("watch", HEALTHY.name, *case[2:]) for case in cases})
    return twins + cases


def run(names: list[str], case: Case) -> tuple[Case, dict[str, Any]]:
    arm, fault, task, cell, optimizer, seed, loop = case
    rules = {f"rule_{number}": rule() for number, rule in enumerate(COMPARATORS)} if arm == "watch" else {}
    repair = {"repair": SelfRepair(), "random": RandomRepair(seed=seed)}.get(arm)
    plugins: dict[str, object] = {**shipped_guards(names), **rules, **({"self_repair": repair} if repair else {})}
    started = time.perf_counter()
    try:
        outcome = attrs.asdict(run_case(fault, task, cell, optimizer, seed, loop, plugins))  # type: ignore[arg-type]
        entry: dict[str, Any] = {"outcome": outcome, "rules": {rule.label: rule.findings for rule in rules.values()}}
    except Exception as error:
        entry = {"crash": f"{type(error).__name__}: {error}"}
    return case, entry | {"seconds": round(time.perf_counter() - started, 3)}


def run_all(cases: list[Case], names: list[str], processes: int, path: Path) -> dict[Case, dict[str, Any]]:
    done: dict[Case, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if "crash" not in entry:
                done[tuple(entry["case"])] = entry
    missing = [case for case in cases if case not in done]
    with path.open("a") as file, Pool(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        for case, entry in pool.imap_unordered(partial(run, names), missing, chunksize=4):
            done[case] = entry
            file.write(json.dumps({"case": case} | entry) + "\n")
            file.flush()
    return {case: done[case] for case in cases}


def as_outcome(fields: dict[str, Any]) -> CaseOutcome:
    alarms = tuple(FiredAlarm(**alarm) for alarm in fields["alarms"])
    return CaseOutcome(**fields | {"alarms": alarms, "repairs": tuple(fields["repairs"])})


def measured(results: dict[Case, dict[str, Any]]) -> list[Measured]:
    known = {HEALTHY.name: HEALTHY, **FAULTS, **TRAPS}
    entries = {case: entry for case, entry in results.items() if "crash" not in entry}
    ours = {case: as_outcome(entry["outcome"]) for case, entry in entries.items()}
    found = []
    for case, entry in entries.items():
        outcomes = {OURS: ours[case]}
        for label, findings in entry["rules"].items():
            alarms = tuple(FiredAlarm(code, "warning", batch, None) for code, batch in findings.items())
            outcomes[label] = attrs.evolve(ours[case], alarms=alarms)
        twin = ours.get(("watch", HEALTHY.name, *case[2:]))
        found.append(Measured(arm=case[0], fault=known[case[1]], outcomes=outcomes, twin=twin))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--skip", type=int, default=0, help="number of seeds to leave out (default: 0)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file that stores results between runs")
    parser.add_argument("--quick", action="store_true", help="run each fault and trap once, in about a minute")
    parser.add_argument("--page", type=Path, help="write the page of the reference to this file")
    parser.add_argument("--only", nargs="*", default=[], help="names of faults and traps")
    parser.add_argument(
        "--guards", nargs="*", default=list(PRESETS["guards"]), help="entry points of the guards to measure"
    )
    parser.add_argument("--alarms", action="store_true", help="list the alarms of every case")
    options = parser.parse_args()
    cases = plan(options.half, options.seeds, options.only, options.quick, options.skip)
    with tempfile.TemporaryDirectory() as folder:
        path = options.json or Path(folder) / "faults.jsonl"
        results = run_all(cases, options.guards, options.processes, path)
    for case, entry in results.items():
        if "crash" in entry:
            print(*case, "crashed:", entry["crash"])
        elif options.alarms:
            outcome = as_outcome(entry["outcome"])
            fired = [(one.code, one.severity, one.batch, one.explained_by) for one in outcome.alarms]
            print(*case, f"{outcome.true_loss:.3f}", fired, *outcome.repairs)
    report = Report(measured(results))
    print(report.text())
    if options.page:
        arguments = [word for word in sys.argv[1:] if not word.startswith("--json")]
        if options.json:
            arguments.remove(str(options.json))
        options.page.write_text(report.page(" ".join(["python tests/benchmarks/bench_faults.py", *arguments])))


if __name__ == "__main__":
    main()
