"""The tables of the independent benchmark, and the page of the reference that shows them."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs
from fault_report import share, table

from rnncallbacks.testing.independent import (
    INDEPENDENT_FAULTS,
    INDEPENDENT_HEALTHY,
    INDEPENDENT_TRAPS,
    LEVELS,
    IndependentFault,
    IndependentOutcome,
    Split,
    named_fault,
)

PAGE = Path(__file__).with_name("independent_page.md")
SIGNALS = Path(__file__).with_name("independent_signals.csv")
"""Code, signal, healthy range, faulty range and number of runs of each signal that decides: measured by hand."""
PAGE_COMMAND = "python tests/benchmarks/bench_independent.py"


@attrs.frozen
class Measurement:
    """The outcome of a case and the clean loss of its healthy twin.

    ``changed`` says whether the levels of evidence, which should not matter to the network, led to different networks;
    a healthy script is compared with its twin without plugins too. None if there was nothing to compare with.
    """

    outcome: IndependentOutcome
    twin_loss: float
    changed: bool | None = None

    @property
    def fault(self) -> IndependentFault:
        return named_fault(self.outcome.case.fault)

    @property
    def level(self) -> str:
        return self.outcome.case.level

    @property
    def harmful(self) -> bool:
        return not self.fault.healthy and self.outcome.harmed(self.twin_loss)

    @property
    def false_alarms(self) -> list[str]:
        """Codes of the reported causes of a healthy run or trap in which a network learns."""
        if not self.fault.healthy or not self.outcome.learned(self.twin_loss):
            return []
        return [alarm.code for alarm in self.outcome.reported]


class IndependentReport:
    """The tables of one split."""

    def __init__(self, measured: Sequence[Measurement]) -> None:
        self.all = list(measured)
        self.harmful = [one for one in measured if one.harmful]
        quiet = [one for one in measured if one.fault.healthy and one.outcome.learned(one.twin_loss)]
        self.ordinary = [one for one in quiet if one.fault is INDEPENDENT_HEALTHY]
        self.traps = [one for one in quiet if one.fault is not INDEPENDENT_HEALTHY]

    def by_level(self) -> str:
        """One row for each level of evidence."""
        rows: list[Sequence[object]] = [
            (
                "evidence",
                "harmful faults detected",
                "cause named / detected",
                "passed / harmful",
                "false alarms, ordinary runs",
                "false alarms, traps",
                "runs changed",
            )
        ]
        for level in LEVELS:
            harmful = [one for one in self.harmful if one.level == level]
            detected = [one for one in harmful if one.outcome.reported]
            compared = [one.changed for one in self.all if one.level == level and one.changed is not None]
            rows.append(
                (
                    f"`{level}`",
                    share(len(detected), len(harmful)),
                    share(sum(one.outcome.named for one in detected), len(detected)),
                    share(sum(one.outcome.passed_falsely for one in harmful), len(harmful)),
                    self._false_alarms(self.ordinary, level),
                    self._false_alarms(self.traps, level),
                    f"{sum(compared)}/{len(compared)}",
                )
            )
        return table(rows)

    @staticmethod
    def _false_alarms(cases: Iterable[Measurement], level: str) -> str:
        chosen = [one for one in cases if one.level == level]
        return share(sum(bool(one.false_alarms) for one in chosen), len(chosen))

    def by_fault(self) -> str:
        """One row for each fault: named / detected / harmful runs of each level, and those that passed falsely."""
        rows: list[Sequence[object]] = [("fault", "codes", *(f"`{level}`" for level in LEVELS), "passed", "harmless")]
        for name, fault in INDEPENDENT_FAULTS.items():
            runs = [one for one in self.all if one.fault is fault]
            harmful = [one for one in runs if one.harmful]
            if not runs:
                continue
            cells = []
            for level in LEVELS:
                chosen = [one.outcome for one in harmful if one.level == level]
                named = sum(one.named for one in chosen)
                cells.append(f"{named} / {sum(bool(one.reported) for one in chosen)} / {len(chosen)}")
            passed = sum(one.outcome.passed_falsely for one in harmful)
            rows.append((f"`{name}`", " ".join(fault.codes), *cells, passed, len(runs) - len(harmful)))
        return table(rows)

    def by_trap(self) -> str:
        """One row for each trap, and one for healthy runs: runs with false alarms / runs, and the codes."""
        rows: list[Sequence[object]] = [("script", *(f"`{level}`" for level in LEVELS), "codes")]
        for name, trap in {INDEPENDENT_HEALTHY.name: INDEPENDENT_HEALTHY, **INDEPENDENT_TRAPS}.items():
            runs = [one for one in (*self.ordinary, *self.traps) if one.fault is trap]
            if not runs:
                continue
            cells = []
            for level in LEVELS:
                chosen = [one for one in runs if one.level == level]
                cells.append(f"{sum(bool(one.false_alarms) for one in chosen)} / {len(chosen)}")
            codes = sorted({code for one in runs for code in one.false_alarms})
            rows.append((f"`{name}`", *cells, " ".join(codes) or "-"))
        return table(rows)

    def failing(self) -> dict[str, list[tuple[str, Measurement]]]:
        """What went wrong in each run, by code: the fault's exact code, or that of the false alarm."""
        found: dict[str, list[tuple[str, Measurement]]] = defaultdict(list)
        for one in self.all:
            outcome = one.outcome
            if one.harmful and not outcome.named:
                kind = "another cause" if outcome.reported else "missed"
                found[one.fault.codes[0]].append((kind + (", passed" if outcome.passed_falsely else ""), one))
            for code in one.false_alarms:
                found[code].append(("false alarm", one))
        return dict(sorted(found.items()))

    def details(self) -> str:
        """The tables by fault and by trap, and the failures by code."""
        rows: list[Sequence[object]] = [("code", "missed", "another cause", "false alarms")]
        for code, failures in self.failing().items():
            kinds = [kind.split(",")[0] for kind, _ in failures]
            rows.append((code, *(kinds.count(kind) for kind in ("missed", "another cause", "false alarm"))))
        return "\n\n".join([self.by_fault(), self.by_trap(), table(rows)])

    def failures(self) -> str:
        """Every failure with the alarms of its run and the command that reproduces it."""
        parts = ["# Misses and false alarms", self.by_level(), self.details()]
        for code, failures in self.failing().items():
            rows: list[Sequence[object]] = [("what", "case", "loss / twin", "alarms (severity, batch)")]
            for kind, one in sorted(failures, key=lambda pair: (pair[0], pair[1].outcome.case.fault)):
                case = "/".join(map(str, attrs.astuple(one.outcome.case)))
                alarms = "; ".join(
                    f"{alarm.code} ({alarm.severity}, {alarm.batch}"
                    + (f", explained by {alarm.explained_by}) " if alarm.explained_by else ") ")
                    + one.outcome.headlines[alarm.code].splitlines()[0].replace("|", "/")
                    for alarm in one.outcome.alarms
                )
                rows.append(
                    (kind, f"`{case}`", f"{one.outcome.clean_loss:.3g} / {one.twin_loss:.3g}", alarms or "none")
                )
            parts += [f"## {code}", table(rows)]
        parts.insert(1, f"To reproduce a case: `{PAGE_COMMAND} --case CASE`")
        return "\n\n".join(parts) + "\n"

    @staticmethod
    def page(reports: Mapping[Split, IndependentReport], command: str) -> str:
        """The page of the reference. Of the split "report" it has totals only, so that nobody can tune on it."""

        def listed(variants: Mapping[str, IndependentFault]) -> str:
            rows: list[Sequence[object]] = [("name", "what the script does", "codes")]
            rows += [(f"`{one.name}`", one.about, " ".join(one.codes) or "none") for one in variants.values()]
            return table(rows)

        return PAGE.read_text().format(
            command=command,
            report=reports["report"].by_level(),
            tune=reports["tune"].by_level(),
            details=reports["tune"].details(),
            faults=listed(INDEPENDENT_FAULTS),
            traps=listed(INDEPENDENT_TRAPS),
            signals=signals(),
        )


def signals() -> str:
    """The table of the signals that decide."""
    with SIGNALS.open(newline="", encoding="utf-8") as lines:
        return table(list(csv.reader(lines)))
