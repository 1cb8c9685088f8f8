"""The result of a detector: a fault with its evidence, and the checks that were made."""

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
        The cause, and the remedy with the measured number; None: those of the catalogue.
    explains:
        The codes, separated by spaces, that are its consequences if they are raised too, of those after it in the
        catalogue; None: those that the catalogue gives it.

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
    explains: str | None = None


@attrs.frozen(kw_only=True)
class CheckResult:
    """The conclusions of a detector.

    Parameters
    ----------
    finding:
        The fault, or None.
    checked:
        Codes whose evidence was compared, each with the comparison and how often it was made: "38 of 38 batches entered
        with zeros". Those that never fire have passed.
    cannot_tell:
        Codes whose evidence did not separate a fault from a healthy run, each with the reason.
    withdrawn:
        Codes that passed before and whose evidence was contradicted later, each with the reason.
    not_checked:
        Codes whose evidence is missing, each with the line that would provide it.

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

    def superseding(self) -> CheckResult:
        """The conclusions of all evidence so far: codes that it does not decide do not pass by a part of it.

        Example
        -------
        >>> CheckResult(cannot_tell={"RNN401": "the norms jump"}).superseding().withdrawn
        {'RNN401': 'the norms jump'}
        """
        return attrs.evolve(self, cannot_tell={}, withdrawn={**self.cannot_tell, **self.withdrawn})


NOTHING_COMPARED = CheckResult()
"""The result of a batch in which a detector had nothing to do."""
