"""The speed benchmark: the time of a training step and of an epoch, compared with other libraries.

    python tests/benchmarks/bench_speed.py --json speed.json --page docs/reference/speed-benchmark.md

runs everything (about an hour, or some minutes with ``--quick``), prints tables, and writes the page and its chart next
to it. Cases in the JSON file are not run again, so the same command resumes where it was stopped, or renders the page
again. It refuses results of another machine or of other versions: delete the file then.

Contenders that are not installed are left out. The extra ``compare`` installs all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from speed.epochs import FRAMEWORKS, Epoch, measure_epochs
from speed.plot import draw
from speed.report import Report
from speed.scaling import measure_memory, measure_scaling
from speed.task import GATES, Task
from speed.turns import WAYS, measure_step, missing
from threadpoolctl import threadpool_info

SIZES = (
    (25, 1, 65, 100),
    (32, 16, 65, 64),
    (64, 32, 103, 128),
    (64, 32, 103, 256),
    (64, 64, 65, 512),
    (35, 20, 10000, 200),
)
EPOCHS = (Epoch(64, 32, 128), Epoch(25, 1, 100, characters=50_000))
GROWING = {"seq_len": (16, 32, 103, 128), "batch_size": (64, 8, 103, 128)}
PARTS = ("steps", "scaling", "memory", "epochs")

Case = dict[str, Any]
Measure = Callable[[], Any]


def plan(options: argparse.Namespace) -> Iterator[tuple[Case, Measure]]:
    """Every case, with the function that measures it."""
    left_out = missing([*WAYS, *FRAMEWORKS])
    for name in left_out:
        print(f"{name} is not installed and is left out", file=sys.stderr)
    contenders = [name for name in WAYS if name not in left_out]
    frameworks = [name for name in FRAMEWORKS if name not in left_out and not (name == "keras" and "jax" in left_out)]
    rounds, seconds = options.rounds, options.seconds
    for count in options.threads if "steps" in options.parts else ():
        for cell in options.cells:
            for size in options.sizes:
                case = {"part": "steps", "threads": count, "cell": cell, "size": list(size)}
                yield case, partial(measure_step, Task(cell, *size), contenders, count, rounds, seconds)
    for cell in options.cells if "scaling" in options.parts else ():
        for axis, size in GROWING.items():
            case = {"part": "scaling", "cell": cell, "axis": axis, "size": list(size)}
            yield case, partial(measure_scaling, Task(cell, *size), axis, rounds, seconds)
    for cell in options.cells if "memory" in options.parts else ():
        for size in options.sizes:
            case = {"part": "memory", "cell": cell, "size": list(size)}
            yield case, partial(measure_memory, Task(cell, *size))
    for count in options.threads if "epochs" in options.parts else ():
        for epoch in options.epochs:
            size = [epoch.seq_len, epoch.batch_size, epoch.hidden_size]
            case = {"part": "epochs", "threads": count, "size": size, "characters": epoch.characters}
            yield case, partial(measure_epochs, epoch, frameworks, count, max(2, rounds // 2))


def machine() -> dict[str, str]:
    """The versions and the hardware on which the results depend."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    # NumPy's BLAS is loaded first. PyTorch brings its own.
    blas = next(one for one in threadpool_info() if one["user_api"] == "blas")
    found = {
        "processor": f"{name}, {os.cpu_count()} cores",
        "system": f"{platform.system()}, Python {platform.python_version()}",
        "NumPy": f"{version('numpy')}, {blas['internal_api']} {blas['version']} ({blas.get('architecture', '?')})",
    }
    for title, package in (("PyTorch", "torch"), ("JAX", "jax"), ("Lightning", "lightning"), ("Keras", "keras")):
        try:
            found[title] = version(package)
        except PackageNotFoundError:
            found[title] = "not installed"
    return found


def run_all(cases: Iterable[tuple[Case, Measure]], path: Path | None) -> dict[str, Any]:
    """The results of all cases. Each is written to the file as soon as it is measured."""
    here = machine()
    kept = json.loads(path.read_text()) if path and path.exists() else {"machine": here, "cases": []}
    if kept["machine"] != here:
        sys.exit(f"{path} holds results of another machine or of other versions: delete it, or choose another file")
    wanted = []
    for case, measure in cases:
        found = [one for one in kept["cases"] if case.items() <= one.items()]
        if not found:
            print(*case.values(), file=sys.stderr, flush=True)
            # Through JSON, so that new results look like stored ones.
            found = [json.loads(json.dumps(case | {"result": measure()}))]
            kept["cases"] += found
            if path:
                path.write_text(json.dumps(kept))
        wanted += found
    return {"machine": here, "cases": wanted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file that stores results between runs")
    parser.add_argument("--page", type=Path, help="write the page of the reference to this file")
    parser.add_argument("--quick", action="store_true", help="two sizes, few rounds, one thread")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--cells", nargs="*", choices=GATES, default=list(GATES), help="default: all")
    parser.add_argument("--sizes", nargs="*", type=size_of, metavar="T,B,V,H", help="default: all six")
    parser.add_argument("--threads", nargs="*", type=int, help="threads of the linear algebra (default: 1 2)")
    parser.add_argument("--rounds", type=int, help="samples of each contender (default: 11)")
    options = parser.parse_args()
    options.threads = options.threads or ([1] if options.quick else [1, 2])
    options.sizes = options.sizes or (SIZES[:3:2] if options.quick else SIZES)
    options.rounds = options.rounds or (3 if options.quick else 11)
    options.seconds = 0.02 if options.quick else 0.1
    options.epochs = (Epoch(64, 32, 128, 50_000), Epoch(25, 1, 100, 5_000)) if options.quick else EPOCHS
    report = Report(run_all(plan(options), options.json))
    print(report.text())
    if options.page:
        picture = options.page.with_suffix(".svg")
        words = sys.argv[1:]
        if options.json:
            at = words.index("--json")
            del words[at : at + 2]
        command = shlex.join(["python", "tests/benchmarks/bench_speed.py", *words])
        options.page.write_text(report.page(command, picture.name))
        draw(report, picture)


def size_of(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
