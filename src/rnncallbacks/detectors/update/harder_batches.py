"""Whether losses rise because batches get harder, and not because of the updates: measured where losses rise."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.batch_difficulty import target_statistics
from rnncallbacks.detectors.loss.constant_baseline import constant_baseline_loss
from rnncallbacks.detectors.progress.statistics import von_neumann_ratio
from rnncallbacks.detectors.sequences import indices_of, sequences_of
from rnncallbacks.detectors.update.metrics import overshoot
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class HarderBatchesThresholds:
    """Schedule of the examined batches, and thresholds of harder ones. Chosen by eye."""

    evaluations: int = 48
    """Updates whose change of the loss of their own batch is measured, at most. Chosen for its cost."""
    measured_changes: int = 24
    """Changes that are added to the record, at most: as many as a closure adds."""
    recent_changes: int = 6
    """Last changes whose mean overshoot is taken."""
    mean_overshoot: float = 0.01
    """Mean overshoot, relative to the batch's own loss, below which the updates did not raise the losses. Chosen by
    eye, after that of closures."""
    relative_tolerance: float = 2e-6
    """Relative difference up to which the network's loss is that of the batch: the rounding of float32."""
    compared_batches: int = 3
    """Batches whose change of the loss, or whose loss relative to a constant prediction, must be known."""
    relative_rise: float = 1.05
    """Loss over that of a constant prediction, relative to the same of the first batches, up to which the loss has not
    risen."""
    ordered_batches: int = 12
    """Fewest batches whose targets show an order. Chosen by eye."""
    remembered_batches: int = 80
    """Most batches whose targets are remembered: the first ones, and those whose losses are high."""
    ordered_ratio: float = 0.4
    """Von Neumann ratio of the mean targets of successive batches below which the batches have an order. It is 2 for
    independent batches; 12 of them are below 0.4 with a probability of about 0.0005."""
    numbered_growth: float = 1.3
    """Largest norm(W) / initial norm(W) for which an order of which only the loader's numbers are known explains the
    rise. In series whose values grow it was 1.2 at most, and 1.37 or more in 32 of 33 runs whose rates were 8 to 100
    times too high; the other one learned later."""
    numbered_update: float = 0.3
    """Largest norm(dW) / norm(W) for the same: at most 0.25 in such series, where Adagrad's first update is large."""


HARDER_BATCHES = HarderBatchesThresholds()


@attrs.define(eq=False)
class HarderBatches:
    """Examines the batches whose losses lie above the reference.

    The loss is compared with that of a constant prediction of the batch's own targets. The recognized network shows
    whether an update raised the loss of its own batch; a closure decides that by itself. Without them, losses of
    different batches are not compared if targets change slowly from batch to batch, as in data that is sorted by class
    or by time. Numbers of rows or batches that a loader yields in order are taken for such targets, unless the updates
    are so large that they could have raised the loss.

    Example
    -------
    >>> harder = HarderBatches()
    >>> harder.explain_rise(UpdateRecord())
    False
    """

    _relative_losses: list[float] = state_field(factory=list)
    _changes: list[float] = state_field(factory=list)
    _evaluations: int = state_field(0)
    _mean_targets: list[float] = state_field(factory=list)
    _numbered: bool = state_field(False)  # the loader's numbers stand for the targets
    _function: Callable[[], float | None] | None = state_field(None, saved=False)  # gives the loss of the open batch

    def before_update(self, batch: Batch, record: UpdateRecord) -> None:
        """Find a function that gives the loss of the batch, if the last losses are high."""
        self._function = None
        if not record.losses_are_high or self._evaluations >= HARDER_BATCHES.evaluations:
            return
        function = batch.network_loss
        if function is None or batch.closure is not None:
            return
        self._evaluations += 1
        assert batch.loss is not None
        loss = function()
        if loss is not None and math.isclose(loss, batch.loss, rel_tol=HARDER_BATCHES.relative_tolerance):
            self._function = function

    def after_update(self, batch: Batch, record: UpdateRecord) -> None:
        """Keep the change of the batch's own loss, or its loss relative to a constant prediction."""
        limits = HARDER_BATCHES
        high = record.losses_are_high
        means = self._mean_targets
        if high or record.batches <= limits.ordered_batches:
            statistics = target_statistics(batch) if len(means) < limits.remembered_batches else None
            if statistics is not None:
                means.append(statistics[1])
            elif self._numbered or not means:
                numbers = indices_of(batch)
                self._numbered = numbers is not None
                means.extend([] if numbers is None else [float(numbers.mean())])
        if not high:
            return
        assert batch.loss is not None
        loss = None if self._function is None else self._function()
        if loss is not None:
            change = loss - batch.loss
            self._changes = [*self._changes[1 - limits.recent_changes :], change / batch.loss]
            if record.wants_late_changes:
                record.late_changes.append(change / batch.loss)
            elif record.batches <= MEASUREMENTS.close_updates and len(record.loss_changes) < limits.measured_changes:
                record.loss_changes.append(change / record.reference_loss)
        targets = sequences_of(batch).targets
        constant = 0.0 if targets is None else constant_baseline_loss(targets)
        if constant > 0.0:
            self._relative_losses = [*self._relative_losses[1 - limits.compared_batches :], batch.loss / constant]

    def explain_rise(self, record: UpdateRecord) -> bool:
        """Whether the last losses are high, and not because of the updates."""
        limits = HARDER_BATCHES
        if len(self._relative_losses) >= limits.compared_batches and record.constant_loss:
            first = record.reference_loss / record.constant_loss
            if median(self._relative_losses) <= limits.relative_rise * first:
                return True
        if len(self._changes) >= limits.compared_batches:
            return overshoot(self._changes)[1] < limits.mean_overshoot
        large = (
            record.weight_growth > limits.numbered_growth
            or max(record.update_ratios, default=0.0) > limits.numbered_update
        )
        return not record.deciding_changes and self._is_ordered and not (self._numbered and large)

    @property
    def _is_ordered(self) -> bool:
        """Whether the targets of a batch are nearer to those of the batch before than chance would have it."""
        if len(self._mean_targets) < HARDER_BATCHES.ordered_batches:
            return False
        return von_neumann_ratio(self._mean_targets) < HARDER_BATCHES.ordered_ratio
