"""The verdict on the runs of a script, in one line."""

from __future__ import annotations

from collections.abc import Iterable

from rnncallbacks.alarms.diagnosis import Diagnosis


def verdict(diagnoses: Iterable[Diagnosis]) -> str:
    """The causes found in any of the diagnoses, and the notes; if there are no causes, the numbers of checks that
    passed and that are missing.

    Example
    -------
    >>> healthy = Diagnosis()
    >>> healthy.check("RNN201", "38 of 38 batches entered with zeros")
    >>> healthy.cannot_check("RNN404", "pass closure= to run.backward")
    >>> verdict([healthy])
    'nothing fired: 1 check passed, 1 not checked'
    """
    known = list(diagnoses)
    causes = {cause.code: cause for one in known for cause in one.causes if cause.severity != "info"}
    notes = list(dict.fromkeys(cause.code for one in known for cause in one.causes if cause.severity == "info"))
    if causes:
        named = ", ".join(f"{code} {cause.cause}" for code, cause in causes.items())
        more = next(iter(causes)) if len(causes) == 1 else "CODE"
        noted = f"; {_named_notes(notes)}" if notes else ""
        return f"{counted(len(causes), 'cause')} found: {named}{noted}; to read more: rnncallbacks explain {more}"
    passed = {code for one in known for code in one.passed}
    fired = {alarm.code for one in known for alarm in one.alarms}
    cannot_tell = {code for one in known for code in one.cannot_tell} - passed - fired
    missing = {code for one in known for code in one.not_checked} - passed - fired - cannot_tell
    words = [f"{counted(len(passed), 'check')} passed"]
    words += [_named_notes(notes)] * bool(notes)
    words += [f"{len(cannot_tell)} cannot tell"] * bool(cannot_tell)
    words += [f"{len(missing)} not checked"] * bool(missing)
    return f"nothing fired: {', '.join(words)}" if passed or notes else "nothing was checked"


def _named_notes(codes: list[str]) -> str:
    return f"{counted(len(codes), 'note')} ({', '.join(codes)})"


def counted(count: int, singular: str, plural: str = "") -> str:
    """A number followed by the noun that it counts; the plural is the singular with an s, unless it is given.

    >>> counted(1, "check"), counted(2, "check"), counted(0, "batch", "batches")
    ('1 check', '2 checks', '0 batches')
    """
    return f"{count} {singular}" if count == 1 else f"{count} {plural or f'{singular}s'}"
