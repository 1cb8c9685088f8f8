"""Configuration: which alarm codes count in a run, and how severe they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks import options
from rnncallbacks.alarms.catalogue import Severity
from rnncallbacks.alarms.diagnosis import Selection
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.errors import OptionError

if TYPE_CHECKING:
    from rnncallbacks.core.run import Run


def _severities(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, dict):
        raise OptionError(f"AlarmSelection: {field.name}: expected a table of codes and severities, got {value!r}")


@attrs.define(eq=False, kw_only=True)
class AlarmSelection:
    """Selects and ignores alarm codes, and changes their severity, by exact code or by its beginning.

    Of two entries that fit a code, the longer one decides; of two as long, ``ignore`` does. A code that is not selected
    raises no alarm: nothing is listed, logged or stopped. Put it first, so that it holds from the first epoch on.

    Options
    -------
    select:
        Codes, or beginnings of codes, that count. An empty beginning fits every code, those of other packages included.
    ignore:
        Codes, or beginnings of codes, that do not count.
    severity:
        From a code, or the beginning of some, to "info", "warning" or "error".

    Raises
    ------
    OptionError
        An entry that begins with RNN fits no code, or a severity is none of the three.

    Example
    -------
    >>> AlarmSelection(ignore=["RNN6"], severity={"RNN301": "error"}).ignore
    ('RNN6',)
    """

    select: tuple[str, ...] = attrs.field(default=("",), converter=options.as_words, validator=options.words)
    ignore: tuple[str, ...] = attrs.field(default=(), converter=options.as_words, validator=options.words)
    severity: dict[str, Severity] = attrs.field(factory=dict, validator=_severities)

    def __attrs_post_init__(self) -> None:
        self._selection()

    def _selection(self) -> Selection:
        return Selection(self.select, self.ignore, self.severity)

    @hookimpl(tryfirst=True)
    def on_fit_start(self, run: Run) -> None:
        run.diagnosis.selection = self._selection()
