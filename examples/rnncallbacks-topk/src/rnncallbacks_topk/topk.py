"""An alarm if a few entries carry the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np
from rnncallbacks import hookimpl, options
from rnncallbacks.bases import CheckResult, Finding, Guard, state_field

if TYPE_CHECKING:
    from rnncallbacks import Gradients, Run

ENTRIES_FOR_EACH = 100
"""Smallest size of the gradient, divided by k, at which k entries are few. Chosen by eye."""


@attrs.define(eq=False, kw_only=True)
class Topk(Guard):
    r"""Raises TOPK001 if the k largest entries carry nearly all of the gradient in each of the first batches.

    .. math:: s = \sum_{i \in \mathrm{top}_k} g_i^2 \Big/ \sum_i g_i^2

    Options
    -------
    k:
        Number of entries, 1 or more.
    share:
        The share :math:`s` of the squared norm above which they carry the gradient, between 0 and 1.
    batches:
        Number of first training batches that are examined, 1 or more.
    action:
        The reaction to the alarm: "warn" continues, "stop" ends the run, "raise" ends it with an error.

    Example
    -------
    >>> Topk(k=3)
    Topk(action='warn', k=3, share=0.99, batches=20)
    """

    codes: ClassVar[tuple[str, ...]] = ("TOPK001",)

    k: int = attrs.field(default=10, validator=options.count())
    share: float = attrs.field(default=0.99, validator=options.number(above=0, below=1))
    batches: int = attrs.field(default=20, validator=options.count())
    _shares: list[float] = state_field(factory=list)

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, grads: Gradients) -> None:
        if len(self._shares) < self.batches:
            self.conclude(run, self.check(np.concatenate([array.ravel() for array in grads.arrays])))

    def check(self, gradient: np.ndarray[tuple[int], np.dtype[np.floating]]) -> CheckResult:
        """Add the share of one more batch; after the last one, compare all shares with the threshold."""
        if gradient.size < ENTRIES_FOR_EACH * self.k:
            return CheckResult(cannot_tell={"TOPK001": f"{self.k} of {gradient.size} entries are not few"})
        squares = np.square(gradient, dtype=np.float64)
        total = squares.sum()
        if not np.isfinite(total) or total == 0.0:
            return CheckResult()
        self._shares.append(float(np.partition(squares, -self.k)[-self.k :].sum() / total))
        if len(self._shares) < self.batches:
            return CheckResult()
        checked = {"TOPK001": f"{self.batches} gradients of {gradient.size} entries"}
        lowest = min(self._shares)
        if lowest < self.share:
            return CheckResult(checked=checked)
        message = f"{self.k} of {gradient.size} entries carry {lowest:.2%} of the squared gradient norm, or more"
        return CheckResult(
            finding=Finding("TOPK001", message, evidence={"share": lowest, "k": self.k}), checked=checked
        )
