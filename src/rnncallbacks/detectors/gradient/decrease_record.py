r"""The losses of a run's first updates, and the decreases that the gradients predicted for them.

The gradient of the batch after an update is taken at the parameters to which the update led, and that batch had no part
in the update. It predicts the decrease :math:`-g \cdot \Delta\theta` without bias, and no more than the actual decrease
where the loss is convex along the update. Losses of single batches differ too much to compare, so predicted decreases
are summed up over many updates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.decrease_regression import (
    DecreaseComparison,
    compare_decreases,
    exceeds_chance,
)
from rnncallbacks.detectors.gradient.parameter_steps import ParameterSteps


@attrs.frozen(kw_only=True)
class DecreaseRecordThresholds:
    """Schedule of the comparisons, and thresholds that end the record early."""

    compared_updates: tuple[int, ...] = (40, 120, 280)
    """Numbers of updates after which the actual and the predicted decrease are compared. Chosen by eye."""
    signal: float = 3.0
    """Sum of predicted decreases / root of the sum of their squares, that one array must reach at the first comparison.
    If none does, as with a learning rate that is too high, later comparisons do not succeed either.
    Chosen by eye."""
    ascending_updates: int = 4
    """Successive updates that raise the loss as much as they should lower it, from which gradients have the wrong sign.
    Chosen by eye, as the next three numbers."""
    ascent: float = 0.25
    """Smallest rise by each of them / loss before it: batches that become harder raise it more slowly."""
    rise_to_predicted: tuple[float, float] = (0.2, 3.0)
    """Range of the rise / predicted decrease: 0.57 to 1.45 with a flipped sign. A rate that is too high raises the loss
    where the gradient at the end of the update says so: the ratio is negative."""
    ascended_loss: float = 2.0
    """Smallest loss after them / first loss."""
    diverged: float = 1e6
    """Loss or predicted decrease relative to the first loss, above which the run has diverged. Chosen by eye."""


DECREASE_RECORD = DecreaseRecordThresholds()


@attrs.define(eq=False)
class DecreaseRecord:
    """Records losses and predicted decreases, and compares them after 40, 120 and 280 updates.

    ``over`` is True when nothing is left to compare: the outcome is certain, or the predicted decreases are due to
    chance; some batches have no update, because the script accumulates gradients; the run diverges, or its first loss
    is not above 0.

    Example
    -------
    >>> record, params = DecreaseRecord(), {"w": np.zeros(2)}
    >>> for _ in range(3):
    ...     record.add(1.0, {"w": np.ones(2)}, params)
    ...     params["w"] -= 0.1
    >>> record.over
    False
    """

    over: bool = state_field(False)
    _first_loss: float = state_field(math.nan)
    _losses: list[float] = state_field(factory=list)
    _predicted: list[list[float]] = state_field(factory=list)
    _decay: list[list[float]] = state_field(factory=list)
    _batches_without_update: int = state_field(0)
    _steps: ParameterSteps | None = state_field(None)

    def stop(self) -> None:
        """End the record and release the copy of the parameters."""
        self.over, self._steps = True, None

    def add(
        self, loss: float, gradients: Mapping[str, Array], params: Mapping[str, Array]
    ) -> DecreaseComparison | None:
        """Add a batch before its update; returns a comparison if the loss fell clearly less than predicted.

        ``gradients`` are unclipped. Both mappings have the same names and shapes.
        """
        if self.over:
            return None
        steps = self._steps
        if not params or (steps is not None and [*params] != steps.names):  # arrays that come and go are not followed
            self.stop()
            return None
        if steps is None:
            self._first_loss, self._steps = loss, ParameterSteps.begin(params)
            return None
        predicted, decay = _measure(steps, gradients, params)
        moved = any(predicted)
        if not moved and not self._predicted and self._batches_without_update < DECREASE_RECORD.compared_updates[0]:
            self._first_loss = loss  # a warm-up may begin at a learning rate of 0
            self._batches_without_update += 1
            return None
        largest = DECREASE_RECORD.diverged * self._first_loss
        if not moved or not all(abs(number) < largest for number in (*predicted, loss)):
            self.stop()
            return None
        self._losses.append(loss)
        self._predicted.append(predicted)
        self._decay.append(decay)
        return self._compare()

    @property
    def ascends(self) -> tuple[float, float] | None:
        """The losses before and after the last updates, if these raised the loss as much as they should lower it."""
        limits, count = DECREASE_RECORD, DECREASE_RECORD.ascending_updates
        losses = [self._first_loss, *self._losses][-count - 1 :]
        if len(losses) <= count or losses[-1] < limits.ascended_loss * self._first_loss:
            return None
        least, most = limits.rise_to_predicted
        for before, after, predicted in zip(losses, losses[1:], self._predicted[-count:], strict=False):
            rise, decrease = after - before, sum(predicted)
            if rise < limits.ascent * before or not least * decrease <= rise <= most * decrease:
                return None
        return losses[0], losses[-1]

    def _compare(self) -> DecreaseComparison | None:
        count, limits = len(self._losses), DECREASE_RECORD
        if count not in limits.compared_updates:
            return None
        predicted, names = np.array(self._predicted), [] if self._steps is None else self._steps.names
        if count == limits.compared_updates[0] and not exceeds_chance(predicted, limits.signal).any():
            self.stop()
            return None
        found = compare_decreases(names, self._first_loss, np.array(self._losses), predicted, np.array(self._decay))
        if found.outcome != "inconclusive" or count == limits.compared_updates[-1]:
            self.stop()
        return found if found.outcome == "below" else None


def _measure(
    steps: ParameterSteps, gradients: Mapping[str, Array], params: Mapping[str, Array]
) -> tuple[list[float], list[float]]:
    """For each array, the decrease predicted for the last update, and the decrease of half the squared norm."""
    if not steps.fits(params):
        return [math.nan], []
    predicted, decay = [], []
    with np.errstate(all="ignore"):  # of a run that diverges
        steps.advance(params)
        for name, (step, now) in zip(steps.names, steps.arrays, strict=True):
            predicted.append(float(gradients[name].reshape(-1).dot(step)))
            decay.append(float(now.dot(step)))
    return predicted, decay
