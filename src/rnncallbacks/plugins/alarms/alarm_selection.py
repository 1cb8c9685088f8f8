"""Selection of the alarm codes that a run raises, and their severity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks import options
from rnncallbacks.alarms.catalogue import Severity
from rnncallbacks.alarms.selection import Selection
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.errors import OptionError

if TYPE_CHECKING:
    from rnncallbacks.core.run import Run


def _severities(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, dict):
        raise OptionError(f"AlarmSelection: {field.name}: expected a mapping of codes to severities, got {value!r}")


@attrs.define(eq=False, kw_only=True)
class AlarmSelection:
    """Selects or ignores alarm codes, and sets their severity, by code or by prefix.

    If several entries match a code, the longest one applies; ``ignore`` wins over ``select`` at equal length. A code
    that is not selected raises no alarm: it is not listed, not logged, and stops nothing.

    Options
    -------
    select:
        Codes or prefixes of codes that raise alarms. The empty prefix matches every code, including codes of other
        packages.
    ignore:
        Codes or prefixes of codes that raise no alarms.
    severity:
        Severity, "info", "warning" or "error", by code or prefix.

    Raises
    ------
    OptionError
        An entry that starts with RNN matches no code, or a severity is not one of the three.

    Example
    -------
    >>> AlarmSelection(ignore=["RNN6"], severity={"RNN301": "error"}).ignore
    ('RNN6',)
    """

    select: tuple[str, ...] = attrs.field(default=("",), converter=options.as_tuple, validator=options.words)
    ignore: tuple[str, ...] = attrs.field(default=(), converter=options.as_tuple, validator=options.words)
    severity: dict[str, Severity] = attrs.field(factory=dict, validator=_severities)

    def __attrs_post_init__(self) -> None:
        self._selection()

    def _selection(self) -> Selection:
        return Selection(self.select, self.ignore, self.severity)

    @hookimpl(tryfirst=True)
    def on_fit_start(self, run: Run) -> None:
        run.diagnosis.selection = self._selection()
