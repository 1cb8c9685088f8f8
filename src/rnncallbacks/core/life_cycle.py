"""The stages of a run, and the error for a call at the wrong stage."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from rnncallbacks.errors import RunStateError

Stage: TypeAlias = Literal["new", "entered", "fitting", "ended"]


@attrs.define
class LifeCycle:
    """The stage of a run.

    A run is "new" until ``with`` enters it, "fitting" once its first epoch began, and "ended" when ``with`` was left.

    Example
    -------
    >>> LifeCycle("ended").require("fitting", doing="call run.log")
    Traceback (most recent call last):
    rnncallbacks.errors.RunStateError: cannot call run.log: the run has ended
      hint: make a new Run
    """

    stage: Stage = "new"

    def require(self, *allowed: Stage, doing: str) -> None:
        """Refuse a call unless the stage is one of ``allowed``; ``doing`` describes the call.

        Raises
        ------
        RunStateError
            The message names the stage of the run, the hint the remedy.
        """
        if self.stage in allowed:
            return
        if self.stage == "ended":
            why, hint = "the run has ended", "make a new Run"
        elif self.stage == "new":
            why, hint = "the run was not entered", "write: with Run(...) as run:"
        elif self.stage == "entered" and "fitting" in allowed:
            why, hint = "no epoch is open", "put it inside: for epoch in run.epochs(...):"
        else:
            why, hint = "the run was entered already", "make a new Run"
        raise RunStateError(f"cannot {doing}: {why}", hint=hint)
