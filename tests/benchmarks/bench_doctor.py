"""The benchmark of the doctor: training scripts as strangers write them, healthy and with faults.

    python tests/benchmarks/bench_doctor.py --half tune --json doctor-tune.jsonl --misses misses.md
    python tests/benchmarks/bench_doctor.py --case twofloors/never_zeroed
    python tests/benchmarks/bench_doctor.py --json doctor.jsonl --page docs/reference/doctor-benchmark.md

Each script, and each fault of it, is copied to a folder of its own and given to ``rnncallbacks doctor --json``. Results
in the JSON file are not measured again: delete the file after a change to the doctor. Thresholds are set on the half
"tune"; nobody looks at single cases of the half "report" meanwhile.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from doctor_cases import Half, ScriptFault, StrangerScript, code_of, stranger_scripts
from doctor_report import PAGE_COMMAND, DoctorMeasurement, DoctorReport

MOST_SECONDS = 120
"""Seconds after which a doctor is ended."""

MARK = "DOCTOR_BENCHMARK"
"""Variable of the environment by which processes that a doctor left behind are found."""


def cases(
    half: Half | None, names: Sequence[str], faults_each: int | None = None
) -> Iterator[tuple[StrangerScript, ScriptFault | None]]:
    """Each script, healthy and with each of its faults, or with the first ``faults_each`` of them."""
    for script in stranger_scripts().values():
        if (half and script.half != half) or (names and script.name not in names):
            continue
        yield script, None
        for fault in script.faults[:faults_each]:
            yield script, fault


def doctor_command(main: Path, script: StrangerScript, *options: str) -> list[str]:
    return [sys.executable, "-m", "rnncallbacks", "doctor", *options, main.name, *script.arguments]


def measure(
    script: StrangerScript, fault: ScriptFault | None, python: str = sys.executable, options: Sequence[str] = ()
) -> dict[str, Any]:
    """What the doctor, with options, says of a script, and what it changed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        main = script.copy_to(folder / "script", fault)
        before = contents(folder)
        mark = uuid.uuid4().hex
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", MARK: mark}
        prints = Path(name) / "prints.txt"
        command = [python, *doctor_command(main, script, "--json", "--output", str(prints), *options)[1:]]
        started, processor_before = time.monotonic(), processor_seconds()
        try:
            done = subprocess.run(
                command,
                cwd=main.parent,
                env=environment,
                capture_output=True,
                text=True,
                timeout=MOST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no answer in {MOST_SECONDS} s", "seconds": MOST_SECONDS}
        seconds = time.monotonic() - started
        known = contents(folder)
        known.pop(prints.name, None)
        changed = sorted(path for path, state in known.items() if before.get(path) != state)
        try:
            document = json.loads(done.stdout)
        except ValueError:
            document = {"error": (done.stdout + done.stderr).strip()[-400:]}
        return {
            "document": document,
            "status": done.returncode,
            "seconds": round(seconds, 2),
            "processor_seconds": round(processor_seconds() - processor_before, 2),
            "changed_files": changed,
            "left_behind": left_behind(mark),
            "prints": None
            if fault or not prints.exists()
            else compared_prints(prints.read_bytes(), main, script, python),
            "output": done.stderr[-20000:],
        }


def compared_prints(prints: bytes, main: Path, script: StrangerScript, python: str) -> str | None:
    """Whether a script prints "the same" without the doctor or "other" text, as far as the doctor has run it.

    None if it prints nothing so far, or other text in each run.
    """
    if not prints:
        return None
    plain = first_prints(len(prints), main, script, python)
    if plain == prints:
        return "the same"
    return None if first_prints(len(prints), main, script, python) != plain else "other"


def first_prints(length: int, main: Path, script: StrangerScript, python: str) -> bytes:
    """The first bytes that a script prints."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    runnable = main
    if main.suffix == ".ipynb":
        runnable = main.with_name(f"{main.stem}_cells.py")
        runnable.write_text(code_of(main), encoding="utf-8")
    process = subprocess.Popen(
        [python, "-u", runnable.name, *script.arguments],
        cwd=main.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    timer = threading.Timer(MOST_SECONDS, process.kill)
    timer.start()
    assert process.stdout is not None
    with process.stdout:
        found = process.stdout.read(length)
    timer.cancel()
    process.kill()
    process.wait()
    return found


def processor_seconds() -> float:
    """Seconds of processors that ended children of this process, and theirs, took; they do not depend on the load."""
    times = os.times()
    return times.children_user + times.children_system


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def left_behind(mark: str) -> int:
    """Processes that have the mark in their environment, on systems that show it."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found += f"{MARK}={mark}".encode() in path.read_bytes()
        except OSError:
            continue
    return found


def measure_all(
    chosen: Sequence[tuple[StrangerScript, ScriptFault | None]], python: str, path: Path | None
) -> list[DoctorMeasurement]:
    """Measures what the file of results does not have. One at a time: the seconds of each are measured."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    if path is not None and path.exists():
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            known[entry["script"], entry["fault"]] = entry
    measured = []
    for script, fault in chosen:
        key = (script.name, fault.name if fault else "")
        if key not in known:
            known[key] = {"script": key[0], "fault": key[1], **measure(script, fault, python)}
            if path is not None:
                with path.open("a") as file:
                    file.write(json.dumps(known[key]) + "\n")
        one = DoctorMeasurement.of(script, fault, known[key])
        measured.append(one)
        print(one.summary, flush=True)
    return measured


def show(words: str, python: str) -> None:
    """Shows what the doctor prints of one case."""
    name, _, fault_name = words.partition("/")
    script = stranger_scripts()[name]
    fault = script.fault(fault_name)
    with tempfile.TemporaryDirectory() as folder:
        main = script.copy_to(Path(folder) / "script", fault)
        command = [python, *doctor_command(main, script)[1:]]
        subprocess.run(command, cwd=main.parent, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, check=False)
    if fault is not None:
        print(f"\nexpected: {' or '.join(fault.codes)}; the patched line: {script.patched_line(fault).strip()}")
    print(f"truth: {script.truth}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="scripts (default: all)")
    parser.add_argument("--half", choices=get_args(Half), help="one half of the scripts (default: both)")
    parser.add_argument("--healthy", action="store_true", help="only scripts without a fault")
    parser.add_argument(
        "--faults-each", type=int, help="number of faults of each script, the first ones (default: all)"
    )
    parser.add_argument("--only", help="only faults of a code")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the doctor to be measured")
    parser.add_argument("--json", type=Path, help="file that stores results between runs")
    parser.add_argument("--page", type=Path, help="write the page of the documentation to this file")
    parser.add_argument("--misses", type=Path, help="write what went wrong in the half tune to this file")
    parser.add_argument("--case", help="SCRIPT or SCRIPT/FAULT: show what the doctor prints of one case")
    options = parser.parse_args()
    if options.case:
        show(options.case, options.python)
        return
    chosen = [
        (script, fault)
        for script, fault in cases(options.half, options.names, options.faults_each)
        if not (options.healthy and fault) and not (options.only and (fault is None or options.only not in fault.codes))
    ]
    report = DoctorReport(measure_all(chosen, options.python, options.json))
    print(report.goals())
    if options.misses:
        options.misses.write_text(report.misses(), encoding="utf-8")
    if options.page:
        given = sys.argv[1:]
        for option in ("--json", "--page", "--misses", "--python"):
            if option in given:
                del given[given.index(option) : given.index(option) + 2]
        options.page.write_text(report.page(" ".join([PAGE_COMMAND, *given])), encoding="utf-8")


if __name__ == "__main__":
    main()
