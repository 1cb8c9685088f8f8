"""The time that a checkpoint takes beside a plain safetensors file of the same parameters and optimizer state.

The two are written in turns, and the median over the pairs is printed. Both are made in memory, written and, with
``--fsync``, flushed to the disk. The run is in its fourth epoch of a network with the optimizer state of Adam, with the
recommended plugins or without plugins.

    python tests/benchmarks/bench_checkpoint.py --out checkpoint.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from safetensors.numpy import save

from rnncallbacks import Run, recommended
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.core.checkpoint_file import save_checkpoint

SIZES = {"small": 32, "medium": 512, "large": 1600}
"""Units of a vanilla network with 96 inputs and outputs, in float32."""
INPUTS = 96
BATCHES = 12
PAIRS = {"small": 60, "medium": 30, "large": 8}


def runs(hidden: int, plugins: dict[str, object]) -> Iterator[Run]:
    """A run with the state that plugins have after a few batches, while its last batch is open."""
    generator = np.random.default_rng(0)
    shapes = {
        "Wxh": (hidden, INPUTS),
        "Whh": (hidden, hidden),
        "bh": (hidden, 1),
        "Why": (INPUTS, hidden),
        "by": (INPUTS, 1),
    }
    params = {name: generator.normal(0, 0.01, shape).astype(np.float32) for name, shape in shapes.items()}
    moments = {f"{name}.{moment}": np.zeros_like(array) for name, array in params.items() for moment in "mv"}
    options = {"learning_rate": 1e-4, "optimizer_state": moments, "hidden_size": hidden}
    with Run(params, plugins=plugins, **options) as run:
        for _ in run.epochs(4):
            for number in run.batches(range(BATCHES)):
                grads = {name: generator.normal(0, 0.01, one.shape).astype(np.float32) for name, one in params.items()}
                run.backward(3.0 - 0.01 * number, grads)
                for name, array in params.items():
                    array -= run.learning_rate * grads[name]
                if run.epoch == 4 and number == BATCHES - 1:
                    yield run


def save_plain(run: Run, path: Path, *, fsync: bool) -> None:
    """Write the parameters and the optimizer state to a safetensors file, as a script would."""
    arrays = {**named_arrays(run.params, "params"), **named_arrays(run.optimizer_state, "optimizer_state")}
    with open(path, "wb") as file:
        file.write(save(arrays))
        if fsync:
            file.flush()
            os.fsync(file.fileno())


def measure(size: str, plugins: str, fsync: bool, folder: Path) -> dict[str, Any]:
    """The median times in seconds of both files, and the median of the ratios of the pairs."""
    open_runs = runs(SIZES[size], recommended() if plugins == "recommended" else {})
    run = next(open_runs)
    checkpoint, plain = [], []
    for pair in range(PAIRS[size] + 1):
        started = time.perf_counter()
        save_checkpoint(run, None, folder / "checkpoint", fsync=fsync)
        between = time.perf_counter()
        save_plain(run, folder / "plain", fsync=fsync)
        ended = time.perf_counter()
        if pair:  # the first pair makes the files
            checkpoint.append(between - started)
            plain.append(ended - between)
    open_runs.close()
    return {
        "size": size,
        "parameters": sum(array.size for array in named_arrays(run.params, "params").values()),
        "plugins": plugins,
        "fsync": fsync,
        "pairs": PAIRS[size],
        "checkpoint": statistics.median(checkpoint),
        "plain": statistics.median(plain),
        "ratio": statistics.median(map(float.__truediv__, checkpoint, plain)),
        "checkpoint_bytes": (folder / "checkpoint").stat().st_size,
        "plain_bytes": (folder / "plain").stat().st_size,
    }


def main() -> None:
    """Measure all sizes, and print one JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="Where the lines go as well.")
    out = parser.parse_args().out
    lines = []
    for size in SIZES:
        for plugins in ("none", "recommended"):
            for fsync in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    lines.append(json.dumps(measure(size, plugins, fsync, Path(folder))))
                print(lines[-1], flush=True)
    if out is not None:
        out.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
