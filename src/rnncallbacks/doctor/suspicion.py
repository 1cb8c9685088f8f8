"""The suspicious lines for an alarm: the statements that assign the wrong values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.role_table import ParameterRole, Roles
from rnncallbacks.doctor.source_lines import AssigningStatement, AssigningStatements, SourceLine
from rnncallbacks.doctor.value_walk import Key

GRADIENT_CODES = frozenset({"RNN401", "RNN402", "RNN404", "RNN405", "RNN406"})
UPDATE_CODES = frozenset({"RNN501", "RNN502", "RNN503", "RNN601", "RNN602", "RNN605"})
LOSS_SCALE_CODES = frozenset({"RNN301", "RNN302", "RNN403"})
STATE_CODES = frozenset({"RNN201", "RNN202", "RNN203", "RNN407"})
REPORT_CODES = frozenset({"RNN101", "RNN102"})
DATA_CODES = frozenset({"RNN603"})
MOST_LINES = 4
"""Largest number of lines for one alarm. Chosen by eye."""


class Suspicion:
    """Finds the suspicious lines for an alarm.

    Parameters
    ----------
    statements:
        The statements of the user's files.
    roles:
        The roles of the loop's values.
    record:
        An iteration with all values.
    loop:
        The training loop.
    """

    def __init__(self, statements: AssigningStatements, roles: Roles, record: IterationRecord, loop: Site) -> None:
        self._statements = statements
        self._roles = roles
        self._record = record
        self._loop = loop
        self.report: Key | None = None

    def lines(self, alarm: Alarm) -> list[SourceLine]:
        """The suspicious lines for an alarm, the likeliest first; empty if nothing is known."""
        if alarm.code in GRADIENT_CODES:
            found = self._gradient_lines(alarm)
        elif alarm.code in UPDATE_CODES:
            found = self._update_lines()
        elif alarm.code in LOSS_SCALE_CODES:
            found = self._of_keys([self._roles.loss], "assigns the loss")
        elif alarm.code in STATE_CODES:
            found = self._of_keys([*self._roles.carried, self._roles.hidden, self._roles.entering], "assigns the state")
        elif alarm.code in REPORT_CODES and self.report is not None:
            found = [one.shown("adds to the report") for one in self._statements.adding_to(self.report[2])]
        elif alarm.code in DATA_CODES:
            found = self._of_keys([self._roles.targets, self._roles.inputs], "assigns the data")
        else:
            found = []
        return list({(one.file, one.line): one for one in reversed(found)}.values())[::-1][:MOST_LINES]

    def _gradient_lines(self, alarm: Alarm) -> list[SourceLine]:
        wrong, right = wrong_and_right(alarm, [one.name for one in self._roles.with_gradient])
        by_name = {one.name: one for one in self._roles.with_gradient}
        accused = [self._of_gradient(by_name[name]) for name in wrong]
        direct = [
            found[0].shown(f"assigns the gradient of {name}")
            for name, found in zip(wrong, accused, strict=True)
            if found
        ]
        cleared = [self._of_gradient(by_name[name]) for name in right]
        return direct[:1] + self._common(accused, cleared) + direct[1:]

    def _common(
        self, accused: Sequence[Sequence[AssigningStatement]], cleared: Sequence[Sequence[AssigningStatement]]
    ) -> list[SourceLine]:
        """The statements that assign a value that all wrong gradients use and no right one does."""
        used = [frozenset().union(*(one.uses for one in found)) for found in accused if found]
        if not used:
            return []
        innocent = frozenset().union(*(one.uses for found in cleared for one in found))
        own = frozenset(text for found in accused for one in found for text in one.targets)
        names = frozenset.intersection(*used) - innocent - own
        scopes = {one.scope for found in accused for one in found}
        return [
            one.shown(f"assigns {name}, which every wrong gradient uses")
            for name in sorted(names)
            for one in self._statements.of(name)
            if one.scope in scopes and not one.blank
        ][:2]

    def _of_gradient(self, one: ParameterRole) -> list[AssigningStatement]:
        """The recorded statements that changed the gradient's array; else those that assign its name."""
        identity = self._record.identities.get(one.gradient) if one.gradient else None
        sites = self._record.changes.get(identity, ()) if identity is not None else ()
        seen = [found for site in sites if site.additive for found in self._at(site)]
        if seen:
            return seen
        for key in (one.fallback, one.gradient):
            if key is not None and key[0] != "raw" and (found := self._of_key(key)):
                return found
        return [found for site in sites for found in self._at(site)]

    def _update_lines(self) -> list[SourceLine]:
        found: list[SourceLine] = []
        for one in self._roles.parameters:
            identity = self._record.start_identities.get(one.key)
            sites = self._record.changes.get(identity, ()) if identity is not None else ()
            found += [SourceLine(site.file, site.line, site.source, "updates the parameters") for site in sites[-1:]]
        return found or self._of_keys([one.key for one in self._roles.parameters], "assigns the parameters")

    def _of_keys(self, keys: Iterable[Key | None], why: str) -> list[SourceLine]:
        return [one.shown(why) for key in keys if key is not None for one in self._of_key(key)[:3]]

    def _of_key(self, key: Key) -> list[AssigningStatement]:
        kind, scope, name = key
        if kind == "return":
            return []
        where = scope.split("#")[0].replace(".<locals>", "") if kind == "local" else self._loop.scope
        return self._statements.of(name, where)

    def _at(self, site: Site) -> list[AssigningStatement]:
        return [one for one in self._statements.all if (one.file, one.line) == (site.file, site.line)]


def wrong_and_right(alarm: Alarm, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The parameters whose gradient an alarm calls wrong, the worst first, and those that it calls right.

    An alarm that names no array means all of them.
    """
    evidence: Mapping[str, object] = alarm.evidence
    worst = str(evidence.get("array", ""))
    wrong = [worst] if worst in names else []
    right: list[str] = []
    for label, found in (("wrong as well", wrong), ("right", right)):
        listed = re.search(rf"{label}: ([^;]*)", alarm.message)
        if listed is not None:
            found += [name for name in names if f"'{name}'" in listed[1] or f'"{name}"' in listed[1]]
    return (wrong or list(names)), right
