"""Alarms: what a plugin found wrong with a run, and the catalogue of codes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.errors import OptionError

Severity: TypeAlias = Literal["info", "warning", "error"]
Action: TypeAlias = Literal["warn", "stop", "raise"]


def _plain(evidence: Mapping[str, Any]) -> Mapping[str, float | int | str]:
    """NumPy's numbers as Python's, which JSON can hold, and closed to changes."""
    scalars = (np.generic, np.ndarray)
    return MappingProxyType({name: one.item() if isinstance(one, scalars) else one for name, one in evidence.items()})


@attrs.frozen(kw_only=True)
class Alarm:
    """One finding, with the numbers that prove it.

    ``evidence`` maps names to numbers or words: what was seen and what was expected. ``epoch`` and ``step`` say where
    it was found, both counted from 1; a step is a training batch.

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

    def __str__(self) -> str:
        numbers = ", ".join(
            f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in self.evidence.items()
        )
        lines = [f"{self.code} {self.cause}: {self.message} (epoch {self.epoch}, step {self.step})"]
        if numbers:
            lines.append(f"  {numbers}")
        lines.append(f"  remedy: {self.remedy}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The alarm as plain values, ready for JSON."""
        return attrs.asdict(self, recurse=False) | {"evidence": dict(self.evidence)}


@attrs.frozen
class Entry:
    """What the catalogue says of one code."""

    cause: str
    severity: Severity
    remedy: str


CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "RNN403": Entry(
            cause="non-finite value",
            severity="error",
            remedy="lower the learning rate, clip gradients (gradient_clipping), and compute log-softmax from logits",
        ),
        "RNN601": Entry(
            cause="plateau",
            severity="warning",
            remedy="check what feeds the loss first: averaging, state reset, loss function; then the learning rate",
        ),
        "RNN602": Entry(
            cause="divergence",
            severity="error",
            remedy="lower the learning rate, and clip gradients (gradient_clipping)",
        ),
        "RNN605": Entry(
            cause="loss spike",
            severity="warning",
            remedy="look at this batch's data; if spikes recur, clip gradients and lower the learning rate",
        ),
    }
)
"""Every code of the library, with its cause, default severity and remedy."""


def make_alarm(
    code: str,
    message: str,
    evidence: Mapping[str, float | int | str],
    *,
    cause: str | None,
    remedy: str | None,
    severity: Severity | None,
    epoch: int,
    step: int,
) -> Alarm:
    """An alarm whose cause, remedy and severity are the catalogue's where they are None.

    Raises
    ------
    OptionError
        The severity is none of the three words, or the catalogue lacks the code and one of the three is not given.
    """
    entry = CATALOGUE.get(code)
    cause = cause or (entry.cause if entry else None)
    remedy = remedy or (entry.remedy if entry else None)
    severity = severity or (entry.severity if entry else None)
    if severity not in (None, "info", "warning", "error"):
        raise OptionError(f"run.raise_alarm: expected severity 'info', 'warning' or 'error', got {severity!r}")
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
    )
