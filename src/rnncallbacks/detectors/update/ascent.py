"""RNN503: updates that ascend the gradient."""

from __future__ import annotations

from statistics import median

import attrs

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.detectors.update.update_record import UpdateRecord


@attrs.frozen(kw_only=True)
class AscentThresholds:
    """The thresholds of RNN503 for the direction of updates."""

    first_updates: int = 5
    """Measured updates after which their direction is checked. Chosen by eye."""
    last_updates: int = 20
    """Measured updates up to which it is. Chosen by eye: later, momentum may point anywhere."""
    cosine: float = -0.1
    """Cosine between the step and the negative gradient, of the first update and in the median, at or below which
    updates go up. With a flipped sign, 16 runs measured -0.149 and less; 72 healthy ones, with accumulation,
    weight decay and warm restarts among them, 0.126 and more."""
    fallen_loss: float = 0.9
    """Loss ratio below which the loss fell: the gradients that the run knows then have another sign. Chosen by eye."""


ASCENT = AscentThresholds()


def step_cosines(record: UpdateRecord) -> list[float]:
    r"""The cosine between each measured step and the negative gradient of its batch.

    .. math:: \frac{-g \cdot \Delta\theta}{\lVert g \rVert \, \lVert \Delta\theta \rVert}

    Example
    -------
    >>> record = UpdateRecord()
    >>> record.predicted_decreases, record.unscheduled_ratios, record.relative_gradients = [-0.1], [0.05], [2.0]
    >>> step_cosines(record)
    [-1.0]
    """
    factors = zip(record.predicted_decreases, record.unscheduled_ratios, record.relative_gradients, strict=True)
    return [decrease / (ratio * gradient) for decrease, ratio, gradient in factors if ratio * gradient]


def check_ascent(record: UpdateRecord) -> CheckResult:
    """RNN503 if the first updates go up the gradient and the loss does not fall; call it after each batch."""
    cosines = step_cosines(record)
    if not ASCENT.first_updates <= len(cosines) <= ASCENT.last_updates:
        return NOTHING_COMPARED
    cosine = median(cosines)
    falls = record.loss_ratio(ASCENT.first_updates) < ASCENT.fallen_loss
    if record.loss_changes:
        falls = median(record.loss_changes) <= 0.0
    goes_up = cosines[0] <= ASCENT.cosine and cosine <= ASCENT.cosine  # False for NaN, of steps that overflow
    if not goes_up or falls:
        return NOTHING_COMPARED
    finding = Finding(
        "RNN503",
        f"updates go up the gradient: the cosine between the step and the negative gradient is {cosine:.2f} (median of "
        f"{len(cosines)} updates), and above 0 in a descent; the loss is {record.loss_ratio(1):.3g} times the first",
        {"update_gradient_cosine": cosine, "updates": len(cosines), "loss": record.losses[-1]},
        cause="updates go up the gradient",
        remedy="subtract the step from the parameters: params -= learning_rate * grads",
    )
    return CheckResult(finding=finding, checked={"RNN503": finding.message})
