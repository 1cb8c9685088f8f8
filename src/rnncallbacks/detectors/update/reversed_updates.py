"""Whether the gradients of the next batches reverse the updates: evidence of overshoot that needs no closure."""

from __future__ import annotations

from statistics import median

import attrs

from rnncallbacks.detectors.update.update_record import UpdateRecord


@attrs.frozen(kw_only=True)
class ReversedUpdateThresholds:
    """The thresholds of :func:`updates_are_reversed`.

    Set on 100 runs of the tuning halves of the benchmarks whose loss had not come down to half after 40 updates.
    """

    updates: int = 12
    """Last measured updates whose next batches are compared: those of about 24 batches."""
    share: float = 0.7
    """Share of them whose next gradient has a positive product with the update, from which they are reversed."""
    rise: float = 0.01
    """Median of the predicted rises of the next batch's loss, relative to that loss, from which they are reversed. Most
    rates that were ten times too high measured 0.02 to 0.5, and healthy ones 0.02 at most, but for ReLU networks."""

    late_rise: float = 0.05
    """The same after the fortieth update, when healthy updates near the minimum are reversed too: Adagrad measured 0.02
    in healthy runs, while the loss fell. Chosen by eye."""

    denying_updates: int = 6
    """Measured updates whose next batches are enough to deny that updates raised the loss: as many as the shortest
    window of losses."""
    small_update: float = 0.03
    """Largest norm(dW) / norm(W) up to which they deny it. Targets that nothing predicts raised the loss above an easy
    first batch's, by updates of up to 0.022. Of momentum at several times a good rate, whose next gradients do not
    reverse single updates, the largest update measured 0.04 or more."""


REVERSED_UPDATES = ReversedUpdateThresholds()


def reversal(record: UpdateRecord) -> tuple[float, float]:
    """The share of the last updates that the next batch's gradient reverses, and the rise that it predicts (median).

    Descent along a batch's gradient also lowers the loss of the next batch. Updates that are too large cross the
    minimum along their direction, and the next gradient then points along them. This needs no closure.

    Example
    -------
    >>> record = UpdateRecord()
    >>> record.next_decreases = [-0.5, -0.25, 0.5, -0.75]
    >>> reversal(record)
    (0.75, 0.375)
    """
    rises = [-decrease for decrease in record.next_decreases[-REVERSED_UPDATES.updates :]]
    if not rises:
        return 0.0, 0.0
    return sum(rise > 0.0 for rise in rises) / len(rises), median(rises)


def updates_are_reversed(
    record: UpdateRecord, *, fewest: int = REVERSED_UPDATES.updates, rise: float = REVERSED_UPDATES.rise
) -> bool | None:
    """Whether the next batches' gradients reverse most of the last updates; None if fewer than ``fewest`` are known.

    ``rise`` is the smallest predicted rise of the loss that counts.
    """
    if len(record.next_decreases) < fewest:
        return None
    share, predicted = reversal(record)
    if share < REVERSED_UPDATES.share or predicted < rise:
        return False
    return True if predicted >= rise else None  # of losses that are not finite
