"""A diagnosis in the terminal, in full: what fired, what passed, and what was not checked and why."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.alarms.diagnosis import Diagnosis

STYLES = {"error": "bold red", "warning": "bold yellow", "info": "bold"}


def show_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print causes with what follows from them, then the other checks, then repairs."""
    for heading, noted in (("fired", False), ("noticed", True)):
        causes = [cause for cause in diagnosis.causes if (cause.severity == "info") is noted]
        if causes:
            _heading(console, heading)
        for cause in causes:
            _show_cause(console, cause, diagnosis.consequences(cause))
    if diagnosis.repairs:
        _heading(console, "repaired")
        for repair in diagnosis.repairs:
            console.print(Padding(Text(str(repair)), (0, 0, 0, 2), expand=False))
    if diagnosis.passed:
        _heading(console, "passed")
        _show_codes(console, diagnosis.passed, 2)
    if diagnosis.not_checked:
        _heading(console, "not checked")
        # By what is lacking, as one line more in a script often unlocks several checks.
        for why in dict.fromkeys(diagnosis.not_checked.values()):
            console.print(Padding(Text(why), (0, 0, 0, 2), expand=False))
            _show_codes(console, [code for code, reason in diagnosis.not_checked.items() if reason == why], 4)


def verdict(diagnoses: Iterable[Diagnosis]) -> str:
    """What a number of diagnoses come to, in one line.

    Example
    -------
    >>> healthy = Diagnosis()
    >>> healthy.check("RNN201")
    >>> healthy.cannot_check("RNN404", "pass closure= to run.backward")
    >>> verdict([healthy])
    'nothing fired: 1 check passed, 1 could not be made'
    """
    known = list(diagnoses)
    causes = {cause.code: cause for one in known for cause in one.causes if cause.severity != "info"}
    if causes:
        named = ", ".join(f"{code} {cause.cause}" for code, cause in causes.items())
        more = next(iter(causes)) if len(causes) == 1 else "CODE"
        return f"{counted(len(causes), 'cause')} found: {named}; for more: rnncallbacks explain {more}"
    passed = {code for one in known for code in one.passed}
    notes = {alarm.code for one in known for alarm in one.alarms}
    missing = {code for one in known for code in one.not_checked} - passed - notes
    words = [f"{counted(len(passed), 'check')} passed"]
    words += [f"{counted(len(notes), 'note')}"] * bool(notes)
    words += [f"{len(missing)} could not be made"] * bool(missing)
    return f"nothing fired: {', '.join(words)}" if passed or notes else "nothing was checked"


def counted(count: int, what: str, several: str = "") -> str:
    """A number and what it counts, in the plural where there are several.

    >>> counted(1, "check"), counted(2, "check"), counted(0, "batch", "batches")
    ('1 check', '2 checks', '0 batches')
    """
    return f"{count} {what}" if count == 1 else f"{count} {several or f'{what}s'}"


def _heading(console: Console, words: str) -> None:
    console.print(Text(words, "dim"))


def _show_cause(console: Console, cause: Alarm, consequences: Iterable[Alarm]) -> None:
    head, *details = str(cause).splitlines()
    console.print(Padding(Text(head, STYLES[cause.severity]), (0, 0, 0, 2), expand=False))
    lines = [detail.strip() for detail in details] + [f"so also {one.headline}" for one in consequences]
    for line in lines:
        console.print(Padding(Text(line), (0, 0, 0, 4), expand=False))


def _show_codes(console: Console, codes: Iterable[str], indent: int) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for code in codes:
        grid.add_row(code, CATALOGUE[code].cause if code in CATALOGUE else "")
    console.print(Padding(grid, (0, 0, 0, indent), expand=False))
