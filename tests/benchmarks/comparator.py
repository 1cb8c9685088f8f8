"""What published rules share in the fault benchmark: findings, and that they stop nothing."""

from __future__ import annotations

from typing import ClassVar

import attrs

from rnncallbacks.core.run import Run


@attrs.define(eq=False)
class Comparator:
    """A rule, and the training batch of each code's first finding."""

    label: ClassVar[str]

    findings: dict[str, int] = attrs.field(factory=dict, init=False)

    def find(self, run: Run, code: str) -> None:
        self.findings.setdefault(code, run.step)
