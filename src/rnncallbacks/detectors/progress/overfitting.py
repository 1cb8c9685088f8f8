"""RNN604: the validation loss rises from its best value while the training loss falls."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.progress.statistics import mann_kendall_z, rise_in_standard_errors, theil_sen_slope


@attrs.frozen(kw_only=True)
class OverfittingThresholds:
    """The thresholds of RNN604, set on half of the seeds of the fault benchmark (docs/reference/fault-benchmark.md)."""

    epochs_since_best: int = 5
    """Epochs since the best validation loss. The rise is that of the median of this number of last epochs."""
    epochs_before: int = 3
    """Epochs that a run must have in addition, so that its noise can be estimated."""
    standard_errors: float = 5.0
    """Rise of the validation loss, in standard errors of its noise."""
    relative_rise: float = 0.1
    """Rise of the validation loss / its best value."""
    relative_fall: float = 0.02
    """Fall of the training loss since then / its value then. The rise must also exceed this share of the first training
    loss: near zero, a relative rise means little."""
    trend_z: float = -2.0
    """Mann-Kendall statistic of the training loss since then, below which it falls: the 2.3% quantile."""
    rise_of_others: float = 0.25
    """Smallest mean rise of the validation batches but the one that rose most, in units of the mean rise of all. In 12
    runs that overfitted it was 0.72 or more, and -0.15 in the one of 72 healthy runs whose mean rose."""

    unlearned: float = 0.95
    """Best validation loss / first one, above which the network has learned nothing for the validation. Chosen by
    eye."""
    incomparable: float = 1.1
    """Best validation loss / training loss of the first epoch, above which these are different losses, targets or data,
    if nothing was learned either: after an epoch of training, the same loss is lower than its mean during that epoch.
    Chosen by eye."""


OVERFITTING = OverfittingThresholds()


@attrs.define(eq=False)
class Overfitting:
    """Compares the two curves after each epoch; one period of overfitting is reported once.

    Example
    -------
    >>> training = [3.0 - 0.1 * epoch for epoch in range(20)]
    >>> validation = [max(3.0 - 0.1 * epoch, 1.0 + 0.1 * epoch) for epoch in range(20)]
    >>> Overfitting().check(training, validation).finding.evidence["epochs_since_best"]
    9
    """

    found: bool = state_field(False)
    noted: bool = state_field(False)

    def check(
        self, training: Sequence[float], validation: Sequence[float], batches: Sequence[Sequence[float]] = ()
    ) -> CheckResult:
        """RNN604, from the mean losses of the epochs so far; both curves end at the same epoch.

        ``batches`` are the losses of the validation batches of each epoch. A rise of one of them alone is a note: the
        first batch of a stream enters with zeros, and the more a network relies on its state, the worse are its
        predictions of targets that depend on what came before.
        """
        limits = OVERFITTING
        first, training = (training[0] if training else 0.0), training[-len(validation) :]
        if len(validation) < limits.epochs_since_best + limits.epochs_before:
            return CheckResult()
        best = int(np.argmin(validation))
        since = len(validation) - 1 - best
        self.found = self.found and since > 0
        compared = (
            f"validation losses of {len(validation)} epochs: the last is {validation[-1]:.6g}, and the best, {since} "
            f"epochs before, {validation[best]:.6g}"
        )
        passed = CheckResult(checked={"RNN604": compared})
        if since < limits.epochs_since_best:
            return passed
        rise, errors = rise_in_standard_errors(validation, best, limits.epochs_since_best)
        needed_rise = max(limits.relative_rise * abs(validation[best]), limits.relative_fall * abs(first))
        fall = -theil_sen_slope(training[best:]) * since
        before, after = float(np.median(training[max(best - 1, 0) : best + 2])), float(np.median(training[-3:]))
        rises = errors >= limits.standard_errors and rise > needed_rise
        needed_fall = limits.relative_fall * abs(training[best])
        falls = min(fall, before - after) > needed_fall and mann_kendall_z(training[best:]) < limits.trend_z
        if self.found or not (rises and falls):
            return passed
        nothing_learned = validation[best] > limits.unlearned * validation[0]
        if nothing_learned and validation[best] > limits.incomparable * first:
            reason = (
                f"the validation loss was never below {validation[best]:.6g}, and the training loss of the first epoch "
                f"is {first:.6g}: both may be computed from other losses, targets or data"
            )
            return CheckResult(cannot_tell={"RNN604": reason})
        if (alone := _risen_alone(batches[-len(validation) :], best)) is not None:
            if self.noted:
                return CheckResult()
            self.noted = True
            return CheckResult(finding=_note(*alone, since, validation))
        self.found = True
        finding = Finding(
            "RNN604",
            f"the validation loss rose for {since} epochs while the training loss fell: validation from "
            f"{validation[best]:.6g}, its best, to {validation[-1]:.6g}, by {errors:.3g} standard errors; training "
            f"from {before:.6g} to {after:.6g} (medians of three epochs)",
            {
                "best_validation_loss": validation[best],
                "validation_loss": validation[-1],
                "rise_in_standard_errors": errors,
                "training_loss_at_best": before,
                "training_loss": after,
                "epochs_since_best": since,
            },
            remedy=f"restore the parameters from {since} epochs ago, those of the best validation loss "
            "(early_stopping), or train on more data",
        )
        return CheckResult(finding=finding, checked={"RNN604": compared})


def _risen_alone(batches: Sequence[Sequence[float]], best: int) -> tuple[int, float, float, int] | None:
    """The one validation batch that rose since the best epoch, its rise, and the rise and number of the others.

    None if others rose too, or the batches cannot be compared.
    """
    limits = OVERFITTING
    recent, around = batches[-limits.epochs_since_best :], batches[max(best - 1, 0) : best + 2]
    count = len(recent[-1]) if recent else 0
    if count < 2 or any(len(losses) != count for losses in (*recent, *around)):
        return None
    rises = np.median(recent, axis=0) - np.median(around, axis=0)
    most = int(np.argmax(rises))
    others = float(np.delete(rises, most).mean())
    return None if others > limits.rise_of_others * rises.mean() else (most, float(rises[most]), others, count - 1)


def _note(most: int, rise: float, others: float, number: int, since: int, validation: Sequence[float]) -> Finding:
    which = "1 other" if number == 1 else f"{number} others"
    return Finding(
        "RNN604",
        f"the validation loss rose in one batch only: in the last {since} epochs that of batch {most + 1} rose by "
        f"{rise:.4g}, that of the {which} by {others:.4g} on average; the mean is {validation[-1]:.6g}",
        {"batch": most + 1, "rise": rise, "rise_of_others": others, "validation_loss": validation[-1]},
        severity="info",
        cause="the validation loss of one batch rises",
        remedy=f"look at batch {most + 1} of the validation: its targets may depend on steps before its first one, or "
        "be wrong; validate on more sequences",
    )
