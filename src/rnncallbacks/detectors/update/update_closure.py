"""The closure's loss before and after an update, and whether it can be trusted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.core.closure import ClosureError, evaluate_closure, evaluate_closure_once, restore_afterwards
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.too_high import updates_are_large
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class ClosureBudget:
    """Limits of the closure's calls after updates, and tolerances of its check. Chosen by eye or for their cost."""

    first_updates: int = 8
    """Measured updates after which it is always called. A call costs a forward pass."""
    most_updates: int = 24
    """Largest number of measured updates after which it is called, if a large update raised a loss, or it does not
    fall."""
    stuck_loss_ratio: float = 0.85
    """Median of the last losses / reference loss, above which the loss does not fall. Chosen by eye."""
    stuck_window: int = 12
    """Last losses, in batches, whose median is taken."""
    relative_tolerance: float = 1e-5
    """Relative difference up to which the closure's loss is that of the batch: the rounding of float32."""
    absolute_tolerance: float = 1e-12
    """The same for losses close to zero."""
    blind_updates: int = 3
    """Updates after which a closure that has not changed at all does not read the parameters."""


CLOSURE_BUDGET = ClosureBudget()


@attrs.define(eq=False)
class UpdateClosure:
    """Calls a batch's closure before and after its update, a bounded number of times.

    ``agreement`` describes the closure's loss at the parameters of ``run.backward``: "exact" if it is the batch's loss;
    "repeatable" if it is another number, but the same one twice, as with a loss of another scale; "useless" if it is
    neither, or if the closure fails or does not read the parameters; "unknown" until it was compared.
    """

    agreement: str = state_field("unknown")
    loss_before: float | None = state_field(None, saved=False)

    def before_update(self, batch: Batch, record: UpdateRecord) -> None:
        """Evaluate the closure at the parameters before the update, unless it is known to give the batch's loss."""
        self.loss_before = None
        if not self._is_due(batch, record) or self.agreement == "exact":
            return
        try:
            self.loss_before = evaluate_closure_once(batch)
        except ClosureError:
            self.agreement = "useless"
            return
        assert batch.loss is not None
        if math.isclose(
            self.loss_before,
            batch.loss,
            rel_tol=CLOSURE_BUDGET.relative_tolerance,
            abs_tol=CLOSURE_BUDGET.absolute_tolerance,
        ):
            self.agreement = "exact"
        elif self.agreement == "unknown":
            self.agreement = "repeatable" if self.evaluate(batch) == self.loss_before else "useless"

    def after_update(self, batch: Batch, record: UpdateRecord) -> None:
        """Evaluate the closure after the update, and add the relative change of the loss to the record."""
        if not self._is_due(batch, record):
            return
        before = self.loss_before if self.agreement == "repeatable" else batch.loss
        after = self.evaluate(batch)
        if before is None or after is None or record.reference_loss <= 0.0:
            return
        if self._is_first(record):
            record.loss_changes.append((after - before) / record.reference_loss)
        else:  # the first batch may have been an easy one, whose loss is no measure of the later ones
            record.late_changes.append((after - before) / max(before, record.reference_loss))
        if len(record.loss_changes) == CLOSURE_BUDGET.blind_updates and not any(record.loss_changes):
            self.agreement = "useless"
            record.loss_changes.clear()

    def evaluate(self, batch: Batch) -> float | None:
        """The closure's loss at the parameters as they are; None if it fails, and it is then not called again."""
        assert batch.closure is not None
        try:
            return evaluate_closure(batch.closure)
        except ClosureError:
            self.agreement = "useless"
            return None

    def reads_parameters(self, batch: Batch, params: Any) -> bool:
        """Whether the closure's loss changes if all parameters are zero; they are restored bit for bit."""
        arrays = [array for array in named_arrays(params, "params").values() if array.flags.writeable]
        with restore_afterwards(arrays):
            for array in arrays:
                array[...] = 0
            return self.evaluate(batch) != batch.loss

    def _is_due(self, batch: Batch, record: UpdateRecord) -> bool:
        if batch.closure is None or self.agreement == "useless":
            return False
        return self._is_first(record) or (record.wants_late_changes and record.losses_are_high)

    def _is_first(self, record: UpdateRecord) -> bool:
        """Whether the change of the loss is one of those that are measured however the losses develop."""
        if record.batches > MEASUREMENTS.close_updates and record.losses_are_high:
            return False
        changes = record.loss_changes
        if len(changes) < CLOSURE_BUDGET.first_updates:
            return True
        stuck = record.loss_ratio(CLOSURE_BUDGET.stuck_window) > CLOSURE_BUDGET.stuck_loss_ratio
        return (
            len(changes) < CLOSURE_BUDGET.most_updates and updates_are_large(record) and (max(changes) > 0.0 or stuck)
        )
