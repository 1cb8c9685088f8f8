"""The base class of the published rules in the fault benchmark. It records findings and does not stop the run."""

from __future__ import annotations

from typing import ClassVar

import attrs

from rnncallbacks.core.run import Run


@attrs.define(eq=False)
class Comparator:
    """A published rule. ``findings`` maps each code to the training batch of its first finding."""

    label: ClassVar[str]

    findings: dict[str, int] = attrs.field(factory=dict, init=False)

    def find(self, run: Run, code: str) -> None:
        self.findings.setdefault(code, run.step)
