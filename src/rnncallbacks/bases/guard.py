"""What the guards share: an action for what they find, and a word on what they could not check."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.alarms.alarm import ACTIONS, Action
from rnncallbacks.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from rnncallbacks.core.run import Run
    from rnncallbacks.detectors.finding import Finding


@attrs.define(eq=False, kw_only=True)
class Guard:
    """Looks at a run and names causes; a guard derives from it, names its ``codes`` and implements hooks.

    A guard notes each code that it could check with ``run.diagnosis.check(code)``, and what it lacked with
    ``run.diagnosis.cannot_check(code, why)``.

    Those of the library check their options when they are made (``on_setattr=attrs.setters.NO_OP``): what they note
    down in every batch would else be looked at for options, which takes longer than some of the guards.
    """

    codes: ClassVar[tuple[str, ...]] = ()

    action: Action = attrs.field(default="warn", validator=options.one_of(*ACTIONS))

    def fire(self, run: Run, finding: Finding) -> None:
        """Raise the alarm of a finding with the guard's action."""
        run.raise_alarm(
            finding.code,
            finding.message,
            evidence=finding.evidence,
            cause=finding.cause,
            remedy=finding.remedy,
            severity=finding.severity,
            action=self.action,
        )

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        for code in self.codes:
            run.diagnosis.cannot_check(code, "the run was too short")
