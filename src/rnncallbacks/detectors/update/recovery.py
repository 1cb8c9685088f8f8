"""Detects that a run recovered from a learning rate that was too high at first."""

from __future__ import annotations

from statistics import median

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.detectors.update.update_record import UpdateRecord


@attrs.frozen(kw_only=True)
class RecoveryThresholds:
    """Thresholds of a run that has recovered."""

    window: int = 20
    """Last losses, in batches, whose median is taken: the longest window of a rise."""
    loss_share: float = 0.05
    """Largest such median / loss of the best constant prediction, or / the first loss where targets are not known: the
    share up to which the benchmarks call a difference harmless."""


RECOVERY = RecoveryThresholds()


def check_recovery(record: UpdateRecord, first_loss: float) -> Finding | None:
    """RNN501 as a note, if the losses since it was raised have fallen to a small share of a constant prediction's.

    ``first_loss`` is the loss that they had risen above; it replaces that of a constant prediction if targets are not
    known.

    Example
    -------
    >>> record = UpdateRecord()
    >>> for loss in [2.0, *[0.01] * 20]:
    ...     record.add_loss(loss, 1.0)
    >>> print(check_recovery(record, 2.0).message)
    the updates raised the loss at first, and the run recovered: the median of the last 20 losses is 0.01, 0.005 times
    the first loss, 2
    """
    recent = record.losses[-RECOVERY.window :]
    baseline, name = first_loss, "the first loss"
    if record.constant_loss:
        baseline, name = record.constant_loss, "the loss of a constant prediction"
    if len(recent) < RECOVERY.window or median(recent) > RECOVERY.loss_share * baseline:
        return None
    loss = median(recent)
    return Finding(
        "RNN501",
        f"the updates raised the loss at first, and the run recovered: the median of the last {len(recent)} losses is "
        f"{loss:.3g}, {loss / baseline:.2g} times {name}, {baseline:.4g}",
        {"loss": loss, "baseline": baseline},
        severity="info",
        cause="the learning rate was too high at first",
        remedy="warm the learning rate up, if other runs do not recover",
    )
