"""RNN502 by its outcome: the losses of hundreds of updates hardly fall, and the updates are negligible."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

import attrs
import numpy as np

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.layer_shapes import zero_sum_lengths
from rnncallbacks.detectors.update.too_low import TOO_LOW
from rnncallbacks.detectors.update.update_record import UpdateRecord


@attrs.frozen(kw_only=True)
class SlowLossThresholds:
    """The thresholds of RNN502 for losses that hardly fall. Numbers without a source were chosen by eye."""

    first_batches: int = 50
    """First training batches, whose mean loss is compared."""
    last_batches: int = 100
    """Last training batches, whose mean loss is compared with it."""
    checked_after: tuple[int, ...] = (240, 480, 960, 1920, 3840, 7680)
    """Training batches after which they are compared."""
    run_decrease: float = 0.3
    """Relative decrease over the whole run, up to which the loss hardly falls."""
    first_ratio: float = 3e-4
    """Largest median ratio of the first updates. Those of Adagrad, which become smaller, measured 1.7e-4 with a rate
    that was 1,000 times too low; healthy runs have 0.0098 and more. Chosen by eye."""
    uniform_share: tuple[float, float] = (0.9, 1.5)
    """Range of the last losses of an untrained classifier in units of ln V, where targets are not shown."""
    last_updates: int = 3
    """Last measured updates, which must be negligible as the first ones are: a script's warm-up begins low."""


SLOW_LOSSES = SlowLossThresholds()


@attrs.define(eq=False)
class SlowLosses:
    """Compares the mean of the last losses with that of the first ones.

    A single batch may hide what an update learns: its own gradient predicts too much. The losses of hundreds of updates
    show it. The update ratios decide first: those of healthy runs are eighty times as large.

    Example
    -------
    >>> record, slow = UpdateRecord(), SlowLosses()
    >>> record.constant_loss, record.relative_gradients, record.unscheduled_ratios = 2.0, [5.0] * 30, [9e-5] * 30
    >>> record.update_ratios = [9e-5] * 30
    >>> for number in range(240):
    ...     record.add_loss(2.0 - 1e-4 * number, 1.0)
    ...     slow.add(record.losses[-1])
    >>> print(slow.check(record, planned_updates=1000).finding.message)
    updates hardly change the network: they change the weights by 9e-05 of their norm (median), and within 240 updates
    the mean loss fell from 1.998 to 1.981; at this pace, 1,000 updates lower it by 0.05 of it
    """

    _uniform_loss: float = state_field(0.0)
    _first: list[float] = state_field(factory=list)
    _last: list[float] = state_field(factory=list)

    def add_gradients(self, gradients: Mapping[str, Array]) -> None:
        """Find the number of classes in the first gradients: those of the output bias sum to zero."""
        self._uniform_loss = math.log(max(zero_sum_lengths(gradients), default=1))

    def add(self, *losses: float) -> None:
        """Add the losses of training batches, in their order."""
        self._first.extend(losses[: max(SLOW_LOSSES.first_batches - len(self._first), 0)])
        self._last.extend(losses)
        if len(self._last) > 2 * SLOW_LOSSES.last_batches:
            del self._last[: -SLOW_LOSSES.last_batches]

    def check(self, record: UpdateRecord, planned_updates: int) -> CheckResult:
        """RNN502 if losses hardly fall because of negligible updates; call it after each batch."""
        if record.batches not in SLOW_LOSSES.checked_after or len(record.unscheduled_ratios) < TOO_LOW.measured_updates:
            return NOTHING_COMPARED
        ratio, last = median(record.unscheduled_ratios), self._last[-SLOW_LOSSES.last_batches :]
        largest = max(record.update_ratios[-SLOW_LOSSES.last_updates :])
        steep = median(record.relative_gradients) > TOO_LOW.relative_gradient
        updates = max(planned_updates, TOO_LOW.shortest_run)
        negligible = ratio <= SLOW_LOSSES.first_ratio and largest <= TOO_LOW.negligible_ratio
        if not negligible or not steep or not self._is_untrained(median(last), record):
            return NOTHING_COMPARED
        before, now = float(np.mean(self._first)), float(np.mean(last))
        error = math.hypot(*(float(np.std(losses)) / math.sqrt(len(losses)) for losses in (self._first, last)))
        pace = updates / (record.batches - (len(self._first) + len(last)) / 2.0)
        most = (before - now + TOO_LOW.standard_errors * error) * pace
        if most > SLOW_LOSSES.run_decrease * before:
            return NOTHING_COMPARED
        return CheckResult(
            finding=Finding(
                "RNN502",
                f"updates hardly change the network: they change the weights by {ratio:.2g} of their norm (median), "
                f"and within {record.batches} updates the mean loss fell from {before:.4g} to {now:.4g}; at this pace, "
                f"{updates:,} updates lower it by {max(before - now, 0.0) * pace / before:.2g} of it",
                {"update_ratio": ratio, "updates": record.batches, "first_loss": before, "loss": now},
                remedy=f"multiply the learning rate by about {TOO_LOW.target_update_ratio / ratio:.2g}, "
                "until updates are a thousandth of the weights",
            )
        )

    def _is_untrained(self, loss: float, record: UpdateRecord) -> bool:
        if record.has_initial_biases:
            return True
        if record.constant_loss:
            return loss > TOO_LOW.untrained_loss * record.constant_loss
        lowest, highest = SLOW_LOSSES.uniform_share
        return lowest * self._uniform_loss < loss < highest * self._uniform_loss
