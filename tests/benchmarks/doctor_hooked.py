"""The scripts that ``rnncallbacks doctor --write-hooked`` writes, and whether they get the diagnosis of the original.

    python tests/benchmarks/doctor_hooked.py --half tune
    python tests/benchmarks/doctor_hooked.py willow kestrel

Each script is examined, written with hooks and examined again by its ``Run`` alone. A line for each script has the
causes of both diagnoses, and the checks that only the first one made.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, get_args

import attrs
from doctor_cases import Half, StrangerScript, stranger_scripts

HOOKED = "hooked.py"

Doctor: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
"""Runs the command ``doctor`` with arguments in a directory, ``cwd``."""


@attrs.frozen
class HookedDiagnosis:
    """The diagnoses of a script and of its hooked version; ``problem`` is the reason why there are none."""

    causes: tuple[str, ...] = ()
    hooked_causes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    problem: str = ""

    @property
    def same(self) -> bool:
        return not self.problem and self.causes == self.hooked_causes


def causes_of(diagnosis: dict[str, Any]) -> tuple[str, ...]:
    """The codes of the causes, without notes."""
    alarms = diagnosis["alarms"]
    return tuple(sorted(one["code"] for one in alarms if one["explained_by"] is None and one["severity"] != "info"))


def compare(main: Path, arguments: tuple[str, ...], batches: int, doctor: Doctor) -> HookedDiagnosis:
    """Examine a script in its folder, which is changed, and examine its hooked version."""
    folder = main.parent
    limits = ["--json", "--batches", str(batches)]
    done = doctor(*limits, "--write-hooked", HOOKED, main.name, *arguments, cwd=folder)
    if not (folder / HOOKED).exists():
        return HookedDiagnosis(problem=(done.stderr.strip().splitlines() or ["nothing was written"])[-1])
    found = json.loads(done.stdout)
    loop_file = folder / found["loop"]["file"]
    started = HOOKED
    if loop_file.name != main.name:  # a module of the script
        shutil.move(folder / HOOKED, loop_file)
        started = main.name
    done = doctor(*limits, "--given-only", started, *arguments, cwd=folder)
    try:
        (run,) = json.loads(done.stdout)["runs"]
    except ValueError:
        return HookedDiagnosis(problem=done.stderr.strip()[-500:])
    if found["diagnosis"] is None:
        return HookedDiagnosis(problem="the script itself got no diagnosis")
    lost = found["diagnosis"]["passed"].keys() - run["passed"].keys() - {one["code"] for one in run["alarms"]}
    return HookedDiagnosis(causes_of(found["diagnosis"]), causes_of(run), tuple(sorted(lost)))


def run_doctor(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rnncallbacks", "doctor", *arguments]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def compare_case(script: StrangerScript, batches: int = 80, doctor: Doctor = run_doctor) -> HookedDiagnosis:
    with tempfile.TemporaryDirectory() as folder:
        main = script.copy_to(Path(folder) / "script", None)
        return compare(main, script.arguments, batches, doctor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of scripts; all by default")
    parser.add_argument("--half", choices=get_args(Half))
    given = parser.parse_args()
    for script in stranger_scripts().values():
        wanted = script.name in given.names if given.names else given.half in (None, script.half)
        if wanted and not script.truth.crash:
            one = compare_case(script)
            told = one.problem or ("the same" if one.same else f"{one.causes} became {one.hooked_causes}")
            print(f"{script.name:18}{told}", f"lost: {' '.join(one.lost)}" if one.lost else "", flush=True)


if __name__ == "__main__":
    main()
