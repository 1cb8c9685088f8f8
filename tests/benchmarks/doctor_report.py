"""What the doctor got right of each script, the tables of its benchmark, and the page of the reference."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import attrs
from doctor_cases import ScriptFault, StrangerScript, Truth
from fault_report import share, table

PAGE = Path(__file__).with_name("doctor_page.md")
PAGE_COMMAND = "python tests/benchmarks/bench_doctor.py"

SEVERITIES = ("error", "warning", "info")

ROLES = ("loss", "parameters", "gradients", "inputs", "targets", "state")

OTHER_STATE = ("RNN201", "RNN202", "RNN203")
"""Codes of faults with which a script carries another state than its table says."""

OTHER_PARAMETERS = ("RNN503",)
"""Codes of faults with which a script trains other parameters than its table says."""

OTHER_DATA = ("RNN603",)
"""Codes of faults with which a script has other targets than its table says."""

SHOWN = 40
"""Characters of a line, without spaces, by which it is recognized."""


def words(name: str | None) -> set[str]:
    """The variables, attributes and keys that a name consists of.

    >>> sorted(words("lossFun():cache['dWf'][0]"))
    ['cache', 'dWf', 'lossFun']
    """
    return set(re.findall(r"[^\W\d]\w*", name or ""))


@attrs.frozen
class DoctorMeasurement:
    """A script, healthy or with a fault, and what the doctor said of it.

    Roles that a fault changes are None: whether they are right cannot be said.
    """

    script: StrangerScript
    fault: ScriptFault | None
    document: Mapping[str, Any]
    seconds: float
    changed_files: tuple[str, ...] = ()
    left_behind: int = 0
    output: str = ""
    processor_seconds: float = 0.0
    prints: str | None = None

    @classmethod
    def of(cls, script: StrangerScript, fault: ScriptFault | None, entry: Mapping[str, Any]) -> DoctorMeasurement:
        """From an entry of the file of results."""
        return cls(
            script,
            fault,
            entry.get("document") or {"error": entry.get("error", "")},
            entry["seconds"],
            tuple(entry.get("changed_files", ())),
            entry.get("left_behind", 0),
            entry.get("output", ""),
            entry.get("processor_seconds", 0.0),
            entry.get("prints"),
        )

    @property
    def truth(self) -> Truth:
        return self.script.truth

    @property
    def code(self) -> str:
        return self.fault.codes[0] if self.fault else ""

    @property
    def refusable(self) -> bool:
        """Whether it is right to judge nothing."""
        return self.truth.refuse or bool(self.truth.crash) or (self.fault is not None and self.fault.refuse)

    @property
    def judged(self) -> bool:
        return self.document.get("diagnosis") is not None

    @property
    def roles(self) -> Mapping[str, Any]:
        return self.document.get("roles") or {}

    @property
    def loop_found(self) -> bool:
        loop = self.document.get("loop") or {}
        file = self.truth.file or self.script.main
        # The line of a loop without spaces: what a cell's first line is, and what is left of a long one, may differ.
        place = Path(str(loop.get("file", ""))).stem == Path(file).stem
        source = "".join(str(loop.get("source", "")).split())
        return place and bool(source) and "".join(self.truth.loop.split()).startswith(source[:SHOWN])

    @property
    def loss_right(self) -> bool:
        return bool(words(self.roles.get("loss")) & set(self.truth.loss))

    @property
    def parameters_right(self) -> bool | None:
        """Whether all arrays were found, and nothing else."""
        if self.code in OTHER_PARAMETERS:
            return None
        found = [words(name) & set(self.truth.parameters) for name in self.roles.get("parameters") or {}]
        all_named = set(self.truth.parameters) <= set().union(*found)
        return all_named and all(found) and (not self.truth.arrays or len(found) == self.truth.arrays)

    @property
    def gradients_right(self) -> bool | None:
        if self.code in OTHER_PARAMETERS:
            return None
        sources = [one.get("gradient") for one in (self.roles.get("parameters") or {}).values()]
        return bool(sources) and all(words(source) & set(self.truth.gradients) for source in sources)

    @property
    def inputs_right(self) -> bool | None:
        return None if self.code in OTHER_DATA else bool(words(self.roles.get("inputs")) & set(self.truth.inputs))

    @property
    def targets_right(self) -> bool | None:
        return None if self.code in OTHER_DATA else bool(words(self.roles.get("targets")) & set(self.truth.targets))

    @property
    def state_right(self) -> bool | None:
        if self.code in OTHER_STATE:
            return None
        found = self.roles.get("carried_state") or []
        if not self.truth.state:
            return not found
        return any(words(name) & set(self.truth.state) for name in found)

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """What fired and is no consequence, the severest first."""
        alarms = (self.document.get("diagnosis") or {}).get("alarms", [])
        found = [alarm for alarm in alarms if alarm.get("explained_by") is None]
        return sorted(found, key=lambda alarm: SEVERITIES.index(alarm.get("severity", "info")))

    @property
    def accusations(self) -> list[str]:
        """Codes of the causes that are warnings or errors."""
        return [str(cause["code"]) for cause in self.causes if cause.get("severity") != "info"]

    @property
    def named_first(self) -> bool:
        return self.fault is not None and bool(self.causes) and self.causes[0]["code"] in self.fault.codes

    @property
    def named(self) -> bool:
        return self.fault is not None and any(cause["code"] in self.fault.codes for cause in self.causes)

    @property
    def false_alarms(self) -> list[str]:
        return [] if self.fault else self.accusations

    @property
    def crash_named(self) -> bool:
        """Whether the line that NumPy 2 or Python 3 refuses is in the answer."""
        line = "".join(self.truth.crash.split())
        return line in "".join(str(self.document).replace("\\\\", "").replace("\\'", "'").split())

    @property
    def line_right(self) -> bool:
        """Whether a line to look at is the patched line or one that uses what it assigns."""
        if self.fault is None or not self.named:
            return False
        cause = next(cause for cause in self.causes if cause["code"] in self.fault.codes)
        line = self.script.patched_line(self.fault)
        patched, made = "".join(line.split()), assigned_names(line)
        for source in shown_lines(cause):
            if "".join(source.split()).startswith(patched[:SHOWN]) or words(source) & made:
                return True
        return False

    @property
    def summary(self) -> str:
        """One line: what went wrong."""
        name = f"{self.script.name}/{self.fault.name}" if self.fault else self.script.name
        return f"{name} ({self.script.half}, {self.seconds:.1f} s): {'; '.join(self.wrong()) or 'right'}"

    def wrong(self) -> list[str]:
        """What went wrong, the first cause of it first."""
        if self.truth.crash:
            return [] if self.crash_named else [f"crash not named: {self.document.get('error')}"]
        if self.refusable and not self.judged:
            return []
        if "loop" not in self.document:
            return [f"no answer: {self.document.get('error')}"]
        loop = self.document.get("loop") or {}
        found = []
        if not self.loop_found:
            found.append(f"loop: {loop.get('file')}:{loop.get('line')} {loop.get('source')}")
        found += [f"{role}: {self._shown(role)}" for role in ROLES if getattr(self, f"{role}_right") is False]
        if not self.judged:
            found.append(f"not judged ({self.document.get('verdict')})")
        elif self.false_alarms:
            found.append(f"false alarm {', '.join(self.false_alarms)}")
        elif self.fault and not self.named_first:
            came = ", ".join(cause["code"] for cause in self.causes) or "nothing"
            found.append(f"cause: {came} instead of {'/'.join(self.fault.codes)}")
        elif self.fault and not self.line_right:
            cause = next(cause for cause in self.causes if cause["code"] in self.fault.codes)
            lines = " | ".join(shown_lines(cause)) or "none"
            found.append(f"line: {lines} instead of {self.script.patched_line(self.fault).strip()}")
        if self.changed_files:
            found.append(f"files changed: {', '.join(self.changed_files)}")
        if self.prints == "other":
            found.append("prints other text")
        if self.left_behind:
            found.append(f"{self.left_behind} processes left behind")
        return found

    def _shown(self, role: str) -> str:
        if role in ("loss", "inputs", "targets"):
            return str(self.roles.get(role))
        if role == "state":
            return ", ".join(self.roles.get("carried_state") or []) or "none"
        parameters: Mapping[str, Any] = self.roles.get("parameters") or {}
        if role == "parameters":
            return f"{len(parameters)} of {self.truth.arrays}: {', '.join(parameters)}"
        missing = [f"{name} from {one.get('gradient')}" for name, one in parameters.items()]
        wrong = [
            text
            for text, one in zip(missing, parameters.values(), strict=True)
            if not words(one.get("gradient")) & set(self.truth.gradients)
        ]
        return ", ".join(wrong)


def assigned_names(line: str) -> set[str]:
    """Variables, attributes and keys that a line assigns, or names of the function that it begins.

    >>> sorted(assigned_names("    self.W[t], dh = dh @ V, 0"))
    ['W', 'dh']
    """
    try:
        tree = ast.parse(line.strip())
    except SyntaxError:
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            inner = node.value
            while isinstance(inner, ast.Subscript):
                inner = inner.value
            found.add(inner.attr if isinstance(inner, ast.Attribute) else getattr(inner, "id", ""))
    return found - {""}


def shown_lines(cause: Any) -> list[str]:
    """Source lines that a cause shows: every value of a key "source" in it."""
    return list(_sources(cause))


def _sources(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "source" and isinstance(inner, str):
                yield inner
            else:
                yield from _sources(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _sources(inner)


class DoctorReport:
    """The tables of a set of measurements."""

    def __init__(self, measured: Sequence[DoctorMeasurement]) -> None:
        self.all = list(measured)
        self.watched = [one for one in self.all if not one.truth.crash and not one.refusable]
        self.judged = [one for one in self.watched if one.judged]
        self.healthy = [one for one in self.judged if one.fault is None]
        self.faulty = [one for one in self.watched if one.fault is not None]

    def printing_other(self) -> str:
        """Scripts whose output differs from that without the doctor, of those that print the same in each run."""
        compared = [one for one in self.all if one.prints is not None]
        return f"{sum(one.prints == 'other' for one in compared)}/{len(compared)}"

    def goals(self) -> str:
        """What was measured, beside its goal."""
        named = [one for one in self.faulty if one.named_first]
        seconds = [one.seconds for one in self.all] or [0.0]
        processor = [one.processor_seconds for one in self.all] or [0.0]
        crashes = [one for one in self.all if one.truth.crash]
        rows: list[Sequence[object]] = [
            ("", "goal", "measured"),
            ("training loop found", "98 %", _share(self.watched, lambda one: one.loop_found)),
            ("loss, parameters and gradients right / judged", "97 %", _share(self.judged, _training_roles)),
            ("inputs, targets and state right / judged", "90 %", _share(self.judged, _data_roles)),
            ("right cause first / faulty", "85 %", _share(self.faulty, lambda one: one.named_first)),
            ("healthy scripts with a false alarm", "0", _share(self.healthy, lambda one: bool(one.false_alarms))),
            ("refused or unsure / all", "", _share(self.watched, lambda one: not one.judged)),
            ("line to look at / right cause first", "80 %", _share(named, lambda one: one.line_right)),
            ("crash named / crashes", "", _share(crashes, lambda one: one.crash_named)),
            ("seconds, median and most", "5 / 60", f"{median(seconds):.1f} / {max(seconds):.1f}"),
            ("seconds of a processor, median and most", "", f"{median(processor):.1f} / {max(processor):.1f}"),
            ("scripts whose files changed", "0", str(sum(bool(one.changed_files) for one in self.all))),
            ("scripts that print other text / compared", "0", self.printing_other()),
            ("processes left behind", "0", str(sum(one.left_behind for one in self.all))),
        ]
        return table(rows)

    def by_code(self) -> str:
        """One row for each code."""
        groups: dict[str, list[DoctorMeasurement]] = defaultdict(list)
        for one in self.faulty:
            groups[one.code].append(one)
        rows: list[Sequence[object]] = [("cause", "faults", "named first", "named", "line right", "other causes first")]
        for code, group in sorted(groups.items()):
            others = sorted({one.causes[0]["code"] for one in group if one.causes and not one.named_first})
            first = [one for one in group if one.named_first]
            rows.append(
                (
                    code,
                    len(group),
                    _share(group, lambda one: one.named_first),
                    _share(group, lambda one: one.named),
                    _share(first, lambda one: one.line_right),
                    ", ".join(others) or "-",
                )
            )
        return table(rows)

    def by_role(self) -> str:
        """One row for each role, of judged scripts whose fault does not change it."""
        rows: list[Sequence[object]] = [("role", "right")]
        for role in ROLES:
            known = [one for one in self.judged if getattr(one, f"{role}_right") is not None]
            rows.append((role, _share(known, lambda one, role=role: bool(getattr(one, f"{role}_right")))))
        return table(rows)

    def scripts(self) -> str:
        """What the scripts are."""
        rows: list[Sequence[object]] = [("script", "half", "cell", "what it is like", "faults")]
        chosen = {one.script.name: one.script for one in self.all}
        described = [(f"`{one.main}`", one.half, one.cell, one.shape, len(one.faults)) for one in chosen.values()]
        return table([*rows, *described])

    def misses(self) -> str:
        """What went wrong in the half tune, the most frequent kinds first."""
        kinds: dict[str, list[str]] = defaultdict(list)
        for one in self.all:
            if one.script.half != "tune":
                continue
            name = f"{one.script.name}/{one.fault.name}" if one.fault else one.script.name
            for text in one.wrong():
                kind = text.partition(":")[0].split(" RNN")[0]
                kinds[kind].append(f"- `{name}` {text}")
        lines = []
        for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
            lines += [f"## {kind} ({len(found)})", "", *found, ""]
        return "\n".join(lines)

    def page(self, command: str = PAGE_COMMAND) -> str:
        """The page of the reference. Single cases of the half report are not shown."""
        report, tune = (
            DoctorReport([one for one in self.all if one.script.half == half]) for half in ("report", "tune")
        )
        return PAGE.read_text(encoding="utf-8").format(
            command=command,
            goals=report.goals(),
            tune_goals=tune.goals() if tune.all else "Not measured this time.",
            by_code=report.by_code(),
            by_role=report.by_role(),
            scripts=self.scripts(),
        )


def _training_roles(one: DoctorMeasurement) -> bool:
    return one.loss_right and one.parameters_right is not False and one.gradients_right is not False


def _data_roles(one: DoctorMeasurement) -> bool:
    return all(value is not False for value in (one.inputs_right, one.targets_right, one.state_right))


def _share(group: Iterable[DoctorMeasurement], right: Callable[[DoctorMeasurement], bool]) -> str:
    values = [right(one) for one in group]
    return share(sum(values), len(values))
