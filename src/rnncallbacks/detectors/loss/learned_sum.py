"""Detects that a run learns although its loss is a sum: its learning rate suits the sum."""

from __future__ import annotations

from statistics import median

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.core.plugin_state import state_field


@attrs.frozen(kw_only=True)
class LearnedSumThresholds:
    """Thresholds of a summed loss with which a run learns."""

    window: int = 20
    """Last losses, in batches, whose median is taken: as for a run that recovered from a learning rate."""
    loss_share: float = 0.05
    """Largest such median / first loss: the share up to which the benchmarks call a difference harmless."""


LEARNED_SUM = LearnedSumThresholds()


@attrs.define(eq=False)
class LearnedSum:
    """Follows the losses after RNN301 of a sum, until they have fallen to a small share of the first one.

    ``revised`` is then the finding as a note.

    Example
    -------
    >>> learned = LearnedSum()
    >>> learned.begin(Finding("RNN301", "the loss is 8 times a mean", {"factor": 8.0}), first_loss=4.0)
    >>> found = [learned.add(loss) for loss in [0.1] * 20]
    >>> print(found[-1].message)
    the loss is 8 times a mean; the run learns with it: the median of the last 20 losses is 0.025 times the first
    """

    following: bool = state_field(False)
    revised: Finding | None = state_field(None)
    _finding: Finding | None = state_field(None)
    _first_loss: float = state_field(0.0)
    _losses: list[float] = state_field(factory=list)

    def begin(self, finding: Finding, first_loss: float) -> None:
        """Follow the losses after a finding; one that is a note already needs no change."""
        self.following = finding.severity != "info" and first_loss > 0.0
        self._finding, self._first_loss, self._losses = finding, first_loss, []

    def add(self, loss: float) -> Finding | None:
        """Add the loss of a later training batch; RNN301 as a note once the run has learned."""
        self._losses = [*self._losses[1 - LEARNED_SUM.window :], loss]
        share = median(self._losses) / self._first_loss
        if self._finding is None or len(self._losses) < LEARNED_SUM.window or share > LEARNED_SUM.loss_share:
            return None
        self.following = False
        words = f"the median of the last {LEARNED_SUM.window} losses is {share:.2g} times the first"
        self.revised = attrs.evolve(
            self._finding,
            message=f"{self._finding.message}; the run learns with it: {words}",
            evidence={**self._finding.evidence, "loss_ratio": share},
            severity="info",
        )
        return self.revised
