"""Copies of parameters and gradients, taken before an update to compare them with the parameters after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from rnncallbacks.arrays.containers import Array, FlatArrays, copied, named_arrays, same_layout
from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.metrics import orthogonal_norm, predicted_loss_change
from rnncallbacks.detectors.update.update_record import UpdateRecord


@attrs.define(eq=False)
class UpdateCopies:
    """The parameters and gradients of a batch before its update, in memory that later batches reuse.

    Parameters and gradients with the same layout in one flat array each are copied as one array, which is fastest.

    Example
    -------
    >>> import numpy as np
    >>> params, gradients = {"w": np.array([3.0, 4.0])}, Gradients({"w": np.array([0.0, 1.0])})
    >>> copies, record = UpdateCopies(), UpdateRecord()
    >>> copies.take(params, gradients, keep_gradients=True)
    >>> params["w"] -= 0.5 * gradients["w"]
    >>> record.add_loss(2.0, positions=1.0)
    >>> copies.measure(params, record, schedule_scale=1.0), record.predicted_decreases
    (0.1, [0.25])
    """

    # The next batch is compared with the update, so a run that resumes needs it.
    flat: bool = state_field(False)
    parameters: Mapping[str, Array] = state_field(factory=dict)
    gradient_norm: float = state_field(0.0, saved=False)
    gradients: Mapping[str, Array] = state_field(factory=dict, saved=False)
    awaiting_update: bool = state_field(False, saved=False)
    update_scale: float = state_field(0.0)
    """The schedules' scale of the update that ``parameters`` holds; 0 if they hold none."""

    def predict_next(self, gradients: Gradients, loss: float, record: UpdateRecord) -> None:
        """Add the decrease of this batch's loss that the update of the batch before predicts, if it was measured."""
        scale, self.update_scale = self.update_scale, 0.0
        if not scale or not loss:
            return
        flat = gradients.flat if self.flat else None
        change = predicted_loss_change(self.parameters, gradients if flat is None else {"": flat.flat})
        record.next_decreases.append(-change / abs(loss) / scale)

    def take(self, params: Any, gradients: Gradients, *, keep_gradients: bool) -> None:
        """Copy the parameters, and the gradients if they are to be kept."""
        flat_gradients = gradients.flat
        self.flat = same_layout(params, flat_gradients)
        self.gradient_norm = gradients.norm
        self.parameters = copied(self._arrays(params), self.parameters)
        if keep_gradients:
            as_one = self.flat and flat_gradients is not None
            self.gradients = copied({"": flat_gradients.flat} if as_one else gradients, self.gradients)  # type: ignore[union-attr]
        else:
            self.gradients = {}
        self.awaiting_update = True

    def drop(self) -> None:
        """Free the memory."""
        self.update_scale = 0.0
        self.parameters, self.gradients, self.awaiting_update = {}, {}, False

    def measure(self, params: Any, record: UpdateRecord, schedule_scale: float) -> float | None:
        """Add the update that led to ``params`` to the record; return its relative size, or None if the arrays differ.

        The copies are overwritten.
        """
        self.awaiting_update = False
        after = self._arrays(params)
        if after.keys() != self.parameters.keys():
            return None
        self.update_scale = schedule_scale
        return record.add_update(
            self.parameters,
            after,
            self.gradients,
            schedule_scale,
            weights_orthogonal_norm=orthogonal_norm(params.values()) if self.flat else None,
            gradient_norm=self.gradient_norm,
        )

    def _arrays(self, params: Any) -> Mapping[str, Array]:
        """The floating-point parameters by name, or all of them as one array."""
        if self.flat and isinstance(params, FlatArrays):
            return {"": params.flat}
        return {name: array for name, array in named_arrays(params, "params").items() if array.dtype.kind == "f"}
