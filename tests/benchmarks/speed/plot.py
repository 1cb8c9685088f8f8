"""The chart of the speed benchmark: time of a step relative to ours, by cell, size and contender."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from speed.report import CELLS, NAMES, Report, Step

# Distinguishable without color.
STYLES = {
    "limit": ("|", "tab:gray"),
    "jax": ("s", "tab:blue"),
    "torch": ("o", "tab:red"),
    "scratch": ("D", "tab:olive"),
    "compiled": ("^", "tab:green"),
}
LABELS = NAMES | {"limit": "matrix products alone", "compiled": "ours, compiled"}
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20)


def draw(report: Report, path: Path) -> None:
    """Writes the chart. The suffix of the file name selects the format."""
    cells = [cell for cell in CELLS if any(report.of(cell, count) for count in report.threads)]
    counts = [count for count in report.threads if any(report.of(cell, count) for cell in cells)]
    figure = Figure(figsize=(2.2 + 2.9 * len(counts), 0.9 + 2.1 * len(cells)), layout="constrained")
    axes = figure.subplots(len(cells), len(counts), sharex=True, squeeze=False)
    for row, cell in zip(axes, cells, strict=True):
        for place, count in zip(row, counts, strict=True):
            panel(place, report.of(cell, count))
            place.set_title(f"{CELLS[cell]}, {count} thread{'s' * (count > 1)}", fontsize=9)
            if place is not row[0]:
                place.set_yticklabels([])
    for place in axes[-1]:
        place.set_xlabel("time of a step / ours", fontsize=9)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=3 if len(counts) == 1 else 5, fontsize=8, frameon=False
    )
    # Fixed ids, so that equal results give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "speed"}):
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def panel(axes: Axes, steps: list[Step]) -> None:
    """One cell: a row for each size, a marker for each contender, and a line from the smallest to the largest ratio."""
    axes.axvline(1.0, color="black", linewidth=0.8)
    for offset, (name, (marker, color)) in enumerate(STYLES.items()):
        found = [(number, step) for number, step in enumerate(steps) if name in step.seconds]
        if not found:
            continue
        ratios = [step.ratio(name) for _, step in found]
        middle = [1 / one.median if name == "limit" else one.median for one in ratios]
        ends = [(1 / one.high, 1 / one.low) if name == "limit" else (one.low, one.high) for one in ratios]
        heights = [number + 0.16 * (offset - 2) for number, _ in found]
        axes.hlines(heights, [low for low, _ in ends], [high for _, high in ends], color=color, linewidth=1)
        axes.plot(middle, heights, marker, color=color, markersize=8 if name == "limit" else 4, label=LABELS[name])
    axes.set_xscale("log")
    axes.set_xticks(TICKS)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(steps)), [step.size for step in steps])
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.3)
