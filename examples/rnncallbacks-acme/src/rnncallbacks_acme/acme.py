"""An alarm if the loss of successive batches does not change."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
from rnncallbacks import hookimpl, options
from rnncallbacks.bases import CheckResult, Finding, Guard, state_field

if TYPE_CHECKING:
    from rnncallbacks import Batch, Run


@attrs.define(eq=False, kw_only=True)
class Acme(Guard):
    """Raises ACME001 if successive training batches have exactly the same loss.

    Options
    -------
    patience:
        Number of successive batches with one loss that raise the alarm, 2 or more.
    action:
        The reaction to the alarm: "warn" continues, "stop" ends the run, "raise" ends it with an error.

    Example
    -------
    >>> Acme(patience=5)
    Acme(action='warn', patience=5)
    """

    codes: ClassVar[tuple[str, ...]] = ("ACME001",)

    # Fields are options: a configuration sets them, and their validators refuse what they cannot be.
    patience: int = attrs.field(default=10, validator=options.count(at_least=2))
    # State has its default when a run begins, and checkpoints save it.
    _batches: int = state_field(0)
    _equal: int = state_field(0)
    _loss: float | None = state_field(None)

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch) -> None:
        if batch.loss is not None:
            self.conclude(run, self.check(batch.loss))

    def check(self, loss: float) -> CheckResult:
        """Compare the loss of one more batch with that of the batch before."""
        self._batches += 1
        self._equal = self._equal + 1 if loss == self._loss else 1
        self._loss = loss
        if self._batches < self.patience:
            return CheckResult()
        checked = {"ACME001": f"the losses of {self._batches} batches"}
        if self._equal != self.patience:
            return CheckResult(checked=checked)
        message = f"{self._equal} successive batches have the loss {loss:g}, different losses expected"
        evidence = {"loss": loss, "batches": self._equal}
        return CheckResult(finding=Finding("ACME001", message, evidence=evidence), checked=checked)
