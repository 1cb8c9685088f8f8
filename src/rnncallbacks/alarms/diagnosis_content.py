"""The content of a diagnosis in a checkpoint: alarms, repairs and the records of checks."""

from __future__ import annotations

from typing import Any

import attrs

from rnncallbacks.alarms.alarm import Alarm


@attrs.frozen(kw_only=True)
class Repair:
    """One repair of a run.

    Attributes
    ----------
    code:
        The code of the alarm that led to it.
    what:
        The action taken.
    epoch, step:
        Epoch and training batch of the repair, counted from 1.
    """

    code: str
    what: str
    epoch: int
    step: int

    def __str__(self) -> str:
        return f"{self.code}: {self.what} (epoch {self.epoch}, step {self.step})"


@attrs.frozen(kw_only=True)
class DiagnosisContent:
    """The alarms and repairs of a diagnosis, and the records of all checks by code, for checkpoints."""

    alarms: list[Alarm] = attrs.field(factory=list)
    repairs: list[Repair] = attrs.field(factory=list)
    compared: dict[str, str] = attrs.field(factory=dict)
    cannot_tell: dict[str, str] = attrs.field(factory=dict)
    not_checked: dict[str, str] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The content as plain values, ready for JSON."""
        plain = attrs.asdict(self, recurse=False)
        repairs = [attrs.asdict(repair) for repair in self.repairs]
        return plain | {"alarms": [alarm.to_dict() for alarm in self.alarms], "repairs": repairs}
