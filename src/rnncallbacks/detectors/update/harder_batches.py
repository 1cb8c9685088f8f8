"""Whether losses rise because batches get harder, and not because of the updates: measured where losses rise."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.constant_baseline import constant_baseline_loss
from rnncallbacks.detectors.sequences import sequences_of
from rnncallbacks.detectors.update.update_record import UpdateRecord

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class HarderBatchesThresholds:
    """When batches are examined, and when they are harder than the first ones. Chosen by eye."""

    recent_losses: int = 3
    """Last losses, in batches, that must lie above the reference loss."""
    measured_changes: int = 24
    """Updates whose change of the loss of their own batch is measured by the recognized network, at most."""
    relative_tolerance: float = 2e-6
    """Relative difference up to which the network's loss is that of the batch: the rounding of float32."""
    compared_batches: int = 3
    """Batches whose loss must be compared with that of a constant prediction."""
    relative_rise: float = 1.05
    """Loss over that of a constant prediction, relative to the same of the first batches, up to which the loss has not
    risen."""


HARDER_BATCHES = HarderBatchesThresholds()


@attrs.define(eq=False)
class HarderBatches:
    """Examines the batches whose losses lie above the reference.

    The recognized network shows whether an update raised the loss of its own batch, which is added to the record. Where
    no network is recognized, the loss is compared with that of a constant prediction of the batch's own targets.

    Example
    -------
    >>> harder = HarderBatches()
    >>> harder.explain_rise(UpdateRecord())
    False
    """

    thresholds: HarderBatchesThresholds = HARDER_BATCHES
    _relative_losses: list[float] = state_field(factory=list)
    _matches: bool = state_field(False, saved=False)  # the network gives the loss of the open batch

    def before_update(self, batch: Batch, record: UpdateRecord) -> None:
        """Compare the recognized network's loss with that of the batch, if the last losses are high."""
        self._matches = False
        if batch.closure is None and batch.network_loss is not None and self._is_due(record):
            loss = batch.network_loss()
            assert batch.loss is not None
            self._matches = loss is not None and math.isclose(
                loss, batch.loss, rel_tol=self.thresholds.relative_tolerance
            )

    def after_update(self, batch: Batch, record: UpdateRecord) -> None:
        """Add the change of the batch's own loss to the record, or its loss relative to a constant prediction."""
        if batch.closure is not None or not self._is_due(record):
            return
        assert batch.loss is not None
        if self._matches and batch.network_loss is not None:
            loss = batch.network_loss()
            if loss is not None and math.isfinite(loss):
                record.loss_changes.append((loss - batch.loss) / record.reference_loss)
            return
        targets = sequences_of(batch).targets
        constant = 0.0 if targets is None else constant_baseline_loss(targets)
        if constant > 0.0:
            self._relative_losses = [
                *self._relative_losses[1 - self.thresholds.compared_batches :],
                batch.loss / constant,
            ]

    def explain_rise(self, record: UpdateRecord) -> bool:
        """Whether the last losses are high for their targets, and no higher than the first ones relative to them."""
        limits = self.thresholds
        if len(self._relative_losses) < limits.compared_batches or not record.constant_loss:
            return False
        first = record.reference_loss / record.constant_loss
        return median(self._relative_losses) <= limits.relative_rise * first

    def restart(self) -> None:
        """Forget the losses, as after a repair."""
        self._relative_losses = []

    def _is_due(self, record: UpdateRecord) -> bool:
        limits = self.thresholds
        recent = record.losses[-limits.recent_losses :]
        if len(recent) < limits.recent_losses or record.reference_loss <= 0.0:
            return False
        return len(record.loss_changes) < limits.measured_changes and min(recent) > record.reference_loss
