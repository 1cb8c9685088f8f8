"""Alarms: what a plugin found wrong with a run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.alarms.catalogue import CATALOGUE, SEVERITIES, Severity
from rnncallbacks.errors import OptionError, RnnCallbacksError

Action: TypeAlias = Literal["warn", "stop", "raise", "repair"]
ACTIONS: tuple[Action, ...] = ("warn", "stop", "raise", "repair")


def _plain(evidence: Mapping[str, Any]) -> Mapping[str, float | int | str]:
    """NumPy's numbers as Python's, which JSON can hold, and closed to changes."""
    scalars = (np.generic, np.ndarray)
    return MappingProxyType({name: one.item() if isinstance(one, scalars) else one for name, one in evidence.items()})


@attrs.frozen(kw_only=True)
class Alarm:
    """One finding, with the numbers that prove it.

    ``evidence`` maps names to numbers or words: what was seen and what was expected. ``epoch`` and ``step`` say where
    it was first found, both counted from 1; a step is a training batch. ``action`` is what the plugin wanted done.
    ``count`` says how often it was found. ``explained_by`` is the code of the cause from which it follows, None if it
    is a cause itself.

    Example
    -------
    >>> print(Alarm(code="RNN602", cause="divergence", message="the loss rose to 9.1", evidence={"loss": 9.1},
    ...             remedy="lower the learning rate", severity="error", epoch=3, step=120))
    RNN602 divergence: the loss rose to 9.1 (epoch 3, step 120)
      loss = 9.1
      remedy: lower the learning rate
    """

    code: str
    cause: str
    message: str
    evidence: Mapping[str, float | int | str] = attrs.field(converter=_plain)
    remedy: str
    severity: Severity
    epoch: int
    step: int
    action: Action = "warn"
    count: int = 1
    explained_by: str | None = None

    @property
    def headline(self) -> str:
        """Code, cause, message, where and how often, on one line."""
        times = f", {self.count} times" if self.count > 1 else ""
        return f"{self.code} {self.cause}: {self.message} (epoch {self.epoch}, step {self.step}{times})"

    def __str__(self) -> str:
        numbers = ", ".join(
            f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in self.evidence.items()
        )
        lines = [self.headline]
        if numbers:
            lines.append(f"  {numbers}")
        lines.append(f"  remedy: {self.remedy}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The alarm as plain values, ready for JSON."""
        return attrs.asdict(self, recurse=False) | {"evidence": dict(self.evidence)}


class AlarmRaised(RnnCallbacksError, RuntimeError):  # noqa: N818  (it reports an alarm, which is no fault of a call)
    """An alarm whose plugin was told ``action="raise"``; ``alarm`` is the alarm."""

    def __init__(self, alarm: Alarm) -> None:
        super().__init__(f"{alarm.code} {alarm.message}", hint=alarm.remedy)
        self.alarm = alarm


def make_alarm(
    code: str,
    message: str,
    evidence: Mapping[str, float | int | str],
    *,
    cause: str | None,
    remedy: str | None,
    severity: Severity | None,
    action: Action,
    epoch: int,
    step: int,
) -> Alarm:
    """An alarm whose cause, remedy and severity are the catalogue's where they are None.

    Raises
    ------
    OptionError
        The action or severity is none of its words, or the catalogue lacks the code and one of the three is not given.
    """
    if action not in ACTIONS:
        raise OptionError(f"run.raise_alarm: expected action {_words(ACTIONS)}, got {action!r}")
    entry = CATALOGUE.get(code)
    cause = cause or (entry.cause if entry else None)
    remedy = remedy or (entry.remedy if entry else None)
    severity = severity or (entry.severity if entry else None)
    if severity not in (None, *SEVERITIES):
        raise OptionError(f"run.raise_alarm: expected severity {_words(SEVERITIES)}, got {severity!r}")
    if cause is None or remedy is None or severity is None:
        raise OptionError(
            f"run.raise_alarm: {code!r} is not in the catalogue", hint="give cause=, remedy= and severity= with it"
        )
    return Alarm(
        code=code,
        cause=cause,
        message=message,
        evidence=evidence,
        remedy=remedy,
        severity=severity,
        epoch=epoch,
        step=step,
        action=action,
    )


def _words(words: tuple[str, ...]) -> str:
    return f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}"
