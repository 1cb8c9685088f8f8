"""The diagnosis of a run: alarms as causes and consequences, what was checked, what could not be, and repairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.catalogue import CATALOGUE, SEVERITIES, Severity
from rnncallbacks.errors import OptionError, closest

_RANK = {code: rank for rank, code in enumerate(CATALOGUE)}


@attrs.frozen
class Selection:
    """Which codes count, and how severe they are; a code is named whole or by its beginning, as in linters.

    Of two entries that fit a code, the longer one decides; where both are of one length, ``ignore`` does. ``severity``
    maps a code, or the beginning of some, to "info", "warning" or "error".

    Example
    -------
    >>> selection = Selection(select=("RNN",), ignore=("RNN6",), severity={"RNN301": "error"})
    >>> selection.selects("RNN301"), selection.selects("RNN601")
    (True, False)

    Raises
    ------
    OptionError
        An entry begins with RNN and fits no code of the catalogue, or a severity is none of the three.
    """

    select: tuple[str, ...] = ("",)
    ignore: tuple[str, ...] = ()
    severity: Mapping[str, Severity] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for entry in (*self.select, *self.ignore, *self.severity):
            if entry.startswith("RNN") and not any(code.startswith(entry) for code in CATALOGUE):
                raise OptionError(f"no alarm code begins with {entry!r}", hint=closest(entry, CATALOGUE))
        for entry, severity in self.severity.items():
            if severity not in SEVERITIES:
                raise OptionError(
                    f"severity of {entry}: expected {', '.join(map(repr, SEVERITIES))}, got {severity!r}",
                    hint=closest(str(severity), SEVERITIES),
                )

    def selects(self, code: str) -> bool:
        """Whether a code counts."""
        return _longest(code, self.select) > _longest(code, self.ignore)

    def adjust(self, alarm: Alarm) -> Alarm:
        """The alarm with the severity that was chosen for it."""
        entry = max((entry for entry in self.severity if alarm.code.startswith(entry)), key=len, default=None)
        return alarm if entry is None else attrs.evolve(alarm, severity=self.severity[entry])


@attrs.frozen(kw_only=True)
class Repair:
    """Something that was done to a sick run: for which code, what, and when."""

    code: str
    what: str
    epoch: int
    step: int

    def __str__(self) -> str:
        return f"{self.code}: {self.what} (epoch {self.epoch}, step {self.step})"


@attrs.frozen
class DiagnosisLine:
    """One line of a diagnosis as it is shown.

    ``indent`` is in characters. ``severity`` is that of the alarm whose headline the line is, None on any other line.
    """

    text: str
    indent: int = 0
    severity: Severity | None = None

    @property
    def is_heading(self) -> bool:
        """Whether the line is the heading of those that follow it."""
        return self.indent == 0

    def __str__(self) -> str:
        return " " * self.indent + self.text


class Diagnosis:
    """What is known of a run's health.

    Attributes
    ----------
    alarms:
        One alarm a code, in the order in which they were first raised.
    repairs:
        What was repaired, in order.
    selection:
        Which codes count.

    ``print(run.diagnosis)`` shows all of it.
    """

    def __init__(self) -> None:
        self.alarms: list[Alarm] = []
        self.repairs: list[Repair] = []
        self.selection = Selection()
        self._checked: set[str] = set()
        self._reasons: dict[str, str] = {}

    def add(self, alarm: Alarm) -> Alarm:
        """Take an alarm in, or count it if its code is there already; return it as it stands in ``alarms``.

        One that is louder than the one before takes its place: a note does not silence what follows.
        """
        for place, known in enumerate(self.alarms):
            if known.code == alarm.code:
                louder = SEVERITIES.index(alarm.severity) > SEVERITIES.index(known.severity)
                self.alarms[place] = attrs.evolve(alarm if louder else known, count=known.count + 1)
                if louder:
                    self._attribute()
                return self.alarms[place]
        self.alarms.append(alarm)
        self._attribute()
        return self.alarms[-1]

    @property
    def causes(self) -> list[Alarm]:
        """The alarms that no other explains."""
        return [alarm for alarm in self.alarms if alarm.explained_by is None]

    def consequences(self, cause: Alarm) -> list[Alarm]:
        """The alarms that this one explains."""
        return [alarm for alarm in self.alarms if alarm.explained_by == cause.code]

    def check(self, code: str) -> None:
        """Note that a code could be checked; unless its alarm was raised, the check is passed."""
        self._checked.add(code)

    def cannot_check(self, code: str, why: str) -> None:
        """Note why a code cannot be checked, in words that say what to do; no matter if it is checked after all."""
        self._reasons.setdefault(code, why)

    @property
    def passed(self) -> list[str]:
        """The codes that were checked and not found."""
        fired = {alarm.code for alarm in self.alarms}
        return sorted(code for code in self._checked - fired if self.selection.selects(code))

    @property
    def not_checked(self) -> dict[str, str]:
        """The codes that could not be checked, and why."""
        known = self._checked | {alarm.code for alarm in self.alarms}
        unknown = {code: why for code, why in sorted(self._reasons.items()) if code not in known}
        return {code: why for code, why in unknown.items() if self.selection.selects(code)}

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, ready for JSON."""
        return {
            "alarms": [alarm.to_dict() for alarm in self.alarms],
            "passed": self.passed,
            "not_checked": self.not_checked,
            "repairs": [attrs.asdict(repair) for repair in self.repairs],
        }

    def lines(self, *, list_passed: bool = True) -> list[DiagnosisLine]:
        """The diagnosis line by line: causes with their consequences, repairs, passed checks and missing checks.

        With ``list_passed=False``, passed checks are counted and not listed.
        """
        lines: list[DiagnosisLine] = []
        for heading, notes in (("fired", False), ("noticed", True)):
            causes = [cause for cause in self.causes if (cause.severity == "info") is notes]
            lines += [DiagnosisLine(heading)] * bool(causes)
            for cause in causes:
                headline, *details = str(cause).splitlines()
                lines.append(DiagnosisLine(headline, 2, cause.severity))
                lines += [DiagnosisLine(detail.strip(), 4) for detail in details]
                lines += [DiagnosisLine(f"consequence: {one.headline}", 4) for one in self.consequences(cause)]
        if self.repairs:
            lines += [DiagnosisLine("repaired"), *(DiagnosisLine(str(repair), 2) for repair in self.repairs)]
        if self.passed and list_passed:
            lines += [DiagnosisLine("passed"), *(DiagnosisLine(_titled(code), 2) for code in self.passed)]
        elif self.passed:
            lines.append(DiagnosisLine(f"checks passed: {len(self.passed)}"))
        if self.not_checked:
            lines.append(DiagnosisLine("not checked"))
        # One line added to a script often enables several checks, so checks that lack the same thing stand together.
        for reason in dict.fromkeys(self.not_checked.values()):
            lines.append(DiagnosisLine(reason, 2))
            lines += [DiagnosisLine(_titled(code), 4) for code, why in self.not_checked.items() if why == reason]
        return lines

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines())) or "nothing was checked"

    def _attribute(self) -> None:
        """Find for each alarm the cause that explains it, and make no cause quieter than its consequences."""
        by_code = {alarm.code: alarm for alarm in sorted(self.alarms, key=lambda one: _RANK.get(one.code, len(_RANK)))}
        explained = {
            code: next((cause for cause in by_code if cause in CATALOGUE and code in CATALOGUE[cause].explains), None)
            for code in by_code
        }
        for place, alarm in enumerate(self.alarms):
            root = explained[alarm.code]
            while root is not None and explained[root] is not None:
                root = explained[root]
            self.alarms[place] = attrs.evolve(alarm, explained_by=root)
        for place, alarm in enumerate(self.alarms):
            loudest = max((alarm, *self.consequences(alarm)), key=lambda one: SEVERITIES.index(one.severity))
            self.alarms[place] = attrs.evolve(alarm, severity=loudest.severity)


def _titled(code: str) -> str:
    """A code with its title, if the catalogue has it."""
    return f"{code} {CATALOGUE[code].cause}" if code in CATALOGUE else code


def _longest(code: str, entries: tuple[str, ...]) -> int:
    return max((len(entry) for entry in entries if code.startswith(entry)), default=-1)
