"""What a detector returns: one fault with the numbers that prove it, and what it checked."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rnncallbacks.alarms.catalogue import Severity


@attrs.frozen
class Finding:
    """One fault that a detector found.

    Parameters
    ----------
    code:
        A code of the catalogue, such as ``"RNN404"``, or of a third party.
    message:
        A headline of at most 80 characters, then a colon or semicolon and the numbers: measured, expected, compared.
    evidence:
        The numbers by name.
    severity:
        ``"info"``, ``"warning"`` or ``"error"``; None for the severity that the catalogue gives the code.
    cause, remedy:
        The cause and what to do about it, with the measured number in it; None for the catalogue's.

    Example
    -------
    >>> Finding("RNN602", "the loss rose from 1.2 to 9.1", {"loss": 9.1, "best": 1.2}).code
    'RNN602'
    """

    code: str
    message: str
    evidence: Mapping[str, float | int | str]
    severity: Severity | None = None
    cause: str | None = None
    remedy: str | None = None


@attrs.frozen(kw_only=True)
class CheckResult:
    """What a detector concluded from what it has seen.

    Parameters
    ----------
    finding:
        The fault that it found; None if it found none.
    checked:
        Codes whose evidence was compared, each with what was compared and how often: "38 of 38 batches entered with
        zeros". Those that never fire have passed.
    cannot_tell:
        Codes whose evidence was there and did not separate a fault from a healthy run, each with the reason.
    withdrawn:
        Codes that may have passed before, and whose evidence has been contradicted since, each with the reason.
    not_checked:
        Codes whose evidence was missing, each with what was missing, or the line that provides it.

    Example
    -------
    >>> CheckResult(checked={"RNN301": "the first loss is 1.02 ln 36"}).finding is None
    True
    """

    finding: Finding | None = None
    checked: Mapping[str, str] = attrs.field(factory=dict)
    cannot_tell: Mapping[str, str] = attrs.field(factory=dict)
    withdrawn: Mapping[str, str] = attrs.field(factory=dict)
    not_checked: Mapping[str, str] = attrs.field(factory=dict)


NOTHING_COMPARED = CheckResult()
"""The result of a batch in which a detector had nothing to do."""
