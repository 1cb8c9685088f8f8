"""Alarms: findings of plugins, with their evidence and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.alarms.catalogue import SEVERITIES, Severity
from rnncallbacks.alarms.registered_codes import CODE_GROUP, find_entry
from rnncallbacks.errors import OptionError, RnnCallbacksError

Action: TypeAlias = Literal["warn", "stop", "raise", "repair"]
ACTIONS: tuple[Action, ...] = ("warn", "stop", "raise", "repair")


def _plain(evidence: Mapping[str, Any]) -> Mapping[str, float | int | str]:
    """A read-only copy with Python's numbers for NumPy's, so that JSON can hold it."""
    scalars = (np.generic, np.ndarray)
    return MappingProxyType({name: one.item() if isinstance(one, scalars) else one for name, one in evidence.items()})


@attrs.frozen(kw_only=True)
class Alarm:
    """One finding of a run, with its evidence.

    Attributes
    ----------
    code:
        The code, such as ``"RNN602"``.
    cause, remedy, severity:
        The cause, the remedy, and "info", "warning" or "error".
    message:
        The measured numbers, compared with the expected ones.
    evidence:
        Numbers and strings by name: the measured and the expected values.
    epoch, step:
        Epoch and training batch in which the alarm was first raised, counted from 1.
    action:
        "warn", "stop", "raise" or "repair".
    count:
        Number of times that the code was raised.
    explained_by:
        The code of the cause whose consequence this alarm is, or None if it is a cause.
    explains:
        The codes, separated by spaces, that are its consequences if they are raised too, of those after it in the
        catalogue; None: those that the catalogue gives it.

    Example
    -------
    >>> print(Alarm(code="RNN602", cause="divergence", message="the loss rose to 9.1", evidence={"loss": 9.1},
    ...             remedy="lower the learning rate", severity="error", epoch=3, step=120))
    RNN602 divergence (epoch 3, step 120)
      the loss rose to 9.1
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
    explains: str | None = None

    @property
    def headline(self) -> str:
        """Code, cause, place and count on one line."""
        times = f", {self.count} times" if self.count > 1 else ""
        return f"{self.code} {self.cause} (epoch {self.epoch}, step {self.step}{times})"

    def __str__(self) -> str:
        numbers = ", ".join(
            f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in self.evidence.items()
        )
        lines = [self.headline, f"  {self.message}"]
        if numbers:
            lines.append(f"  {numbers}")
        lines.append(f"  remedy: {self.remedy}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The alarm as plain values, ready for JSON."""
        return attrs.asdict(self, recurse=False) | {"evidence": dict(self.evidence)}


class AlarmRaised(RnnCallbacksError, RuntimeError):  # noqa: N818  (it reports an alarm, not a wrong call)
    """An alarm with the action "raise".

    Attributes
    ----------
    alarm:
        The alarm.
    """

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
    explains: str | None = None,
) -> Alarm:
    """An alarm; ``cause``, ``remedy`` and ``severity`` default to those with which the code is registered.

    Raises
    ------
    OptionError
        The code or message is not a text, the evidence is not a mapping, the action or severity is unknown, or the code
        is not registered and one of ``cause``, ``remedy`` and ``severity`` is None.
    PluginError
        Two packages register the code, or its entry cannot be loaded.
    """
    for name, text in (("code", code), ("message", message)):
        if not isinstance(text, str) or not text:
            raise OptionError(f"run.raise_alarm: {name}: expected a text, got {text!r}")
    if not isinstance(evidence, Mapping):
        raise OptionError(
            f"run.raise_alarm: evidence: expected numbers by name, got {evidence!r}",
            hint="write evidence={'measured': 3.2, 'bound': 1.0}",
        )
    if action not in ACTIONS:
        raise OptionError(f"run.raise_alarm: expected action {_words(ACTIONS)}, got {action!r}")
    entry = None if cause and remedy and severity else find_entry(code)
    cause = cause or (entry.cause if entry else None)
    remedy = remedy or (entry.remedy if entry else None)
    severity = severity or (entry.severity if entry else None)
    if severity not in (None, *SEVERITIES):
        raise OptionError(f"run.raise_alarm: expected severity {_words(SEVERITIES)}, got {severity!r}")
    if cause is None or remedy is None or severity is None:
        raise OptionError(
            f"run.raise_alarm: {code!r} is not in the catalogue",
            hint=f"pass cause=, remedy= and severity= as well, or register the code in the group {CODE_GROUP}",
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
        explains=explains,
    )


def _words(words: tuple[str, ...]) -> str:
    return f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}"
