"""RNN601: the training loss of a run no longer falls at its end."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.detectors.progress.statistics import theil_sen_slope


@attrs.frozen(kw_only=True)
class PlateauThresholds:
    """The thresholds of RNN601, set on half of the seeds of the fault benchmark (docs/reference/fault-benchmark.md)."""

    window: int = 20
    """Last epochs that are compared, and the fewest that a run must have. Chosen by eye."""
    relative_fall: float = 0.01
    """Fall of the loss over the window / first loss, up to which it is a plateau. Healthy runs fell by 0.0029 in each
    epoch, and more."""
    learned_loss: float = 0.5
    """Median loss of the window / first loss, below which the run has learned. Chosen by eye."""
    untrained_epochs: int = 50
    """Fewest epochs of a run for the warning that nothing was learned. Chosen by eye."""
    untrained_batches: int = 500
    """Fewest training batches of such a run. Chosen by eye."""
    untrained_fall: float = 0.02
    """Largest fall of its loss from the first to the lowest / first loss."""


PLATEAU = PlateauThresholds()


def check_plateau(training: Sequence[float], batches: int) -> CheckResult:
    """RNN601, from the mean training losses of the epochs of a whole run, and its number of training batches.

    Its severity is info if the run has learned something, warning if it has learned nothing at all.

    Example
    -------
    >>> finding = check_plateau([3.0, 2.5] + [2.0] * 30, batches=320).finding
    >>> finding.severity, finding.message
    ('info', 'the training loss stays at 67% of its first value: 2 against 3; the last 20 epochs lowered the loss by 0')
    """
    if len(training) < PLATEAU.window or training[0] <= 0.0:
        return CheckResult()
    first, last = training[0], training[-PLATEAU.window :]
    slope, level = theil_sen_slope(last), float(np.median(last))
    fall = -slope * PLATEAU.window
    compared = (
        f"the last {PLATEAU.window} of {len(training)} epochs lowered the training loss by {fall:.3g}; it is "
        f"{level:.6g}, and was {first:.6g} in the first epoch"
    )
    if fall > PLATEAU.relative_fall * first or level < PLATEAU.learned_loss * first:
        return CheckResult(checked={"RNN601": compared})
    nothing = (
        len(training) >= PLATEAU.untrained_epochs
        and batches >= PLATEAU.untrained_batches
        and min(training) > (1 - PLATEAU.untrained_fall) * first
    )
    headline = (
        f"nothing was learned in {len(training)} epochs"
        if nothing
        else f"the training loss stays at {level / first:.0%} of its first value"
    )
    finding = Finding(
        "RNN601",
        f"{headline}: {level:.6g} against {first:.6g}; the last {PLATEAU.window} epochs lowered the loss by "
        f"{max(0.0, fall):.2g}",
        {"training_loss": level, "first_loss": first, "slope": slope, "epochs": len(training)},
        severity="warning" if nothing else "info",
    )
    return CheckResult(finding=finding, checked={"RNN601": compared})
