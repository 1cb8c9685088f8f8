"""The tables of the speed benchmark, and the page of the reference that shows them.

A ratio compares two samples of one round. Tables show the median over the rounds, and the smallest and largest ratio in
brackets. Of the variants of a contender, the one with the smallest median is compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
from fault_report import table

from speed.goals import EPOCH, LARGE, LIMIT, MEMORY, PROPORTION, STEP, judged
from speed.scaling import FACTORS, exponent, kept_bytes
from speed.task import Task

PAGE = Path(__file__).with_name("page.md")

NAMES = {
    "scratch": "from scratch",
    "torch": "PyTorch",
    "jax": "JAX",
    "limit": "limit",
    "lightning": "Lightning",
    "keras": "Keras",
}
BASES = {"ours": "", "compiled": ", compiled"}
"""This library with NumPy alone and with compiled kernels: the key among the contenders, and the words in headings."""
EPOCH_BASES = {"ours": "ours", "compiled": "ours, compiled"}
"""The same two among the contenders of an epoch."""
AXES = {"seq_len": "T", "batch_size": "B"}
CELLS = {"vanilla": "Vanilla", "lstm": "LSTM", "gru": "GRU"}


@attrs.frozen(order=True)
class Ratio:
    """Median, smallest and largest ratio over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        pairs = [one / other for one, other in zip(above, below, strict=True)]
        return cls(statistics.median(pairs), min(pairs), max(pairs))

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


@attrs.frozen
class Step:
    """The measurements of one cell at one size: seconds in each round, by contender and variant."""

    threads: int
    task: Task
    seconds: dict[str, dict[str, list[float]]]

    @property
    def size(self) -> str:
        task = self.task
        return f"({task.seq_len}, {task.batch_size}, {task.vocab_size}, {task.hidden_size})"

    def ours(self, base: str = "ours") -> list[float]:
        (seconds,) = self.seconds[base].values()
        return seconds

    def way(self, name: str) -> str:
        """The fastest variant of a contender."""
        ways = self.seconds[name]
        return min(ways, key=lambda way: statistics.median(ways[way]))

    def ratio(self, name: str, base: str = "ours") -> Ratio:
        """Their time / ours, or ours / theirs for the limit."""
        theirs, ours = self.seconds[name][self.way(name)], self.ours(base)
        return Ratio.of(ours, theirs) if name == "limit" else Ratio.of(theirs, ours)


class Report:
    """The tables of all results. ``results`` is the content of the benchmark's JSON file."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.machine: dict[str, str] = results["machine"]
        cases = results["cases"]
        self.steps = [
            Step(case["threads"], Task(case["cell"], *case["size"]), case["result"])
            for case in cases
            if case["part"] == "steps"
        ]
        self.scaling = [case for case in cases if case["part"] == "scaling"]
        self.memory = [case for case in cases if case["part"] == "memory"]
        self.epochs = [case for case in cases if case["part"] == "epochs"]
        self.bases = [base for base in BASES if self._took_part(base)] or ["ours"]
        counts = {step.threads for step in self.steps} | {case["threads"] for case in self.epochs}
        self.threads = sorted(counts) or [1]

    def _took_part(self, base: str) -> bool:
        in_epochs = any(EPOCH_BASES[base] in case["result"]["seconds"] for case in self.epochs)
        return in_epochs or any(base in step.seconds for step in self.steps)

    def of(self, cell: str, threads: int, *names: str) -> list[Step]:
        """Steps of a cell in which all contenders of these names took part."""
        found = [step for step in self.steps if step.task.cell == cell and step.threads == threads]
        return [step for step in found if set(names) <= step.seconds.keys()]

    def step_table(self, cell: str, threads: int, base: str = "ours") -> str:
        steps = self.of(cell, threads, base)
        opponents = [name for name in NAMES if any(name in step.seconds for step in steps)]
        heads = [f"ours / {NAMES[name]}" if name == "limit" else f"{NAMES[name]} / ours" for name in opponents]
        rows: list[Sequence[object]] = [("(T, B, V, H)", "ours, µs", *heads)]
        for step in steps:
            cells = [
                str(step.ratio(name, base)) + _way(step, name) if name in step.seconds else "-" for name in opponents
            ]
            rows.append((step.size, f"{micro(step.ours(base)):,.0f}", *cells))
        means = [f"{self.mean(cell, threads, name, base):.2f}" for name in opponents]
        rows.append(("geometric mean", "", *means))
        return table(rows)

    def mean(self, cell: str, threads: int, name: str, base: str = "ours") -> float:
        """Geometric mean of the ratios over the sizes."""
        return statistics.geometric_mean([step.ratio(name, base).median for step in self.of(cell, threads, name, base)])

    def ways(self) -> str:
        """Every variant at every size on the fewest threads, in microseconds."""
        steps = [step for step in self.steps if step.threads == self.threads[0]]
        keys = [
            (name, way) for name in ("compiled", *NAMES) for way in _first(step.seconds.get(name, {}) for step in steps)
        ]
        titles = NAMES | {"compiled": "ours"}
        heads = [NAMES[name] if name == "scratch" else f"{titles[name]}, {way}" for name, way in keys]
        rows: list[Sequence[object]] = [("cell", "(T, B, V, H)", "ours", *heads)]
        for step in steps:
            found = [step.seconds.get(name, {}).get(way) for name, way in keys]
            times = [f"{micro(one):,.0f}" if one else "-" for one in [step.ours(), *found]]
            rows.append((step.task.cell, step.size, *times))
        return table(rows)

    def scaling_table(self) -> str:
        rows: list[Sequence[object]] = [
            ("cell", "size", "x1, µs", *(f"x{factor}" for factor in FACTORS[1:]), "exponent")
        ]
        for case in self.scaling:
            axis = AXES[case["axis"]]
            base = case["size"][axis == "B"]
            times = _medians(case["result"])
            proportions = [f"{times[factor] / (factor * times[1]):.2f}" for factor in FACTORS[1:]]
            grows = f"{axis} from {base} to {FACTORS[-1] * base}"
            rows.append((case["cell"], grows, f"{1e6 * times[1]:,.0f}", *proportions, f"{exponent(times):.2f}"))
        return table(rows)

    def memory_table(self) -> str:
        sizes = list(dict.fromkeys(tuple(case["size"]) for case in self.memory))
        rows: list[Sequence[object]] = [("cell", *(f"({', '.join(map(str, size))})" for size in sizes))]
        for cell in dict.fromkeys(case["cell"] for case in self.memory):
            found = {tuple(case["size"]): case["result"] for case in self.memory if case["cell"] == cell}
            parts = [(found[size], kept_bytes(Task(cell, *size))) for size in sizes]
            rows.append((cell, *(f"{peak / kept:.2f} ({peak / 2**20:.1f} MiB)" for peak, kept in parts)))
        return table(rows)

    def epoch_table(self) -> str:
        rows: list[Sequence[object]] = [
            (
                "(T, B, H)",
                "threads",
                "characters",
                "batches",
                "ours, s",
                "with guards / ours",
                *(f"{NAMES[name]} / ours" for name in ("lightning", "keras")),
            )
        ]
        for case in self.epochs:
            batches = "{} + {}".format(*case["result"]["batches"])
            characters = f"{case['characters']:,}" if case["characters"] else "all"
            for base, words in BASES.items():
                ours = case["result"]["seconds"].get(EPOCH_BASES[base])
                if ours is None:
                    continue
                size = f"({', '.join(map(str, case['size']))}){words}"
                # The guards are measured with NumPy alone.
                guarded = self.epoch_ratio(case, "ours, guarded") if base == "ours" else None
                others = [guarded, *(self.epoch_ratio(case, name, base) for name in ("lightning", "keras"))]
                shown = [str(one or "-") for one in others]
                rows.append((size, case["threads"], characters, batches, f"{statistics.median(ours):.2f}", *shown))
        return table(rows)

    def epoch_ratio(self, case: dict[str, Any], name: str, base: str = "ours") -> Ratio | None:
        seconds, ours = case["result"]["seconds"], EPOCH_BASES[base]
        return Ratio.of(seconds[name], seconds[ours]) if name in seconds and ours in seconds else None

    def goals(self) -> str:
        """Goals and measurements by number of threads, with NumPy alone and compiled."""
        sides = [(count, base) for base in self.bases for count in self.threads]
        heads = [(f"{count} thread" if count == 1 else f"{count} threads") + BASES[base] for count, base in sides]
        rows: list[Sequence[object]] = [("goal", "target", *heads)]
        for (cell, name), (least, mean) in STEP.items():
            what = f"{CELLS[cell]}, {NAMES[name]} / ours"
            slowest = [_extreme(self.of(cell, count, name, base), name, least, base) for count, base in sides]
            rows.append((f"{what}, at every size", f"{least} or more", *slowest))
            means = [
                judged(self.mean(cell, count, name, base), mean) if self.of(cell, count, name, base) else "-"
                for count, base in sides
            ]
            rows.append((f"{what}, geometric mean", f"{mean} or more", *means))
        for units, most in LIMIT:
            steps = [
                ([one for one in self.of("vanilla", count, "limit", base) if one.task.hidden_size in units], base)
                for count, base in sides
            ]
            what = f"H = {units[0]}" if len(units) == 1 else f"H >= {units[0]}"
            worst = [_extreme(some, "limit", most, base) for some, base in steps]
            rows.append((f"Vanilla, ours / limit, {what}", f"{most} or less", *worst))
        for (size, name), least in EPOCH.items():
            found = [self._epoch(size, name, count, base) for count, base in sides]
            rows.append(
                (
                    f"Epoch at {size}, {NAMES[name]} / ours",
                    f"{least} or more",
                    *(judged(one.median, least) if one else "-" for one in found),
                )
            )
        empty = [""] * (len(sides) - 1)
        for axis, letter in AXES.items():
            shares = [_proportion(_medians(case["result"])) for case in self.scaling if case["axis"] == axis]
            found = judged(max(shares), PROPORTION, least=False) if shares else "-"
            rows.append(
                (
                    f"Time at {FACTORS[-1]} {letter} / {FACTORS[-1]} times that at {letter}",
                    f"{PROPORTION} or less",
                    found,
                    *empty,
                )
            )
        what = "Peak memory of a step / memory that it must keep"
        for name, least_kept in ((f"{what}, at every size", 0), (f"{what}, from 1 MiB on", LARGE)):
            worst = self._most_memory(least_kept)
            rows.append((name, f"{MEMORY} or less", worst, *empty))
        return table(rows)

    def _most_memory(self, least_kept: int) -> str:
        """The largest ratio among steps that must keep at least ``least_kept`` bytes, and its size."""
        tasks = [(Task(case["cell"], *case["size"]), case["result"]) for case in self.memory]
        shares = [(peak / kept_bytes(task), task) for task, peak in tasks if kept_bytes(task) >= least_kept]
        if not shares:
            return "-"
        share, task = max(shares)
        return f"{judged(share, MEMORY, least=False)} for {task.cell} at {Step(1, task, {}).size}"

    def _epoch(self, size: tuple[int, ...], name: str, threads: int, base: str) -> Ratio | None:
        cases = [one for one in self.epochs if tuple(one["size"]) == size and one["threads"] == threads]
        return self.epoch_ratio(cases[0], name, base) if cases else None

    def machine_table(self) -> str:
        return table([("component", "version"), *self.machine.items()])

    def step_tables(self) -> str:
        parts = []
        for cell, title in CELLS.items():
            for count in self.threads:
                for base in self.bases:
                    if self.of(cell, count, base):
                        threads = "one thread" if count == 1 else f"{count} threads"
                        head = f"### {title}, {threads}{BASES[base]}"
                        parts.append(f"{head}\n\n{self.step_table(cell, count, base)}")
        return "\n\n".join(parts)

    def text(self) -> str:
        """All tables, for a terminal."""
        parts = [self.step_tables()]
        parts += [self.ways()] if self.steps else []
        parts += [self.scaling_table()] if self.scaling else []
        parts += [self.memory_table()] if self.memory else []
        parts += [self.epoch_table()] if self.epochs else []
        return "\n\n".join(part for part in [*parts, self.goals()] if part)

    def page(self, command: str, figure: str) -> str:
        """All tables, as a page of the reference. ``figure`` is the file name of the chart."""
        return PAGE.read_text().format(
            command=command,
            figure=figure,
            rounds=max((len(step.ours()) for step in self.steps), default=0),
            machine=self.machine_table(),
            goals=self.goals(),
            steps=self.step_tables(),
            ways=self.ways(),
            scaling=self.scaling_table(),
            memory=self.memory_table(),
            epochs=self.epoch_table(),
        )


def micro(seconds: Iterable[float]) -> float:
    """The median, in microseconds."""
    return 1e6 * statistics.median(seconds)


def _way(step: Step, name: str) -> str:
    return f" {step.way(name)}" if len(step.seconds[name]) > 1 and name != "limit" else ""


def _first(ways: Iterable[dict[str, list[float]]]) -> list[str]:
    return list(next((one for one in ways if one), {}))


def _medians(result: dict[str, list[float]]) -> dict[int, float]:
    return {int(factor): statistics.median(times) for factor, times in result.items()}


def _proportion(times: dict[int, float]) -> float:
    return times[FACTORS[-1]] / (FACTORS[-1] * times[1])


def _extreme(steps: list[Step], name: str, goal: float, base: str) -> str:
    """The worst of the steps, and its size."""
    if not steps:
        return "-"
    least = name != "limit"
    worst = (min if least else max)(steps, key=lambda one: one.ratio(name, base))
    return f"{judged(worst.ratio(name, base).median, goal, least=least)} at {worst.size}"
