"""Measurements of the updates of a run: their sizes and predicted decreases, and the losses of their batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, without_views
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.plugin_state import reset_state, state_field
from rnncallbacks.detectors.loss.constant_baseline import constant_baseline_loss
from rnncallbacks.detectors.update.loss_rise import LOSS_RISE
from rnncallbacks.detectors.update.metrics import dead_unit_share, norm_ratio, orthogonal_norm, predicted_loss_change

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class MeasurementSchedule:
    """Schedule of the measured updates. All numbers are training batches, chosen to keep the guard's cost low."""

    initial_updates: int = 12
    """First updates, all of which are measured."""
    close_updates: int = 40
    """Updates up to which every second one is measured. Also the number after which most criteria are checked."""
    sparse_interval: int = 20
    """Interval between two checks of the losses after the close updates; updates are measured half as often."""
    long_run: int = 200
    """Updates of a long run. Chosen by eye, for its cost."""
    high_interval: int = 10
    """Interval between two measured updates after the close ones, while the losses are high."""
    high_losses: int = 3
    """Last losses that must all exceed the reference loss to be high."""
    late_changes: int = 24
    """Changes of the loss that are measured after the close updates, at most, while the losses are high."""
    deciding_late_changes: int = 5
    """Number of them from which they decide in place of earlier changes: a schedule may have raised the rate since."""
    baseline_batches: int = 3
    """First batches whose targets give the loss of the best constant prediction."""
    baseline_targets: int = 30
    """Targets of the first batches that are taken together, if each has ``few_targets`` or fewer. Chosen by eye."""
    few_targets: int = 2
    """Targets of a batch that may all be one class by chance. Chosen by eye."""
    dead_unit_updates: tuple[int, ...] = (0, 20, 25, 30, 35, 39)
    """Numbers of updates done when the dead units are counted in the next gradient."""


MEASUREMENTS = MeasurementSchedule()

LONGEST_HISTORY = LOSS_RISE.longest_history
"""Last losses that a record keeps."""


@attrs.define(eq=False)
class UpdateRecord:
    """Measurements of a run's updates and losses since its start, or since its last repair.

    Attributes
    ----------
    batches:
        Number of training batches with a finite loss.
    reference_loss:
        The first loss, or ``constant_loss`` if that is larger: the first batch may be an easy one, or the network may
        have been trained before.
    constant_loss:
        Loss of the best constant prediction; 0 if the targets are not known.
    has_initial_biases:
        Whether all biases had one value at the start: the network was not trained before.
    loss_unit:
        The loss of a constant prediction over the mean squared target of a regression; 1 if it is not known.
    first_positions:
        Number of time steps times sequences in the first batch.
    losses, rescaled_losses:
        The last batch losses, as given, and multiplied by ``first_positions`` / positions of their batch. Only the
        latter are comparable if losses are sums.
    update_ratios:
        norm(dW) / norm(W) of each measured update.
    unscheduled_ratios:
        The same relative to max(norm(W), norm of orthogonal weights), and divided by the schedules' scale.
    sizes:
        Batches before each measured update, norm(dW) / norm(W), and norm(dW) / norm(g).
    initial_ratios:
        norm(dW) / initial norm(W) of the first measured updates.
    predicted_decreases:
        The predicted relative decrease of the batch's loss, -(g . dW) / loss, divided by the schedules' scale.
    next_decreases:
        The relative decrease that an update predicts for the next batch, whose gradient does not share its noise.
    relative_gradients:
        norm(g) norm(W) / loss: the predicted relative decrease of an update along the gradient that is as large as the
        weights.
    initial_norm:
        norm(W) at the first measured update, and at least that of orthogonal weights.
    weight_growth:
        norm(W) / ``initial_norm`` after the last measured update.
    gradient_cosine:
        The cosine between the first measured update and its gradient; NaN until one was measured.
    loss_changes:
        Changes of a batch's own loss by its update, relative to ``reference_loss``, where a closure shows them.
    late_changes:
        The same relative to the batch's own loss, measured after the close updates while the losses were high.
    dead_unit_shares:
        Shares of recurrent units that pass no gradient on, the first one before any update.
    """

    batches: int = state_field(0)
    reference_loss: float = state_field(0.0)
    constant_loss: float = state_field(0.0)
    has_initial_biases: bool = state_field(False)
    loss_unit: float = state_field(1.0)
    first_positions: float = state_field(0.0)
    losses: list[float] = state_field(factory=list)
    rescaled_losses: list[float] = state_field(factory=list)
    update_ratios: list[float] = state_field(factory=list)
    unscheduled_ratios: list[float] = state_field(factory=list)
    sizes: list[tuple[int, float, float]] = state_field(factory=list)
    initial_ratios: list[float] = state_field(factory=list)
    predicted_decreases: list[float] = state_field(factory=list)
    next_decreases: list[float] = state_field(factory=list)
    relative_gradients: list[float] = state_field(factory=list)
    initial_norm: float = state_field(0.0)
    weight_growth: float = state_field(1.0)
    gradient_cosine: float = state_field(math.nan)
    loss_changes: list[float] = state_field(factory=list)
    late_changes: list[float] = state_field(factory=list)
    dead_unit_shares: list[float] = state_field(factory=list)
    _targets: list[Array] = state_field(factory=list)  # of the first batches, if they have few

    def restart(self) -> None:
        """Drop all measurements, as after a repair; what is known of the start and of the targets stays."""
        kept = self.reference_loss, self.constant_loss, self.has_initial_biases
        reset_state(self)
        self.reference_loss, self.constant_loss, self.has_initial_biases = kept

    def decrease_of_next(self) -> tuple[float, float]:
        """The mean of ``next_decreases`` and its standard error; 0 and infinity if there are fewer than two."""
        count = len(self.next_decreases)
        if count < 2:
            return 0.0, math.inf
        return float(np.mean(self.next_decreases)), float(np.std(self.next_decreases, ddof=1)) / math.sqrt(count)

    @property
    def measures_next(self) -> bool:
        """Whether the next update is to be measured."""
        if self.batches < MEASUREMENTS.close_updates:
            return (
                self.batches < MEASUREMENTS.initial_updates
                or self.batches % 2 == 1
                or self.batches in MEASUREMENTS.dead_unit_updates
            )
        high = self.wants_late_changes and self.losses_are_high
        return self.batches % (MEASUREMENTS.high_interval if high else 2 * MEASUREMENTS.sparse_interval) == 0

    @property
    def losses_are_high(self) -> bool:
        """Whether the last losses all exceed the reference loss."""
        if not self.losses or self.losses[-1] <= self.reference_loss:
            return False  # as in most batches
        recent = self.losses[-MEASUREMENTS.high_losses :]
        return len(recent) == MEASUREMENTS.high_losses and min(recent) > self.reference_loss > 0.0

    @property
    def wants_late_changes(self) -> bool:
        """Whether changes of the loss are still measured while the losses are high."""
        return self.batches > MEASUREMENTS.close_updates and len(self.late_changes) < MEASUREMENTS.late_changes

    @property
    def deciding_changes(self) -> list[float]:
        """The late changes of the loss, if there are enough of them; else those of the first updates."""
        late = self.late_changes
        return late if len(late) >= MEASUREMENTS.deciding_late_changes else self.loss_changes

    @property
    def checks_losses(self) -> bool:
        """Whether the losses are checked after this batch."""
        return self.batches <= MEASUREMENTS.close_updates or self.batches % MEASUREMENTS.sparse_interval == 0

    @property
    def batches_to_next(self) -> int:
        """The number of batches until the next one that is measured, follows a measured one, or is checked, from 1.

        Of a long run whose losses are low, every second check is left out.
        """
        period, number = MEASUREMENTS.sparse_interval, self.batches + 1
        period *= 2 if number > MEASUREMENTS.long_run else 1
        measured = number % (2 * MEASUREMENTS.sparse_interval) in (1, 2)
        if number <= MEASUREMENTS.close_updates + 1 or number % period == 0 or measured:
            return 1
        return 1 + -number % period

    def loss_ratio(self, count: int) -> float:
        """Median of the last ``count`` losses / reference loss; of the losses as given and rescaled, the lower one."""
        if not self.losses or self.reference_loss <= 0.0:
            return 1.0
        medians = (median(losses[-count:]) for losses in (self.losses, self.rescaled_losses))
        return min(medians) / self.reference_loss

    def add_loss(self, loss: float, positions: float) -> None:
        """Add the loss of a batch with this number of positions, time steps times sequences."""
        if self.batches == 0:
            self.first_positions = positions
            self.reference_loss = max(self.reference_loss, loss)
        self.reference_loss = max(self.reference_loss, self.constant_loss)
        self.batches += 1
        self.losses.append(loss)
        self.rescaled_losses.append(loss * self.first_positions / positions)
        if len(self.losses) > LONGEST_HISTORY:
            del self.losses[:-LONGEST_HISTORY], self.rescaled_losses[:-LONGEST_HISTORY]

    def add_missed(self, losses: list[float]) -> None:
        """Add the losses of batches after the first one, which have as many positions as that."""
        self.batches += len(losses)
        for known in (self.losses, self.rescaled_losses):
            known.extend(losses)
            del known[:-LONGEST_HISTORY]

    @property
    def wants_targets(self) -> bool:
        """Whether the next batch's targets are to be added: those of the first batches, of more if each has few."""
        few = 0 < sum(map(len, self._targets)) < MEASUREMENTS.baseline_targets
        return self.batches < MEASUREMENTS.baseline_batches or (few and self.batches < MEASUREMENTS.close_updates)

    def add_targets(self, targets: Array | None) -> None:
        """Raise ``constant_loss`` to that of a batch's targets, if that is larger; call it before ``add_loss``."""
        if targets is None:
            return
        self.constant_loss = max(self.constant_loss, self.loss_unit * constant_baseline_loss(targets))
        if targets.size <= MEASUREMENTS.few_targets:
            self._targets.append(targets.reshape(-1))
        if sum(map(len, self._targets)) >= MEASUREMENTS.baseline_targets:
            together, self._targets = self.loss_unit * constant_baseline_loss(np.concatenate(self._targets)), []
            self.constant_loss = max(self.constant_loss, together)

    def add_dead_units(self, gradients: Mapping[str, Array]) -> None:
        """Add the share of dead units in a batch's gradients, if it is due."""
        due = MEASUREMENTS.dead_unit_updates
        if self.batches in due and len(self.dead_unit_shares) == due.index(self.batches):
            share = dead_unit_share(gradients)
            if share is not None:
                self.dead_unit_shares.append(share)

    def add_update(
        self,
        before: Mapping[str, Array],
        after: Mapping[str, Array],
        gradients: Mapping[str, Array],
        schedule_scale: float,
        *,
        weights_orthogonal_norm: float | None = None,
        gradient_norm: float | None = None,
    ) -> float:
        """Add the update of the batch whose loss was added last, and return its relative size norm(dW) / norm(W).

        Parameters
        ----------
        before, after:
            The parameters before and after the update. ``before`` is overwritten with the update.
        gradients:
            The gradients as the script computed them; without any, only sizes are measured.
        schedule_scale:
            Learning rate / base learning rate. A rate that a schedule keeps low for now is not too low.
        weights_orthogonal_norm:
            The :func:`orthogonal_norm` of the parameters, if ``before`` is one flat array that hides their shapes.
        gradient_norm:
            The norm of the gradients, if it is known.
        """
        arrays = without_views(before)
        weight_norm = global_norm(arrays)
        full_norm = max(
            weight_norm,
            orthogonal_norm(before.values()) if weights_orthogonal_norm is None else weights_orthogonal_norm,
        )
        with np.errstate(over="ignore", invalid="ignore"):
            for name, array in before.items():  # in place: allocating large arrays takes longer than the subtraction
                np.subtract(after[name], array, out=array)
        update_norm = global_norm(arrays)
        ratio = norm_ratio(update_norm, weight_norm)
        self.update_ratios.append(ratio)
        if not self.initial_norm:
            self.initial_norm = full_norm
        if self.initial_norm:
            self.weight_growth = global_norm(list(after.values())) / self.initial_norm
            if len(self.initial_ratios) < MEASUREMENTS.initial_updates:
                self.initial_ratios.append(update_norm / self.initial_norm)
        if gradient_norm:
            self.sizes.append((self.batches - 1, ratio, update_norm / gradient_norm))
        loss = abs(self.losses[-1])
        if gradients and ratio and loss and full_norm:
            decrease = -predicted_loss_change(before, gradients)
            if gradient_norm is None:
                gradient_norm = global_norm(without_views(gradients))
            if math.isnan(self.gradient_cosine) and gradient_norm:
                self.gradient_cosine = decrease / update_norm / gradient_norm
            self.unscheduled_ratios.append(update_norm / full_norm / schedule_scale)
            self.predicted_decreases.append(decrease / loss / schedule_scale)
            self.relative_gradients.append(gradient_norm * full_norm / loss)
        return ratio


def positions_in(batch: Batch) -> float:
    """A number proportional to the time steps times sequences of a batch; 1 if the batch does not show it.

    The tokens that the script gave with the loss, or else the size of the targets.
    """
    if batch.tokens is not None:
        return float(batch.tokens)
    data: Any = batch.observed.get("targets", batch.data)
    if isinstance(data, tuple | list):
        data = data[-1] if data else None
    elif hasattr(data, "targets"):
        data = data.targets
    elif isinstance(data, Mapping):
        data = data.get("targets")
    return float(max(data.size, 1)) if isinstance(data, np.ndarray) else 1.0
