"""The cause of a rise of the training loss: divergence, or harder batches."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from rnncallbacks.core.closure import ClosureError, evaluate_closure_once
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.batch_difficulty import BATCH_DIFFICULTY, BatchDifficulty, target_statistics
from rnncallbacks.detectors.loss.best_parameters import BestParameters
from rnncallbacks.detectors.loss.validation_trend import ValidationTrend

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

RiseKind: TypeAlias = Literal["divergence", "order", "unknown", "pending"]


@attrs.frozen(kw_only=True)
class RiseCauseThresholds:
    """Thresholds that separate a divergence from a rise that the order of the batches explains.

    Measured at 29 rises of 104 training runs with batches in an order of difficulty, and at 22 rises of 42 runs whose
    rate was too high, or became so (docs/reference/independent-benchmark.md, Signals).
    """

    parameters_interval: int = 10
    """Distance, in batches, of two copies of the parameters; twice that after ``BATCH_DIFFICULTY.close_batches``.
    Chosen for its cost."""
    evaluated_batches: int = 5
    """Batches whose closure is evaluated at the best parameters; one is enough if they are far. Chosen for its cost:
    two forward passes each."""
    lost_share: float = 0.5
    """Smallest (loss now - loss at the best parameters) / rise, of the same batches, of a divergence. Of 22
    divergences, 21 measured 0.82 and more; ordered batches 0.04 and less."""
    first_pause: int = 50
    """Batches until the closure is evaluated again after it showed harder batches; doubled each time. Chosen for its
    cost."""
    longest_pause: int = 800
    """Largest number of these batches. Chosen for its cost."""
    far: float = 1.25
    """norm(W - W_best) / norm(W_best) above which parameters have moved far. Of 22 divergences, 20 measured 1.29 and
    more; ordered batches 1.02 and less."""
    near: float = 0.25
    """The same, below which parameters have moved too little to have raised the loss. Divergences measured 0.56 and
    more."""


RISE_CAUSE = RiseCauseThresholds()


@attrs.frozen
class Rise:
    """A rise of the loss: ``statistic`` of the recent losses is ``value``, ``reference_statistic`` was ``reference``.

    Attributes
    ----------
    count:
        Number of the recent losses.
    best_end:
        The number of the last batch of those with the lowest losses, from 1; 0 for the initial parameters.
    is_large:
        Whether the rise is large enough without other evidence.
    """

    statistic: str
    value: float
    reference_statistic: str
    reference: float
    count: int
    best_end: int
    is_large: bool = True


@attrs.frozen
class RiseCause:
    """The cause of a rise, and the comparison that shows it."""

    kind: RiseKind
    shown_by: str = ""


@attrs.define(eq=False)
class RiseCauses:
    """Follows a run, and determines the causes of rises of its loss.

    A closure decides: the last batches are evaluated at the parameters of the best batches. Without one, the losses
    at the same positions of the epoch before, the targets and the distance between the parameters are compared.
    """

    batches: BatchDifficulty = state_field(factory=BatchDifficulty)
    parameters: BestParameters = state_field(factory=BestParameters)
    validation: ValidationTrend = state_field(factory=ValidationTrend)
    closure_fails: bool = state_field(False)
    quiet_until: int = state_field(0)
    pause: int = state_field(RISE_CAUSE.first_pause)
    pending: Rise | None = state_field(None)
    losses_now: list[float] = state_field(factory=list)
    losses_at_best: list[float] = state_field(factory=list)

    def add(self, batch: Batch, loss: float, params: Any) -> None:
        """Add a training batch before its update."""
        number = self.batches.batches + 1
        if number == 1 or number % self._parameters_interval == 0:
            self.parameters.add(number - 1, params)
        self.batches.add(loss, lambda: target_statistics(batch))

    @property
    def batches_to_next(self) -> int:
        """The number of batches until the next one whose parameters are kept, 1 for the next batch."""
        if self.pending is not None:
            return 1
        return self._parameters_interval - self.batches.batches % self._parameters_interval

    @property
    def _parameters_interval(self) -> int:
        close = self.batches.batches <= BATCH_DIFFICULTY.close_batches
        return RISE_CAUSE.parameters_interval if close else 2 * RISE_CAUSE.parameters_interval

    def cause_of(self, rise: Rise, batch: Batch, params: Any) -> RiseCause:
        """The cause of a rise; "pending" while the closures of the next batches are evaluated."""
        if self.pending is not None:
            return RiseCause("pending")
        if not rise.best_end:
            self.parameters.return_to_first()
        level = self.batches.high_level_before()
        is_small = rise.value - rise.reference <= BATCH_DIFFICULTY.relative_rise * level
        if is_small and not self._moved_far(params):
            return RiseCause("order", f"at other positions of the epoch before it was up to {level:.4g}")
        if self.batches.is_ordered and not self.batches.mean_has_risen and not self._moved_far(params):
            return RiseCause(
                "order", self._level_before(rise) or "losses rise within each epoch, and its mean does not"
            )
        if batch.closure is not None and not self.closure_fails:
            if self.batches.batches < self.quiet_until:
                return RiseCause("pending")
            self.pending, self.losses_now, self.losses_at_best = rise, [], []
            return RiseCause("pending")
        return self._cause_without_closure(rise, params)

    def evaluate(self, batch: Batch, params: Any) -> tuple[Rise, RiseCause] | None:
        """Evaluate the closure of a batch for a pending rise; return the cause once enough were evaluated."""
        rise = self.pending
        if rise is None:
            return None
        try:
            now = evaluate_closure_once(batch)
            best = None if batch.closure is None else self.parameters.loss_at(params, batch.closure)
        except ClosureError:
            best = None
        if best is None or best == now:  # a closure that does not read these parameters shows nothing
            self.pending, self.closure_fails = None, True
            return rise, self._cause_without_closure(rise, params)
        if math.isfinite(now):
            self.losses_now.append(now)
            self.losses_at_best.append(best if math.isfinite(best) else math.inf)
        if len(self.losses_now) < (1 if self._moved_far(params) else RISE_CAUSE.evaluated_batches):
            return None
        self.pending = None
        return rise, self._cause_by_closures(rise)

    def _level_before(self, rise: Rise) -> str:
        level = self.batches.level_an_epoch_before(rise.count) if rise.best_end else None
        return "" if level is None else f"an epoch before, the batches at the same positions had {level:.4g} (median)"

    def _moved_far(self, params: Any) -> bool:
        distance = self.parameters.distance(params)
        return distance is not None and not distance <= RISE_CAUSE.far

    def _cause_by_closures(self, rise: Rise) -> RiseCause:
        lost = median(now - best for now, best in zip(self.losses_now, self.losses_at_best, strict=True))
        count = len(self.losses_now)
        numbers = (
            f"with the parameters of the best batches, the loss of the last {'batch' if count == 1 else count} is "
            f"{median(self.losses_at_best):.4g}, and {median(self.losses_now):.4g} now{' (medians)' * (count > 1)}"
        )
        if lost >= RISE_CAUSE.lost_share * (rise.value - rise.reference):
            return RiseCause("divergence", numbers)
        self.quiet_until = self.batches.batches + self.pause
        self.pause = min(2 * self.pause, RISE_CAUSE.longest_pause)
        return RiseCause("order", numbers)

    def _cause_without_closure(self, rise: Rise, params: Any) -> RiseCause:
        distance = self.parameters.distance(params)
        moved = f"the parameters have moved by {distance:.2g} of their norm since" if distance else ""
        far = self._moved_far(params)
        if fell := self.validation.fell_since(rise.best_end, within=rise.count, now=self.batches.batches):
            return RiseCause("order", fell)
        level = self._level_before(rise)
        # A loss may have been as high because it was still falling: the positions must have differed then as well.
        if level and (not far or self.batches.was_harder_an_epoch_before(rise.best_end, rise.count)):
            return RiseCause("order", level)
        if self.batches.has_risen_since(rise.count):
            return RiseCause("divergence", "an epoch before, the batches at the same positions had lower losses")
        difference = self.batches.difference_of_targets(rise.best_end, rise.count)
        if difference is not None:
            return RiseCause("order", difference)
        if far:
            return RiseCause("divergence", moved)
        if distance is not None and distance < RISE_CAUSE.near:
            return RiseCause("order", f"{moved}, too little to lose what was learned")
        return RiseCause("unknown", moved)
