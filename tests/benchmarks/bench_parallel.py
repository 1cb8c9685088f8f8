"""Times training on several ranks, and fits a model of its cost.

``pairs`` times a step on 2 ranks, on 1 rank with 1 and with 2 threads, and on 1 rank with half of the rows, alternately
and for all sizes, and prints one table. It needs two free cores, and ends after ``--seconds``. ``measure`` times steps
of one process and reductions of 2 and 4 ranks, and writes them to a file. ``model`` fits the model of
docs/explanation/parallel.md to such a file, and prints the tables of that page.

    python tests/benchmarks/bench_parallel.py pairs
    python tests/benchmarks/bench_parallel.py pairs --seconds 60 --hidden 64
    python tests/benchmarks/bench_parallel.py measure --out tests/benchmarks/parallel_costs.json
    python tests/benchmarks/bench_parallel.py model
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnncallbacks import hookimpl
from rnncallbacks.parallel.communicator import connect
from rnncallbacks.parallel.mpi_library import command_on_ranks
from rnncallbacks.plugins import DataParallel, HiddenStateReset
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.training.trainer import Trainer

COSTS = Path(__file__).with_name("parallel_costs.json")
VOCABULARY = 64
STEPS = 32
"""Time steps of a sequence in the predictions."""
MEASURED_STEPS = (32, 128)
"""Time steps of a sequence in the measurements for the model."""
PAIRS = [
    ("vanilla", 128, 32, 64, 120),
    ("lstm", 128, 32, 64, 40),
    ("vanilla", 128, 32, 128, 50),
    ("lstm", 128, 32, 128, 16),
    ("vanilla", 128, 32, 256, 18),
    ("lstm", 128, 32, 256, 8),
    ("vanilla", 64, 64, 512, 8),
    ("lstm", 64, 64, 512, 6),
]
"""Cell, time steps, sequences of the whole batch, hidden units, and steps of a run, which take about half a second."""
FIRST_STEPS = 2
"""Steps of a run that are not counted: they allocate arrays."""
MEASURED_SIZES = (64, 128, 512)
CHECKED_SIZE = 256
"""Hidden units to which the model is not fitted, but compared with."""
MEASURED_ROWS = (4, 8, 16)
REDUCED_NUMBERS = (16, 10_000, 100_000, 1_000_000)
"""Float32 numbers in a reduction."""
MESSAGES = 3
"""Messages that the ranks exchange in a training batch: the gradients, and a few numbers two times."""
SLOT = 44
"""Numbers that each rank adds to the gradients."""
SEQUENCES = 1024
"""Sequences of the whole batch in the predictions."""
NETWORK = {"latency": 2e-6, "bandwidth": 12.5e9}
"""Assumed for ranks on several machines: 100 Gbit/s, and 2 microseconds a message. Not measured."""
SPREAD = 0.05
"""Assumed standard deviation of a rank's step, relative to its mean. Not measured: a busy machine shows its own."""
PAYS = 1.5
"""A doubling of the ranks pays if it makes a step faster by this factor."""


class StepTimes:
    """A plugin that notes the time of each training step, by a clock in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.times: list[float] = []
        self._clock = clock
        self._begun = 0.0

    @hookimpl
    def on_batch_start(self) -> None:
        now = self._clock()
        if self._begun:
            self.times.append(now - self._begun)
        self._begun = now


def step_times(
    cell: str, seq_len: int, rows: int, hidden: int, steps: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Seconds of the steps of a run, without the first ones."""
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (seq_len + 1, rows))
    batch = SequenceBatch(tokens[:-1], tokens[1:])
    model, times = RecurrentModel(hidden, vocab_size=VOCABULARY, cell=cell), StepTimes(clock)
    plugins = [HiddenStateReset(when="batch"), DataParallel(), times]
    Trainer(model, Adam(), plugins=plugins, learning_rate=1e-3).fit([batch] * steps, max_epochs=1, progress=False)
    return times.times[FIRST_STEPS:]


def reductions(numbers: tuple[int, ...], repetitions: int) -> list[tuple[int, float, float]]:
    """Numbers in a reduction, with the shortest and the median time in seconds."""
    ranks = connect()
    assert ranks is not None
    found = []
    for count in numbers:
        array, times = np.zeros(count, np.float32), []
        for _ in range(repetitions):
            began = time.perf_counter()
            ranks.sum(array)
            times.append(time.perf_counter() - began)
        found.append((count, min(times), statistics.median(times)))
    return found


def started(ranks: int, threads: int, *arguments: object) -> Any:
    """The JSON that rank 0 of this program prints, when it is started on so many ranks."""
    program = [str(Path(__file__).resolve()), *map(str, arguments)]
    command = [sys.executable, *program] if ranks == 1 else command_on_ranks(ranks, program)
    environment = os.environ | {"OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout)


def pair_times(hidden: int, *, with_halves: bool) -> list[list[float]]:
    """Seconds of the steps of each pair, and with ``with_halves``, of each with half of the rows after it."""
    return [
        step_times(cell, seq_len, count, size, steps)
        for cell, seq_len, rows, size, steps in PAIRS
        if hidden in (0, size)
        for count in ((rows, rows // 2) if with_halves else (rows,))
    ]


def compare_pairs(seconds: float, hidden: int) -> list[str]:
    """Lines of a table: milliseconds of a step, the minimum and the median over all rounds, and their ratios."""
    began, rounds, longest = time.perf_counter(), 0, 0.0
    chosen = [one for one in PAIRS if hidden in (0, one[3])]
    # A rank with half of the rows and no other rank is the limit of two ranks.
    times: list[list[list[float]]] = [[[], [], [], []] for _ in chosen]
    while not rounds or time.perf_counter() - began + longest < seconds:
        round_began = time.perf_counter()
        one_thread = started(1, 1, "pair-times", hidden, "halves")
        two_threads, two_ranks = started(1, 2, "pair-times", hidden), started(2, 1, "pair-times", hidden)
        for found, *new in zip(times, one_thread[::2], two_threads, one_thread[1::2], two_ranks, strict=True):
            for all_rounds, this_round in zip(found, new, strict=True):
                all_rounds += this_round
        rounds, longest = rounds + 1, max(longest, time.perf_counter() - round_began)
    lines = [f"{rounds} rounds in {time.perf_counter() - began:.0f} s, milliseconds, minimum and median", ""]
    lines.append(
        "| cell | T, B, H | one thread | two threads | half of the rows | two ranks | gain | over two threads |"
    )
    lines.append("|---|---|---|---|---|---|---|---|")
    for (cell, seq_len, rows, size, _), found in zip(chosen, times, strict=True):
        numbers = [(min(one), statistics.median(one)) for one in found]
        cells = [f"{1e3 * low:.2f}, {1e3 * middle:.2f}" for low, middle in numbers]
        one, two, _, parallel = numbers
        gains = [", ".join(f"{a / b:.2f}" for a, b in zip(other, parallel, strict=True)) for other in (one, two)]
        lines.append(f"| {cell} | {seq_len}, {rows}, {size} | {' | '.join(cells)} | {' | '.join(gains)} |")
    return lines


def measure(steps: int, rounds: int) -> dict[str, Any]:
    """What the model is fitted to: minima over all rounds.

    Steps of one process are in processor time, so that they do not need a free core.
    """
    cases = itertools.product(("vanilla", "lstm"), MEASURED_STEPS, (*MEASURED_SIZES, CHECKED_SIZE), MEASURED_ROWS)
    compute = dict.fromkeys(cases, math.inf)
    reduction: dict[int, list[list[tuple[int, float, float]]]] = {2: [], 4: []}
    for _ in range(rounds):
        for cell, seq_len, hidden, rows in compute:
            found = started(1, 1, "processor", cell, seq_len, rows, hidden, steps)
            compute[cell, seq_len, hidden, rows] = min(compute[cell, seq_len, hidden, rows], *found)
        for ranks, rounds_of_ranks in reduction.items():
            rounds_of_ranks.append(started(ranks, 1, "reductions"))
    return {
        "compute": [[*case, seconds] for case, seconds in compute.items()],
        "reduction": {
            ranks: [list(map(min, zip(*one, strict=True))) for one in zip(*rounds_of_ranks, strict=True)]
            for ranks, rounds_of_ranks in reduction.items()
        },
    }


class CostModel:
    """Seconds of a training step on p ranks.

    Parameters
    ----------
    costs:
        What :func:`measure` returned.
    """

    def __init__(self, costs: dict[str, Any]) -> None:
        self.costs = costs
        two = {count: low for count, low, _ in costs["reduction"]["2"]}
        smallest, largest = min(two), max(two)
        self.latency = two[smallest]
        self.bandwidth = 4 * largest / (two[largest] - two[smallest])  # on 2 ranks, each sends the array once
        self._fitted = {cell: self._fit(cell) for cell in ("vanilla", "lstm")}

    def _fit(self, cell: str) -> np.ndarray:
        """The coefficients of :func:`_terms`, all at least 0.

        They minimize the squares of the relative errors.
        """
        points = [one[1:] for one in self.costs["compute"] if one[0] == cell and one[2] in MEASURED_SIZES]
        table = np.array([_terms(seq_len, hidden, rows) / seconds for seq_len, hidden, rows, seconds in points])
        kept = list(range(table.shape[1]))
        while True:
            found = np.linalg.lstsq(table[:, kept], np.ones(len(table)), rcond=None)[0]
            if found.min() >= 0:
                break
            kept.pop(int(found.argmin()))
        coefficients = np.zeros(table.shape[1])
        coefficients[kept] = found
        return coefficients

    def parts(self, cell: str, hidden: int) -> tuple[float, float, float]:
        """The time of a batch, that of each time step, and that of each row of a time step."""
        batch, step, row = self._fitted[cell].reshape(3, -1) @ _powers(hidden)
        return float(batch), float(step), float(row)

    def errors(self, sizes: Sequence[int]) -> list[float]:
        """The relative errors of the predicted steps of one rank, for sizes that were measured."""
        return [
            float(_terms(seq_len, hidden, rows) @ self._fitted[cell]) / seconds - 1.0
            for cell, seq_len, hidden, rows, seconds in self.costs["compute"]
            if hidden in sizes
        ]

    def parameters(self, cell: str, hidden: int) -> int:
        """The number of parameters."""
        gates = 4 if cell == "lstm" else 1
        return gates * hidden * (hidden + VOCABULARY + 2) + VOCABULARY * (hidden + 1)

    def seconds(self, cell: str, hidden: int, ranks: int, *, over_network: bool, sequences: int = SEQUENCES) -> float:
        """The time of a step: computing, waiting for the slowest rank, reducing."""
        compute = float(_terms(STEPS, hidden, math.ceil(sequences / ranks)) @ self._fitted[cell])
        if ranks == 1:
            return compute
        latency = NETWORK["latency"] if over_network else self.latency
        bandwidth = NETWORK["bandwidth"] if over_network else self.bandwidth
        waiting = compute * SPREAD * math.sqrt(2 * math.log(ranks))
        rounds = math.ceil(math.log2(ranks))
        numbers = self.parameters(cell, hidden) + SLOT * ranks
        transfer = 2 * (ranks - 1) / ranks * 4 * numbers / bandwidth
        return compute + waiting + MESSAGES * rounds * latency + transfer

    def last_that_pays(self, cell: str, hidden: int, *, over_network: bool) -> int:
        """The largest number of ranks whose last doubling made a step faster by the factor :data:`PAYS`."""
        ranks = 1
        while ranks < SEQUENCES:
            now, doubled = (self.seconds(cell, hidden, one, over_network=over_network) for one in (ranks, 2 * ranks))
            if now < PAYS * doubled:
                break
            ranks *= 2
        return ranks


def _terms(seq_len: int, hidden: int, rows: int) -> np.ndarray:
    """1, H and H^2 for a batch, times its time steps, and times the rows of all time steps."""
    return np.outer([1, seq_len, seq_len * rows], _powers(hidden)).reshape(-1)


def _powers(hidden: int) -> np.ndarray:
    """1, H and H^2 in units of 100 and 10,000."""
    return np.array([1.0, hidden / 100, (hidden / 100) ** 2])


def model_tables(costs: dict[str, Any]) -> list[str]:
    """The tables of the page."""
    model = CostModel(costs)
    fitted, checked = (max(map(abs, model.errors(sizes))) for sizes in (MEASURED_SIZES, (CHECKED_SIZE,)))
    lines = [
        f"Largest error of a predicted step: {fitted:.0%} at the fitted sizes, {checked:.0%} at H = {CHECKED_SIZE}.",
        "",
        f"Latency {1e6 * model.latency:.1f} us, bandwidth {model.bandwidth / 1e9:.1f} GB/s on 2 ranks of one machine.",
        "",
        "| cell, H | parameters | step on 1 rank | 8 ranks | 64 | 256 | 1,024 | pays up to |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cell in ("vanilla", "lstm"):
        for hidden in (128, 512, 1024, 4096):
            alone = model.seconds(cell, hidden, 1, over_network=True)
            gains = [alone / model.seconds(cell, hidden, ranks, over_network=True) for ranks in (8, 64, 256, 1024)]
            shown = " | ".join(f"{gain:.1f}x" for gain in gains)
            size = f"{model.parameters(cell, hidden):,}"
            last = model.last_that_pays(cell, hidden, over_network=True)
            lines.append(f"| {cell}, {hidden:,} | {size} | {alone:.3g} s | {shown} | {last} ranks |")
    lines += [
        "",
        "| cell, H | batch | time step | row of a time step | reduction of its gradients on 8 ranks |",
        "|---|---|---|---|---|",
    ]
    for cell in ("vanilla", "lstm"):
        for hidden in (64, 128, 512, 4096):
            transfer = 2 * 7 / 8 * 4 * model.parameters(cell, hidden) / NETWORK["bandwidth"]
            shown = " | ".join(f"{1e6 * one:,.1f} us" for one in (*model.parts(cell, hidden), transfer))
            lines.append(f"| {cell}, {hidden:,} | {shown} |")
    lines += ["", "| ranks | numbers | measured | model |", "|---|---|---|---|"]
    for ranks, found in costs["reduction"].items():
        for count, low, _ in found:
            rounds = math.ceil(math.log2(int(ranks)))
            told = rounds * model.latency + 2 * (int(ranks) - 1) / int(ranks) * 4 * count / model.bandwidth
            lines.append(f"| {ranks} | {count:,} | {1e6 * low:,.0f} us | {1e6 * told:,.0f} us |")
    return lines


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pairs", "measure", "model", "pair-times", "processor", "reductions"])
    parser.add_argument("case", nargs="*", help="processor: cell, time steps, rows, hidden units, number of steps.")
    parser.add_argument("--seconds", type=float, default=220.0, help="pairs: no round that would end later begins.")
    parser.add_argument("--hidden", type=int, default=0, help="pairs: only the sizes with this number of units.")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5, help="measure: each takes half a minute.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--costs", type=Path, default=COSTS)
    given = parser.parse_args()
    if given.what == "pairs":
        print("\n".join(compare_pairs(given.seconds, given.hidden)))
    elif given.what == "measure":
        text = json.dumps(measure(given.steps, given.rounds))
        given.out.write_text(text + "\n") if given.out else print(text)
    elif given.what == "model":
        print("\n".join(model_tables(json.loads(given.costs.read_text()))))
    else:
        if given.what == "reductions":
            found: Any = reductions(REDUCED_NUMBERS, 200)
        elif given.what == "pair-times":
            found = pair_times(int(given.case[0]), with_halves="halves" in given.case)
        else:
            cell, *numbers = given.case
            found = step_times(cell, *map(int, numbers), clock=time.process_time)
        if os.environ.get("PMI_RANK", "0") == "0":
            print(json.dumps(found))


if __name__ == "__main__":
    main()
