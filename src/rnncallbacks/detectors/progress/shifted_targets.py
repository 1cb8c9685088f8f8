"""RNN603: targets that are the inputs, or a feature of them, of the same step or several steps ahead, or rolled."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.catalogue import Severity
from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import Array, BoolArray
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.progress.dependence import strongest_dependence
from rnncallbacks.detectors.progress.dependence_search import DEPENDENCE_SEARCH
from rnncallbacks.detectors.sequences import Sequences, sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class ShiftedTargetsThresholds:
    """The thresholds of RNN603 for targets that are shifted inputs. Numbers without a source were chosen by eye."""

    batches: int = 5
    """First training batches, all of which must agree."""
    largest_shift: int = 4
    """Largest number of steps ahead that is tried."""
    compared_steps: int = 2
    """Fewest steps of a sequence that are compared."""
    compared_targets: int = 4
    """Fewest targets of a batch that are compared. Chosen by eye: all batches must agree."""
    compared_features: int = 16
    """Largest number of input features that are compared with a single target a step: a bound on the cost."""
    largest_noise: float = 0.02
    """Largest mean squared difference between real targets and equal inputs, in units of the variance: measurement
    noise on one of them. Sines with noise of 0.02 have 0.0008."""
    smallest_contrast: float = 8.0
    """Smallest ratio of the mean squared difference at each other shift to this one: smooth series are close to
    themselves at all small shifts."""
    largest_warned_horizon: int = 2
    """Largest shift of real targets that is a warning: forecasts of a longer horizon are common."""
    copied_loss: float = 0.1
    """Ratio of the loss to the first one, below which a network copies its inputs. An autoencoder has the same
    targets, but cannot read them from the same step, and takes longer."""
    copied_within: int = 300
    """Training batches within which it falls below that."""
    recent_losses: int = 10
    """Losses whose median is compared."""


SHIFTED_TARGETS = ShiftedTargetsThresholds()

NO_SHIFT = -1
"""Marks no shift, or different ones in different batches. Those below it are of targets that were rolled."""


def target_shift_of(inputs: Array, targets: Array) -> int | None:
    """The number of steps by which targets are ahead of inputs: targets[t] = inputs[t + shift] in every sequence.

    ``inputs`` and ``targets`` have time on the first axis and the same shape. Between real numbers there may be noise.
    The number is negative if targets were rolled by up to half of the steps: the last ones are then the first inputs.
    None if no shift fits, or if several do, as in periodic sequences.

    Example
    -------
    >>> tokens = np.array([[3], [1], [4], [1], [5], [9], [2], [6]])
    >>> target_shift_of(tokens[:-2], tokens[2:]), target_shift_of(tokens[:-1], tokens[1:])
    (2, 1)
    >>> target_shift_of(tokens, np.roll(tokens, -4))
    -4
    """
    steps = len(inputs)
    width = max(1, inputs.size // max(steps, 1))
    needed = max(SHIFTED_TARGETS.compared_steps, -(-SHIFTED_TARGETS.compared_targets // width))
    largest = min(SHIFTED_TARGETS.largest_shift, steps - needed)
    counted = targets >= 0 if targets.dtype.kind == "i" else np.ones(targets.shape, dtype=np.bool_)
    fitting = [shift for shift in range(largest + 1) if _fits(inputs, targets, counted, shift)]
    if not fitting or min(fitting) > 1:
        rolled = (
            [-shift for shift in range(2, steps // 2 + 1) if _are_rolled(inputs, targets, shift)]
            if counted.all()
            else []
        )
        fitting = rolled or fitting
    if fitting or inputs.dtype.kind != "f" or largest < 1:
        return fitting[0] if len(fitting) == 1 else None
    with np.errstate(all="ignore"):
        variance = float(np.var(inputs))
        noise = [float(np.mean((targets[: steps - k] - inputs[k:]) ** 2)) for k in range(largest + 1)]
    best = int(np.argmin(noise))
    others = [value for shift, value in enumerate(noise) if shift != best]
    close = noise[best] <= SHIFTED_TARGETS.largest_noise * variance
    clear = min(others) >= SHIFTED_TARGETS.smallest_contrast * noise[best]
    # Targets with noise of their own at the same step are those of a denoising network.
    return best if close and clear and best > 0 else None


def _fits(inputs: Array, targets: Array, counted: BoolArray, shift: int) -> bool:
    """Whether all targets that count equal the inputs ``shift`` steps ahead, where the sequence has such inputs.

    Where all compared targets are one number, as the blanks of a copy task are, the shift is unknown.
    """
    steps = len(inputs)
    compared = counted[: steps - shift] & counted[shift:]  # inputs after the end of a sequence are padding
    if not compared[0].any():
        return False
    wanted = targets[: steps - shift][compared]
    return bool(np.ptp(wanted)) and np.array_equal(wanted, inputs[shift:][compared])


def _are_rolled(inputs: Array, targets: Array, shift: int) -> bool:
    """Whether the last targets are the first inputs, and the others those ``shift`` steps ahead; one may be new.

    Both ``np.roll(inputs, -shift)`` and the next inputs, rolled by one step less, are such targets.
    """
    end = len(inputs) - shift
    if np.array_equal(targets[0], inputs[shift]) and np.array_equal(targets[:end], inputs[shift:]):
        needed = SHIFTED_TARGETS.compared_targets
        wrapped = targets[end:] if np.array_equal(targets[end:], inputs[:shift]) else targets[end + 1 :]
        same = np.array_equal(wrapped, inputs[shift - len(wrapped) : shift])
        return same and wrapped.size >= needed and bool(np.ptp(targets[:end]))
    return False


def _columns(inputs: Array, targets: Array) -> list[Array]:
    """The inputs in the shape of the targets: all of them, or each feature if there is one target a step."""
    if inputs.shape == targets.shape:
        return [inputs]
    if inputs.ndim != 3 or targets.shape not in (inputs.shape[:2], (*inputs.shape[:2], 1)):
        return []
    features = min(inputs.shape[2], SHIFTED_TARGETS.compared_features)
    return [inputs[:, :, feature].reshape(targets.shape) for feature in range(features)]


@attrs.define(eq=False)
class ShiftedTargets:
    """Detects a shift of the targets in the first training batches of a run.

    Without a known axis of time, both axes are tried, and one of them must agree in all batches.
    """

    shifts: list[int | None] = state_field(factory=list)
    _by_axis: dict[str, int] = state_field(factory=dict)
    _one_feature: bool = state_field(False)  # whether the targets are compared with single features of the inputs
    _waits: bool = state_field(False)
    _batches: int = state_field(0)
    _first_loss: float = state_field(0.0)
    _losses: list[float] = state_field(factory=list)
    _inputs: list[Array] = state_field(factory=list)

    @property
    def done(self) -> bool:
        """Whether no further batch is needed."""
        compared = len(self.shifts) >= SHIFTED_TARGETS.batches or None in self.shifts
        return compared and not self._waits

    def add_batch(self, batch: Batch) -> CheckResult:
        """RNN603 once five batches agree on a shift other than 1.

        Targets that equal real inputs, or tokens that do not show the next one, wait until the loss shows that the
        network copies them from the same step.
        """
        if self.done:
            return CheckResult()
        self._batches += 1
        if self._waits:
            return self._check_copies(batch)
        shown = sequences_of(batch)
        inputs, targets = shown.inputs, shown.targets
        columns = [] if inputs is None or targets is None or not shown.per_step else _columns(inputs, targets)
        if inputs is None or targets is None or not columns:
            self.shifts.append(None)
            return CheckResult()
        self._first_loss, self._one_feature = self._first_loss or batch.loss or 0.0, len(columns) > 1
        self.shifts.append(self._common_shift(shown, columns, targets))
        self._inputs.append(columns[0])
        shift = self.shifts[-1]
        if not self.done or shift is None or shift == 1:
            return CheckResult()
        real = inputs.dtype.kind == "f" and not np.array_equal(inputs, np.rint(inputs))
        if shift == 0 and (real or self._are_unpredictable(shown.time_axis or 0)):
            self._waits, self._inputs = True, []
            return CheckResult()
        if shift < NO_SHIFT:
            return self._rolled(-shift)
        long_horizon = real and shift > SHIFTED_TARGETS.largest_warned_horizon
        return self._found(shift, "info" if long_horizon else None)

    def _common_shift(self, shown: Sequences, columns: list[Array], targets: Array) -> int | None:
        """The shift along the axis of time of this batch and all before; None if there is none, or more than one."""
        for axis in (0, 1) if shown.time_axis is None else (shown.time_axis,):
            for column, inputs in enumerate(columns):
                found = target_shift_of(inputs.swapaxes(0, axis), targets.swapaxes(0, axis))
                shift = NO_SHIFT if found is None else found
                agrees = self._by_axis.get(f"{axis} {column}", shift) == shift
                self._by_axis[f"{axis} {column}"] = shift if agrees else NO_SHIFT
        common = set(self._by_axis.values()) - {NO_SHIFT}
        return common.pop() if len(common) == 1 else None

    def _are_unpredictable(self, time_axis: int) -> bool:
        """Whether no token shows the next one: then nobody predicts it, and a decoder may copy its encoder's inputs."""
        if self._inputs[0].ndim != 2 or len({array.shape for array in self._inputs}) > 1:
            return False
        rows = np.concatenate([array.swapaxes(0, time_axis).T for array in self._inputs]).astype(np.intp)
        groups = np.zeros(rows.shape[1] - 1, dtype=np.intp)
        return strongest_dependence(rows[:, :-1], rows[:, 1:], groups).z < DEPENDENCE_SEARCH.independent_z

    def _check_copies(self, batch: Batch) -> CheckResult:
        self._losses.append(batch.loss or 0.0)
        del self._losses[: -SHIFTED_TARGETS.recent_losses]
        enough = len(self._losses) == SHIFTED_TARGETS.recent_losses
        copied = enough and median(self._losses) < SHIFTED_TARGETS.copied_loss * self._first_loss
        if not copied and self._batches < SHIFTED_TARGETS.copied_within:
            return CheckResult()
        self._waits = False
        return self._found(0, None if copied else "info")

    def _rolled(self, shift: int) -> CheckResult:
        finding = Finding(
            "RNN603",
            f"the targets were rolled within their sequences: in the first {len(self.shifts)} batches, targets[t] is "
            f"inputs[t + {shift}], and the last targets are the first inputs",
            {"target_shift": shift, "batches": len(self.shifts)},
            cause="targets rolled within their sequence",
            remedy="to predict the next input, take inputs = tokens[:-1] and targets = tokens[1:], without np.roll",
        )
        return CheckResult(finding=finding, checked={"RNN603": finding.message})

    def _found(self, shift: int, severity: Severity | None = None) -> CheckResult:
        where = "of the same step" if shift == 0 else f"{shift} steps ahead"
        which = "a feature of the inputs" if self._one_feature else "the inputs"
        finding = Finding(
            "RNN603",
            f"the targets are {which} {where}: in all sequences of the first {len(self.shifts)} batches, "
            f"targets[t] equals inputs[t + {shift}]; a prediction of the next input has targets[t] = inputs[t + 1]",
            {"target_shift": shift, "batches": len(self.shifts)},
            severity,
            cause="targets shifted by the wrong number of steps",
            remedy="to predict the next input, take inputs = tokens[:-1] and targets = tokens[1:]",
        )
        return CheckResult(finding=finding, checked={"RNN603": finding.message})
