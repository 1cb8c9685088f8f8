"""RNN603: targets that are the inputs of the same step, or of more than one step ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class ShiftedTargetsThresholds:
    """The thresholds of RNN603 for targets that are shifted inputs. Chosen by eye."""

    batches: int = 5
    """First training batches, all of which must agree."""
    largest_shift: int = 4
    """Largest number of steps ahead that is tried."""
    compared_steps: int = 4
    """Fewest steps of a sequence that are compared."""


SHIFTED_TARGETS = ShiftedTargetsThresholds()


def target_shift_of(inputs: Array, targets: Array) -> int | None:
    """By how many steps the targets are ahead of the inputs: targets[t] = inputs[t + shift] in every sequence.

    ``inputs`` and ``targets`` have time on the first axis and the same shape. None if no shift fits, or if several do,
    as in periodic sequences.

    Example
    -------
    >>> tokens = np.array([[3], [1], [4], [1], [5], [9], [2], [6]])
    >>> target_shift_of(tokens[:-2], tokens[2:]), target_shift_of(tokens[:-1], tokens[1:])
    (2, 1)
    """
    steps = len(inputs)
    largest = min(SHIFTED_TARGETS.largest_shift, steps - SHIFTED_TARGETS.compared_steps)
    fitting = [shift for shift in range(largest + 1) if np.array_equal(targets[: steps - shift], inputs[shift:])]
    return fitting[0] if len(fitting) == 1 else None


@attrs.define(eq=False)
class ShiftedTargets:
    """Looks for a shift of the targets in the first training batches of a run."""

    shifts: list[int | None] = state_field(factory=list)

    @property
    def done(self) -> bool:
        """Whether no further batch is needed."""
        return len(self.shifts) >= SHIFTED_TARGETS.batches or None in self.shifts

    def add_batch(self, batch: Batch) -> CheckResult:
        """RNN603 once five batches agree on a shift other than 1."""
        if self.done:
            return CheckResult()
        shown = sequences_of(batch)
        if shown.inputs is None or not shown.per_step or shown.time_axis is None:
            self.shifts.append(None)
            return CheckResult()
        inputs, targets = shown.time_first()
        fits = targets is not None and targets.shape == inputs.shape
        self.shifts.append(target_shift_of(inputs, targets) if fits and targets is not None else None)
        shift = self.shifts[-1]
        if not self.done or shift is None or shift == 1 or len(set(self.shifts)) > 1:
            return CheckResult()
        where = "of the same step" if shift == 0 else f"{shift} steps ahead"
        finding = Finding(
            "RNN603",
            f"the targets are the inputs {where}: in all sequences of the first {len(self.shifts)} batches, "
            f"targets[t] equals inputs[t + {shift}]; a prediction of the next input has targets[t] = inputs[t + 1]",
            {"target_shift": shift, "batches": len(self.shifts)},
            cause="targets shifted by the wrong number of steps",
            remedy="to predict the next input, take inputs = tokens[:-1] and targets = tokens[1:]",
        )
        return CheckResult(finding=finding, checked={"RNN603": finding.message})
