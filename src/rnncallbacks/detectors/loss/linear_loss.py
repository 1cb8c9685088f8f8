"""RNN302: a loss that is linear in the outputs, whose gradient depends on no target, as errors without a square are."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.plugin_state import state_field


@attrs.frozen(kw_only=True)
class LinearLossThresholds:
    """When gradients of a bias are those of a linear loss. Chosen by eye."""

    batches: int = 12
    """First training batches in which the gradient of the output bias is the same."""
    most_batches: int = 60
    """Batches within which the loss has to fall below 0, as no absolute error does."""
    tolerance: float = 1e-9
    """Largest relative difference between its entries: rounding. Smallest entry / norm of all gradients: derivatives
    that cancel, as a critic's of real and generated sequences do, leave rounding errors."""


LINEAR_LOSS = LinearLossThresholds()


@attrs.define(eq=False)
class LinearLoss:
    """Compares the gradients of all biases with those of the first batch.

    The gradient of the output bias is the sum of the loss's derivatives by the outputs. That of signed errors is the
    same number in all batches. So is that of absolute errors as long as all have one sign, but they are above 0.

    Example
    -------
    >>> linear, number = LinearLoss(), 0
    >>> while not linear.over:
    ...     finding, number = linear.check(0.5 - 0.1 * number, {"b": np.array([0.5, 0.5])}), number + 1
    >>> finding.code, number
    ('RNN302', 12)
    """

    over: bool = state_field(False)
    _batches: int = state_field(0)
    _lowest: float = state_field(0.0)
    _first: dict[str, Array] = state_field(factory=dict)

    def check(self, loss: float, gradients: Mapping[str, Array]) -> Finding | None:
        """Add a training batch; a finding once the loss is below 0 and the gradient of a bias is always the same."""
        if not self._batches:
            smallest = LINEAR_LOSS.tolerance * global_norm([*gradients.values()])
            self._first = {
                name: array.reshape(-1).copy()
                for name, array in gradients.items()
                if array.size and array.size == max(array.shape, default=0) and float(np.abs(array).min()) > smallest
            }
        self._batches += 1
        self._lowest = min(self._lowest, loss)
        tolerance = LINEAR_LOSS.tolerance
        self._first = {
            name: first
            for name, first in self._first.items()
            if name in gradients and np.allclose(gradients[name].reshape(-1), first, rtol=tolerance, atol=0.0)
        }
        self.over = not self._first or self._batches >= LINEAR_LOSS.most_batches
        if self._batches < LINEAR_LOSS.batches or not self._first or self._lowest >= 0.0:
            return None
        self.over = True
        name, first = next(iter(self._first.items()))
        return Finding(
            "RNN302",
            f"the loss is linear in the outputs: in {self._batches} batches, whatever their targets, the gradient of "
            f"{name!r} is the same, {float(first[0]):.4g} in its first entry, and the loss is as low as "
            f"{self._lowest:.4g}; it has no minimum",
            {"array": name, "loss": self._lowest, "batches": self._batches},
            remedy="square the errors, or take their absolute values, before the mean",
        )
