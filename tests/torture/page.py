"""The page of the documentation: the outcomes of a long run, and the cost of a checkpoint."""

from __future__ import annotations

import collections
import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from .trials import Outcome

TEMPLATE = Path(__file__).with_name("torture_page.md")
COMMAND = "python -m tests.torture page --out torture.jsonl --costs checkpoint.jsonl --commit COMMIT"
MOST_FAILURES = 20


def page(lines: Sequence[dict[str, Any]], costs: Sequence[dict[str, Any]], commit: str) -> str:
    """The page, from the lines of the trials and those of ``bench_checkpoint.py``."""
    return TEMPLATE.read_text("utf-8").format(
        command=COMMAND,
        commit=f"`{commit}`",
        outcomes=outcome_table(lines),
        failures=failure_list(lines),
        kills=kill_table(lines),
        costs=cost_table(costs),
        machine=f"{os.cpu_count()} processors, {platform.system()}, Python {platform.python_version()}",
    )


def outcome_table(lines: Iterable[dict[str, Any]]) -> str:
    """The number of trials by kind and outcome; the kills of a trial are counted in a column of their own."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for line in lines:
        counts[line["kind"]][line["outcome"]] += 1
        counts[line["kind"]]["kills"] += line["counts"].get("kills", 0)
    outcomes = get_args(Outcome)
    rows = []
    for kind, found in counts.items():
        trials = f"{sum(found[one] for one in outcomes):,}"
        trials += f" runs, {found['kills']:,} kills" if found["kills"] else ""
        rows.append([kind, trials, *(f"{found[one]:,}" for one in outcomes)])
    return _table(["attack", "trials", *outcomes], rows)


def failure_list(lines: Iterable[dict[str, Any]]) -> str:
    """The trials in which the library did not hold, by number and what was done."""
    failed = [line for line in lines if line["outcome"] != "held"]
    if not failed:
        return "The library held in every trial."
    shown = [
        f"- {line['kind']} {line['number']} (seed {line['seed']}), {line['outcome']}: `{line['what'][:200]}`"
        for line in failed[:MOST_FAILURES]
    ]
    more = [f"- and {len(failed) - MOST_FAILURES} more"] if len(failed) > MOST_FAILURES else []
    return "\n".join(["The library did not hold in:", "", *shown, *more])


def kill_table(lines: Iterable[dict[str, Any]]) -> str:
    """Kills, and the runs that held, by kind of run and options of the checkpoint."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for line in lines:
        if line["kind"] == "kills" and ", rate " in line["what"]:
            style, _, rest = line["what"].partition(", rate ")
            saving = rest.partition(", checkpoint ")[2].partition("; killed")[0]
            runs[style, saving].append(line)
    rows = []
    for (style, saving), found in sorted(runs.items()):
        kills = sum(line["counts"]["kills"] for line in found)
        held = sum(line["outcome"] == "held" for line in found)
        rows.append([style, f"`{saving}`", f"{len(found):,}", f"{kills:,}", f"{held:,}"])
    return _table(["run", "checkpoint", "runs", "kills", "held"], rows)


def cost_table(costs: Iterable[dict[str, Any]]) -> str:
    """The times of a checkpoint and of a plain file, and their sizes."""
    rows = [
        [
            f"{one['parameters']:,}",
            one["plugins"],
            "yes" if one["fsync"] else "no",
            f"{1000 * one['checkpoint']:.1f} ms",
            f"{1000 * one['plain']:.1f} ms",
            f"{one['ratio']:.1f}",
            f"{one['checkpoint_bytes'] / 1e6:.1f} MB",
            f"{one['plain_bytes'] / 1e6:.1f} MB",
            str(one["pairs"]),
        ]
        for one in costs
    ]
    heads = ["parameters", "plugins", "fsync", "checkpoint", "plain", "ratio", "size", "plain size", "pairs"]
    return _table(heads, rows)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; none if there is no file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))
