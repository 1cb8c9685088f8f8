"""RNN502 of a learning rate that decays within a small part of the run, as one that is decayed after each batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import TypeAlias

import attrs
import numpy as np

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.update.update_record import MEASUREMENTS, UpdateRecord

Size: TypeAlias = tuple[int, float, float]  # an update, as in UpdateRecord.sizes


@attrs.frozen(kw_only=True)
class VanishedRateThresholds:
    """The thresholds of a rate that has vanished. Numbers without a source were chosen by eye."""

    remaining_share: float = 0.02
    """Size of an update over that of the first ones, below which the rate has vanished. An exponential decay that ends
    at a thousandth of the rate reaches it after 57% of the run, a cosine after 91%."""
    largest_run_share: float = 0.5
    """Part of the run within which that must happen."""
    straight_line: float = -0.95
    """Largest correlation between the number of an update and the logarithm of its size: that of a geometric decay is
    -1. A rate that is lowered after a plateau stays the same for most updates."""
    late_share: float = 0.85
    """Part of the run before which updates must have vanished, for a rate that is not known to be high enough. A cosine
    reaches that after 91%."""
    learned_share: float = 0.05
    """Loss over the first loss, up to which the rest of the run matters little: as for a summed loss."""
    recent_losses: int = 20
    """Last losses, in batches, whose median is compared."""
    largest_growth: float = 2.0
    """Norm of the weights over the initial one, up to which updates became small by themselves and not relative to the
    weights of a run that diverges."""


VANISHED_RATE = VanishedRateThresholds()


def withdraw_vanished_rate(record: UpdateRecord) -> CheckResult:
    """At the end of a run, withdraw what the first updates showed of the rate if later ones were negligible.

    Example
    -------
    >>> record = UpdateRecord()
    >>> for number in range(100):
    ...     record.add_loss(2.0, 1.0)
    ...     record.sizes.append((number, 0.01 * 0.95**number, 0.1 * 0.95**number))
    >>> withdraw_vanished_rate(record).withdrawn["RNN502"]
    'updates were negligible after 82% of the run, 121 times smaller than at first, and the loss is 1 times the first'
    """
    limits, sizes = VANISHED_RATE, record.sizes
    if len(sizes) <= MEASUREMENTS.initial_updates or not record.batches:
        return NOTHING_COMPARED
    numbers, shares = np.array([one[0] for one in sizes]), _remaining_shares(sizes, sizes)
    share = (numbers[shares > limits.remaining_share].max(initial=0) + 1) / record.batches
    last, loss = float(shares[-1]), record.loss_ratio(limits.recent_losses)
    if not 0.0 < last < limits.remaining_share or share > limits.late_share or loss <= limits.learned_share:
        return NOTHING_COMPARED
    why = (
        f"updates were negligible after {share:.0%} of the run, {1 / last:.3g} times smaller than at first, and the "
        f"loss is {loss:.2g} times the first"
    )
    return CheckResult(withdrawn={"RNN502": why})


def check_vanished_rate(record: UpdateRecord, planned_updates: int) -> CheckResult:
    """RNN502 if updates have become negligible, also per length of their gradients, while most of the run remains.

    Gradients that become small as the loss converges make the updates of SGD small, but not the updates per gradient;
    those of Adam are the other way around.

    Example
    -------
    >>> record = UpdateRecord()
    >>> for number in range(100):
    ...     record.add_loss(2.0, 1.0)
    ...     record.sizes.append((number, 0.01 * 0.95**number, 0.1 * 0.95**number))
    >>> print(check_vanished_rate(record, planned_updates=400).finding.message)
    updates have become 121 times smaller within 99 updates: they changed the weights by 0.0075 of their norm at first
    and change them by 6.2e-05 now; the loss is 1 times the first
    """
    limits, sizes = VANISHED_RATE, record.sizes
    if record.batches <= MEASUREMENTS.close_updates or len(sizes) <= MEASUREMENTS.initial_updates:
        return NOTHING_COMPARED
    if sizes[-1][0] > limits.largest_run_share * planned_updates:
        return NOTHING_COMPARED
    remaining = float(_remaining_shares(sizes, sizes[-1:])[0])
    loss = record.loss_ratio(limits.recent_losses)
    stopped = 0.0 < remaining < limits.remaining_share and record.weight_growth < limits.largest_growth
    if not stopped or loss > 1.0:
        return NOTHING_COMPARED
    numbers, logarithms = [one[0] for one in sizes if one[1]], [math.log(one[1]) for one in sizes if one[1]]
    if np.corrcoef(numbers, logarithms)[0, 1] > limits.straight_line:
        return NOTHING_COMPARED
    first, now = median(one[1] for one in sizes[: MEASUREMENTS.initial_updates]), sizes[-1][1]
    if loss <= limits.learned_share:
        why = f"updates have become {first / now:.3g} times smaller, and the loss is {loss:.2g} times the first"
        return CheckResult(withdrawn={"RNN502": why})
    return CheckResult(
        finding=Finding(
            "RNN502",
            f"updates have become {first / now:.3g} times smaller within {sizes[-1][0]} updates: they changed the "
            f"weights by {first:.2g} of their norm at first and change them by {now:.2g} now; the loss is {loss:.2g} "
            "times the first",
            {"first_update_ratio": first, "update_ratio": now, "updates": sizes[-1][0], "loss_ratio": loss},
            cause="the learning rate decays too fast",
            remedy="decay the learning rate after each epoch, not after each batch, or by a factor closer to 1",
        )
    )


def _remaining_shares(sizes: Sequence[Size], updates: Sequence[Size]) -> Array:
    """How large updates are relative to the first of ``sizes``, also per length of their gradients: the larger one."""
    usual = np.median([one[1:] for one in sizes[: MEASUREMENTS.initial_updates]], axis=0)
    shares: Array = (np.array([one[1:] for one in updates]) / np.maximum(usual, 1e-300)).max(axis=1)
    return shares
