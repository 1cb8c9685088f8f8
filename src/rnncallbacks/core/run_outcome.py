"""How a run ended."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.errors import one_line

Ending: TypeAlias = Literal["finished", "stopped", "failed", "interrupted"]
SCRIPT = "script"
MAX_STEPS = "max_steps"


@attrs.frozen(kw_only=True)
class RunOutcome:
    """How the training of a run ended.

    Attributes
    ----------
    ending:
        "finished" if the loop came to its end, "stopped" if something called ``run.stop``, "failed" if an exception
        left the run, "interrupted" if it was Ctrl-C or another exception that is not an ``Exception``.
    reason:
        The argument of ``run.stop``, or the exception on one line; None for a run that finished.
    by:
        Who stopped the run: the name of a plugin, "script", or "max_steps" for the limit of ``run.epochs``. None for a
        run that was not stopped.
    code:
        The code of the alarm that stopped the run or was raised as an exception, or None.

    Example
    -------
    >>> print(RunOutcome(ending="stopped", reason="the learning rate is 0", by="my_plugin"))
    stopped by my_plugin: the learning rate is 0
    """

    ending: Ending
    reason: str | None = None
    by: str | None = None
    code: str | None = None

    @classmethod
    def of_error(cls, error: BaseException) -> RunOutcome:
        """The outcome of a run that this exception left."""
        name, text = type(error).__name__, one_line(error)
        return cls(
            ending="failed" if isinstance(error, Exception) else "interrupted",
            reason=": ".join(filter(None, (name, text.removeprefix(f"{name}:").strip()))),
            code=error.alarm.code if isinstance(error, AlarmRaised) else None,
        )

    def __str__(self) -> str:
        text = self.ending if self.by is None else f"{self.ending} by {self.by}"
        return text if self.reason is None else f"{text}: {self.reason}"
