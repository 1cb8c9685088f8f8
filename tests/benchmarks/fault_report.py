"""The tables of the fault benchmark, and the page of the reference that shows them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import attrs

from rnncallbacks.testing import FAULTS, LOOPS, TASKS, TRAPS, CaseOutcome, Fault
from rnncallbacks.testing.scoring import Score, harmful, wilson
from rnncallbacks.testing.setup_changes import NON_FINITE_BATCH

PAGE = Path(__file__).with_name("fault_page.md")
OURS = "rnncallbacks"
REPAIRABLE = ("RNN201", "RNN401", "RNN403", "RNN406", "RNN501")


def repairable(fault: Fault) -> bool:
    """Whether ``self_repair`` has a remedy for the fault and the run owns the arrays that the remedy changes."""
    return fault.codes[:1] != () and fault.codes[0] in REPAIRABLE and fault.name != "state_leak_own"


ARMS = {"watch": "no repair", "repair": "self_repair", "random": "random repair"}
"""What reacts to alarms, and the heading of its column."""


@attrs.frozen(kw_only=True)
class Measured:
    """A case and its outcome under each tool.

    ``arm`` is a key of ``ARMS``. ``twin`` is the healthy run of the same task, cell, optimizer, seed and loop. It is
    None if that run crashed.
    """

    arm: str
    fault: Fault
    outcomes: dict[str, CaseOutcome]
    twin: CaseOutcome | None

    @property
    def outcome(self) -> CaseOutcome:
        return self.outcomes[OURS]

    @property
    def harmed(self) -> bool:
        return self.twin is not None and harmful(self.fault, self.outcome, self.twin)

    @property
    def worse(self) -> bool:
        """Whether the network ended worse than its twin, also for faults that are harmful by definition."""
        plain = attrs.evolve(self.fault, always_harms=False)
        return self.twin is not None and harmful(plain, self.outcome, self.twin)


def share(hits: int, trials: int) -> str:
    if not trials:
        return "-"
    low, high = wilson(hits, trials)
    return f"{hits}/{trials} = {hits / trials:.1%} [{low:.1%}, {high:.1%}]"


def table(rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * (lines[0].count("|") - 1), *lines[1:]])


def delay(score: Score, quantile: float) -> str:
    return f"{score.delay(quantile):.0f}" if score.delays else "-"


class Report:
    """The tables of all results."""

    def __init__(self, measured: list[Measured]) -> None:
        self.all = measured
        watched = [one for one in measured if one.arm == "watch"]
        self.faulty = [one for one in watched if one.fault.kind == "fault"]
        self.harmed = [one for one in self.faulty if one.harmed]
        self.quiet = [one for one in watched if one.fault.kind != "fault"]
        self.tools = list(watched[0].outcomes) if watched else []

    def score(self, cases: Iterable[Measured], tool: str = OURS) -> Score:
        return Score.of((one.fault, one.outcomes[tool]) for one in cases)

    def compared(self) -> str:
        """One row for each tool."""
        rows: list[Sequence[object]] = [
            (
                "tool",
                "detected / harmful",
                "named / detected",
                "named / harmful",
                "delay, median",
                "delay, 90 %",
                "false alarms",
                "per 1,000 batches",
            )
        ]
        for tool in self.tools:
            score = self.score(self.harmed, tool)
            rows.append(
                (
                    tool,
                    share(score.detected, score.runs),
                    share(score.named, score.detected),
                    f"{score.named / max(score.runs, 1):.1%}",
                    delay(score, 0.5),
                    delay(score, 0.9),
                    *self._false(self.quiet, tool),
                )
            )
        return table(rows)

    def _false(self, cases: list[Measured], tool: str) -> tuple[str, str]:
        outcomes = [one.outcomes[tool] for one in cases]
        total = sum(one.batches for one in outcomes)
        alarms = sum(len(one.reported) for one in outcomes)
        return share(sum(bool(one.reported) for one in outcomes), len(outcomes)), f"{1000 * alarms / max(total, 1):.3f}"

    def by(self, heading: str, key: Callable[[Measured], str], order: Iterable[str]) -> str:
        """One row for each group of faulty runs."""
        groups: dict[str, list[Measured]] = defaultdict(list)
        for one in self.faulty:
            groups[key(one)].append(one)
        rows: list[Sequence[object]] = [
            (
                heading,
                "runs",
                "detected / harmful",
                "named / detected",
                "delay, median",
                "delay, 90 %",
                "detected / harmless",
                "other causes reported",
            )
        ]
        for name in order:
            if name not in groups:
                continue
            harmed = [one for one in groups[name] if one.harmed]
            harmless = [one for one in groups[name] if not one.harmed]
            score = self.score(harmed)
            others = Counter(
                alarm.code for one in harmed for alarm in one.outcome.reported if alarm.code not in one.fault.codes
            )
            rows.append(
                (
                    name,
                    len(groups[name]),
                    share(score.detected, score.runs),
                    share(score.named, score.detected),
                    delay(score, 0.5),
                    delay(score, 0.9),
                    f"{self.score(harmless).detected}/{len(harmless)}" if harmless else "-",
                    ", ".join(f"{code} {count}x" for code, count in sorted(others.items())) or "-",
                )
            )
        return table(rows)

    def by_fault(self) -> str:
        return self.by("fault", lambda one: f"`{one.fault.name}`", [f"`{name}`" for name in FAULTS])

    def by_cause(self) -> str:
        return self.by("cause", lambda one: one.fault.codes[0], self.codes)

    def by_loop(self) -> str:
        return self.by("loop", lambda one: one.outcome.loop, LOOPS)

    @property
    def codes(self) -> list[str]:
        return sorted({one.fault.codes[0] for one in self.faulty})

    def by_cause_and_loop(self) -> str:
        rows: list[Sequence[object]] = [("cause", *(f"`{loop}`" for loop in LOOPS))]
        for code in self.codes:
            cells = []
            for loop in LOOPS:
                score = self.score(one for one in self.harmed if (one.fault.codes[0], one.outcome.loop) == (code, loop))
                cells.append(f"{score.named} / {score.detected} / {score.runs}" if score.runs else "-")
            rows.append((code, *cells))
        return table(rows)

    def silent(self) -> str:
        """False alarms of healthy runs and traps."""
        rows: list[Sequence[object]] = [("healthy or trap", "runs", "false alarms", "per 1,000 batches", "codes")]
        groups: dict[str, list[Measured]] = defaultdict(list)
        for one in self.quiet:
            groups[one.fault.name].append(one)
        for name, cases in (*groups.items(), ("all", self.quiet)):
            codes = Counter(alarm.code for one in cases for alarm in one.outcome.reported)
            said = ", ".join(f"{code} {count}x" for code, count in sorted(codes.items())) or "-"
            rows.append((f"`{name}`" if name != "all" else name, len(cases), *self._false(cases, OURS), said))
        return table(rows)

    def goals(self) -> str:
        score = self.score(self.harmed)
        structural = [one for one in self.harmed if one.fault.codes[0][:4] in ("RNN1", "RNN2", "RNN3")]
        early = sum(
            any(
                alarm.code in one.fault.codes and alarm.batch * TASKS[one.outcome.task].epochs <= one.outcome.batches
                for alarm in one.outcome.reported
            )
            for one in structural
        )
        high = [one for one in self.harmed if one.fault.name in ("rate_x30", "rate_x100")]
        soon = sum(any(alarm.batch <= 100 for alarm in one.outcome.reported) for one in high)
        healed = [one for one in self.repaired("repair") if one is not None]
        return table(
            [
                ("", "goal", "measured"),
                ("detected / harmful runs", "99 %", share(score.detected, score.runs)),
                ("named / detected runs", "95 %", share(score.named, score.detected)),
                ("false alarms in healthy runs and traps", "below 0.5 %", self._false(self.quiet, OURS)[0]),
                (
                    "RNN1xx to RNN3xx named within the first epoch / harmful runs",
                    "100 %",
                    share(early, len(structural)),
                ),
                (
                    "learning rate 30 or 100 times too high, detected within 100 batches",
                    "90 %",
                    share(soon, len(high)),
                ),
                ("repaired / repairable runs", "97.4 %", share(sum(healed), len(healed))),
            ]
        )

    def repaired(self, arm: str, code: str | None = None) -> list[bool]:
        """For each repairable run that ends worse without repair: whether it ends as well as its twin in this arm."""
        arms = {(one.arm, one.fault.name, *_where(one.outcome)): one for one in self.all}
        return [
            not arms[arm, one.fault.name, *_where(one.outcome)].worse
            for one in self.faulty
            if one.worse
            and repairable(one.fault)
            and (code is None or one.fault.codes[0] == code)
            and (arm, one.fault.name, *_where(one.outcome)) in arms
        ]

    def repairs(self) -> str:
        rows: list[Sequence[object]] = [("cause", *ARMS.values())]
        for code in (*REPAIRABLE, None):
            cells = [self.repaired(arm, code) for arm in ARMS]
            rows.append((code or "all", *(share(sum(cell), len(cell)) for cell in cells)))
        return table(rows)

    def shortfalls(self) -> str:
        """A list of the faults that the guards miss or give another name."""
        lines = []
        for name in FAULTS:
            harmed = [one for one in self.harmed if one.fault.name == name]
            score = self.score(harmed)
            if score.named == score.runs:
                continue
            missed = Counter(one.outcome.loop for one in harmed if not one.outcome.reported)
            other = Counter(
                " and ".join(sorted({alarm.code for alarm in one.outcome.reported}))
                for one in harmed
                if one.outcome.reported and not any(alarm.code in one.fault.codes for alarm in one.outcome.reported)
            )
            parts = [f"missed in {_runs(count)} of `{loop}`" for loop, count in missed.items()]
            parts += [f"reported as {codes} in {_runs(count)}" for codes, count in other.items()]
            lines.append(
                f"- `{name}` ({'/'.join(FAULTS[name].codes)}, {_runs(score.runs, 'harmful ')}): {'; '.join(parts)}."
            )
        return "\n".join(lines) or "None."

    def text(self) -> str:
        """All tables, for a terminal."""
        parts = (self.by_fault, self.by_loop, self.silent, self.repairs, self.compared, self.goals, self.shortfalls)
        return "\n\n".join(part() for part in parts)

    def page(self, command: str) -> str:
        """All tables, as a page of the reference."""
        faults = table(
            [
                ("fault", "code", "description"),
                *((f"`{one.name}`", " or ".join(one.codes), one.about) for one in FAULTS.values()),
            ]
        )
        traps = table([("trap", "description"), *((f"`{one.name}`", one.about) for one in TRAPS.values())])
        return PAGE.read_text().format(
            non_finite_batch=NON_FINITE_BATCH,
            command=command,
            goals=self.goals(),
            compared=self.compared(),
            causes=self.by_cause(),
            faults=self.by_fault(),
            loops=self.by_loop(),
            crossed=self.by_cause_and_loop(),
            silent=self.silent(),
            repairs=self.repairs(),
            shortfalls=self.shortfalls(),
            list_of_faults=faults,
            list_of_traps=traps,
        )


def _runs(count: int, kind: str = "") -> str:
    return f"{count} {kind}run{'s' * (count != 1)}"


def _where(outcome: CaseOutcome) -> tuple[object, ...]:
    return outcome.task, outcome.cell, outcome.optimizer, outcome.seed, outcome.loop
