"""The time that ``import rnncallbacks`` adds to ``import numpy``: the median wall time of fresh processes.

python tests/benchmarks/bench_import.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

PROGRAM = "import time; import numpy; start = time.perf_counter(); {}; print((time.perf_counter() - start) * 1e3)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {"import rnncallbacks": [], "from rnncallbacks import Trainer": []}
    for _ in range(rounds):
        for statement, samples in times.items():
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM.format(statement)], capture_output=True, text=True, check=True
            )
            samples.append(float(done.stdout))
    for statement, samples in times.items():
        print(f"{statement:<34} {statistics.median(samples):6.1f} ms beyond NumPy (lowest {min(samples):.1f})")


if __name__ == "__main__":
    main()
