"""The diagnosis of a run: causes and their consequences, checks that passed or could not be made, and repairs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
from typing import Any

import attrs

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.catalogue import CATALOGUE, SEVERITIES
from rnncallbacks.alarms.diagnosis_content import DiagnosisContent, Repair
from rnncallbacks.alarms.diagnosis_lines import DiagnosisLine, lines_html
from rnncallbacks.alarms.finding import Finding
from rnncallbacks.alarms.registered_codes import cause_of
from rnncallbacks.alarms.selection import Selection

logger = logging.getLogger("rnncallbacks")

_RANK = {code: rank for rank, code in enumerate(CATALOGUE)}


class Diagnosis:
    """The alarms, checks and repairs of one run; ``print(run.diagnosis)`` shows all of them.

    Attributes
    ----------
    alarms:
        One alarm for each code, in the order in which the codes were first raised.
    repairs:
        The repairs, in order.
    selection:
        The selected codes and their severities.

    Example
    -------
    >>> diagnosis = Diagnosis()
    >>> diagnosis.check("RNN201", "38 of 38 batches entered with zeros")
    >>> diagnosis.cannot_check("RNN404", "pass closure= to run.backward")
    >>> print(diagnosis)
    passed: compared, and no fault found
      RNN201 the hidden state leaks between unrelated sequences: 38 of 38 batches entered with zeros
    not checked: evidence is missing
      pass closure= to run.backward
        RNN404 the gradient does not match the loss
    >>> diagnosis
    Diagnosis(no alarm, 1 passed, 1 not checked)
    """

    def __init__(self) -> None:
        self.alarms: list[Alarm] = []
        self.repairs: list[Repair] = []
        self.selection = Selection()
        self._compared: dict[str, str] = {}
        self._cannot_tell: dict[str, str] = {}
        self._reasons: dict[str, str] = {}

    def add(self, alarm: Alarm) -> Alarm:
        """Add an alarm, or count it if ``alarms`` has its code; return the alarm of this code in ``alarms``.

        An alarm that is more severe than the earlier one of its code replaces it.
        """
        for place, known in enumerate(self.alarms):
            if known.code == alarm.code:
                more_severe = _severity_rank(alarm) > _severity_rank(known)
                self.alarms[place] = attrs.evolve(alarm if more_severe else known, count=known.count + 1)
                if more_severe:
                    self._attribute()
                return self.alarms[place]
        self.alarms.append(alarm)
        self._attribute()
        return self.alarms[-1]

    def report(self, alarm: Alarm) -> Alarm:
        """Add an alarm with the severity that the selection gives it; log it if it is new or more severe than before.

        Notes and consequences are logged at the level INFO, other alarms at WARNING.
        """
        earlier = next((known.severity for known in self.alarms if known.code == alarm.code), None)
        alarm = self.add(self.selection.adjust(alarm))
        if alarm.severity != earlier:
            quiet = alarm.severity == "info" or alarm.explained_by is not None
            logger.log(logging.INFO if quiet else logging.WARNING, "%s", alarm)
        return alarm

    def revise(self, finding: Finding) -> None:
        """Replace message, evidence and severity of a code's alarm by those of a later finding.

        Epoch, step and count of the alarm are kept. A code that was not raised is left unchanged.
        """
        for place, alarm in enumerate(self.alarms):
            if alarm.code == finding.code:
                revised = attrs.evolve(
                    alarm,
                    message=finding.message,
                    evidence=finding.evidence,
                    cause=finding.cause or alarm.cause,
                    remedy=finding.remedy or alarm.remedy,
                    severity=finding.severity or alarm.severity,
                    explains=alarm.explains if finding.explains is None else finding.explains,
                )
                self.alarms[place] = self.selection.adjust(revised)
        self._attribute()

    def report_repair(self, repair: Repair) -> None:
        """Add a repair and log it."""
        self.repairs.append(repair)
        logger.warning("repaired %s", repair)

    def replace_alarms(self, alarms: Iterable[Alarm]) -> None:
        """Replace all alarms by these."""
        self.alarms[:] = alarms

    def content(self) -> DiagnosisContent:
        """All that a checkpoint saves of the diagnosis."""
        return DiagnosisContent(
            alarms=list(self.alarms),
            repairs=list(self.repairs),
            compared=dict(self._compared),
            cannot_tell=dict(self._cannot_tell),
            not_checked=dict(self._reasons),
        )

    def restore(self, content: DiagnosisContent) -> None:
        """Replace alarms, repairs and the records of all checks."""
        self.alarms[:] = content.alarms
        self.repairs[:] = content.repairs
        self._compared = dict(content.compared)
        self._cannot_tell = dict(content.cannot_tell)
        self._reasons = dict(content.not_checked)

    @property
    def causes(self) -> list[Alarm]:
        """The alarms that no other alarm explains."""
        return [alarm for alarm in self.alarms if alarm.explained_by is None]

    def consequences(self, cause: Alarm) -> list[Alarm]:
        """The alarms that this one explains."""
        return [alarm for alarm in self.alarms if alarm.explained_by == cause.code]

    def check(self, code: str, compared: str) -> None:
        """Record the comparison made for a code, and how often. The code has passed unless its alarm was raised.

        The latest record of a code is kept.
        """
        self._compared[code] = compared

    def report_cannot_tell(self, code: str, why: str) -> None:
        """Record why the evidence for a code does not separate a fault from a healthy run. The latest reason is kept.

        It has no effect on a code that is checked or raised at any time of the run.
        """
        self._cannot_tell[code] = why

    def withdraw(self, code: str, why: str) -> None:
        """Withdraw a passed check whose comparison no longer holds, and record the reason.

        The code passes again with the next :meth:`check`.
        """
        self._compared.pop(code, None)
        self._cannot_tell[code] = why

    def cannot_check(self, code: str, why: str) -> None:
        """Record why a code cannot be checked, and the line that would enable the check. The first reason is kept.

        It has no effect on a code that is raised, passed or undecided at any time of the run.
        """
        self._reasons.setdefault(code, why)

    @property
    def passed(self) -> dict[str, str]:
        """The comparison made for each code that was checked and not raised."""
        return self._selected(self._compared, except_for=set())

    @property
    def cannot_tell(self) -> dict[str, str]:
        """The reason for each code whose evidence did not decide."""
        return self._selected(self._cannot_tell, except_for=self._compared.keys())

    @property
    def not_checked(self) -> dict[str, str]:
        """The reason for each code that could not be checked."""
        return self._selected(self._reasons, except_for=self._compared.keys() | self._cannot_tell.keys())

    def _selected(self, results: Mapping[str, str], *, except_for: Set[str]) -> dict[str, str]:
        known = except_for | {alarm.code for alarm in self.alarms}
        return {
            code: text for code, text in sorted(results.items()) if code not in known and self.selection.selects(code)
        }

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as plain values, ready for JSON."""
        return {
            "alarms": [alarm.to_dict() for alarm in self.alarms],
            "passed": self.passed,
            "cannot_tell": self.cannot_tell,
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
                for one in self.consequences(cause):
                    lines += [DiagnosisLine(f"consequence: {one.headline}", 4), DiagnosisLine(one.message, 6)]
        if self.repairs:
            lines += [DiagnosisLine("repaired"), *(DiagnosisLine(str(repair), 2) for repair in self.repairs)]
        if self.passed and list_passed:
            lines += [
                DiagnosisLine("passed: compared, and no fault found"),
                *(DiagnosisLine(f"{_titled(code)}: {compared}", 2) for code, compared in self.passed.items()),
            ]
        elif self.passed:
            lines.append(DiagnosisLine(f"checks passed: {len(self.passed)}"))
        if self.cannot_tell:
            lines += [
                DiagnosisLine("cannot tell: the evidence does not decide"),
                *(DiagnosisLine(f"{_titled(code)}: {why}", 2) for code, why in self.cannot_tell.items()),
            ]
        if self.not_checked:
            lines.append(DiagnosisLine("not checked: evidence is missing"))
        # One line added to a script often enables several checks, so checks that lack the same evidence are grouped.
        for reason in dict.fromkeys(self.not_checked.values()):
            lines.append(DiagnosisLine(reason, 2))
            lines += [DiagnosisLine(_titled(code), 4) for code, why in self.not_checked.items() if why == reason]
        return lines

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines())) or "nothing was checked"

    def _repr_html_(self) -> str:
        return lines_html(self.lines())

    def __repr__(self) -> str:
        causes = self.causes
        parts = [", ".join(f"{cause.code} {cause.cause}" for cause in causes) or "no alarm"]
        counts = {
            "consequences": len(self.alarms) - len(causes),
            "passed": len(self.passed),
            "cannot tell": len(self.cannot_tell),
            "not checked": len(self.not_checked),
            "repairs": len(self.repairs),
        }
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        return f"Diagnosis({', '.join(parts)})"

    def _attribute(self) -> None:
        """Set the cause that explains each alarm, and raise the severity of causes to that of their consequences."""
        by_code = {alarm.code: alarm for alarm in sorted(self.alarms, key=lambda one: _RANK.get(one.code, len(_RANK)))}
        explained = {
            code: next((cause.code for cause in by_code.values() if _explains(cause, alarm)), None)
            for code, alarm in by_code.items()
        }
        for place, alarm in enumerate(self.alarms):
            root = explained[alarm.code]
            while root is not None and explained[root] is not None:
                root = explained[root]
            self.alarms[place] = attrs.evolve(alarm, explained_by=root)
        for place, alarm in enumerate(self.alarms):
            most_severe = max((alarm, *self.consequences(alarm)), key=_severity_rank)
            self.alarms[place] = attrs.evolve(alarm, severity=most_severe.severity)


def _explains(cause: Alarm, alarm: Alarm) -> bool:
    """Whether the alarm is a consequence of the cause.

    By the codes that the cause's finding explains, or else the catalogue's; and by whether updates came before them.
    """
    known, consequence = CATALOGUE.get(cause.code), CATALOGUE.get(alarm.code)
    if known is None or consequence is None:
        return False
    if consequence.may_be_initial and _before_updates(alarm) and not _before_updates(cause):
        return False
    if alarm.code in known.explains_later:
        return _before_updates(cause) and not _before_updates(alarm)
    explains = known.explains if cause.explains is None else cause.explains.split()
    return alarm.code in explains and _RANK[cause.code] < _RANK[alarm.code]


def _before_updates(alarm: Alarm) -> bool:
    return alarm.step <= 1 and alarm.severity != "info"


def _severity_rank(alarm: Alarm) -> int:
    return SEVERITIES.index(alarm.severity)


def _titled(code: str) -> str:
    """A code with its title, if it is registered."""
    return f"{code} {cause_of(code)}".rstrip()
