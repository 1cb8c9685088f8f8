"""The alarm codes that are selected in a run, and their severities."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.catalogue import CATALOGUE, SEVERITIES, Severity
from rnncallbacks.errors import OptionError, closest


@attrs.frozen
class Selection:
    """The selected alarm codes and their severities.

    Entries are codes or prefixes of codes, as in linters. The longest entry that matches a code decides; of two
    entries of one length, ``ignore`` takes precedence.

    Parameters
    ----------
    select:
        Selected codes and prefixes. The empty string matches every code.
    ignore:
        Ignored codes and prefixes.
    severity:
        A code or prefix to "info", "warning" or "error".

    Raises
    ------
    OptionError
        An entry begins with RNN and matches no code of the catalogue, or a severity is none of the three.

    Example
    -------
    >>> selection = Selection(select=("RNN",), ignore=("RNN6",), severity={"RNN301": "error"})
    >>> selection.selects("RNN301"), selection.selects("RNN601")
    (True, False)
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
        """Whether a code is selected."""
        return _longest(code, self.select) > _longest(code, self.ignore)

    def adjust(self, alarm: Alarm) -> Alarm:
        """The alarm with the severity of the longest entry of ``severity`` that matches its code."""
        entry = max((entry for entry in self.severity if alarm.code.startswith(entry)), key=len, default=None)
        return alarm if entry is None else attrs.evolve(alarm, severity=self.severity[entry])


def _longest(code: str, entries: tuple[str, ...]) -> int:
    return max((len(entry) for entry in entries if code.startswith(entry)), default=-1)
