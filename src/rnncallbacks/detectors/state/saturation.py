"""RNN407, saturated units: the share of tanh units near 1 or -1, and whether it is a fault."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import hidden_states_of
from rnncallbacks.detectors.state.observed_state import hidden_state_steps

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class SaturationThresholds:
    """Thresholds of saturated units, and of their share that is a fault.

    Healthy runs of the fault benchmark's tasks have up to 5% of units saturated, those with weights too large 96% and
    more.
    """

    saturated_output: float = 0.99
    """Absolute output of a tanh unit above which it is saturated: less than 2% of its gradient passes. Chosen by
    eye."""

    healthy_share: float = 0.05
    """Largest share of saturated units in healthy runs, measured."""

    fault_share: float = 0.5
    """Share of saturated units that is a fault, between the measured 5% and 96%."""

    initial_share: float = 0.3
    """The same if the first batch has as many: 31% to 48% were measured in the first batches of a bidirectional network
    with recurrent weights four times too large, which ends worse for it, and 0% in its healthy twin."""

    passing_share: float = 0.15
    """Largest share of saturated units in a batch with which the code passes: half of ``initial_share``."""

    batches: int = 10
    """Batches of one finding. Chosen by eye."""

    faulty_batches: float = 0.8
    """Share of these batches that reach ``fault_share``. Chosen by eye."""

    low_loss: float = 0.7
    """Ratio of the loss to the loss of a uniform prediction below which the network works with its saturated units.
    Chosen by eye."""

    sampled_entries: int = 2048
    """Approximate number of sampled entries of the hidden states in a batch: a bound on the cost. Chosen by eye."""

    sampled_steps: int = 8
    """Approximate number of their time steps. Chosen by eye."""


SATURATION = SaturationThresholds()


def saturated_share(hidden_states: list[Array] | Array, thresholds: SaturationThresholds = SATURATION) -> float | None:
    """The share of saturated tanh units, between 0 and 1; None if the states are not those of tanh units.

    Outputs of tanh lie between -1 and 1, some of them below 0. The entering state, which comes first, is left out. A
    few thousand entries of a few time steps are sampled.

    Example
    -------
    >>> saturated_share(np.array([[[0.0, 0.0]], [[-1.0, 0.5]], [[1.0, -0.999]]]))
    0.75
    """
    count = len(hidden_states) - 1
    # From the last step backwards, so that there is always one.
    steps = range(count, 0, -max(1, count // thresholds.sampled_steps))
    parts = [hidden_states[step].reshape(-1) for step in steps]
    stride = max(1, sum(part.size for part in parts) // thresholds.sampled_entries)
    sample = np.concatenate([part[::stride] for part in parts])
    smallest, largest = sample.min(), sample.max()
    if not -1.0 <= smallest < 0.0 or not largest <= 1.0:  # NaN is neither
        return None
    return float(np.count_nonzero(np.abs(sample) > thresholds.saturated_output)) / sample.size


@attrs.define(eq=False)
class SaturationDetector:
    """Finds RNN407 in the training batches of a run.

    Collects the share of saturated units of some batches, checks them together, and starts again. Units that
    saturate during training, and units of a network with a low loss, are reported as info: networks that learn with
    large updates have been seen with 80% of units saturated.

    Example
    -------
    >>> detector = SaturationDetector(SaturationThresholds(batches=2))
    >>> detector.add(0.96, loss=3.6, uniform_loss=3.3)
    >>> print(detector.add(0.98, loss=3.5, uniform_loss=3.3).message.partition(":")[0])
    97% of the hidden units are saturated, from the first batch on
    """

    thresholds: SaturationThresholds = SATURATION
    compared: bool = state_field(False)
    first_share: float | None = state_field(None)
    first_loss: float = state_field(0.0)
    _shares: list[float] = state_field(factory=list)
    _losses: list[float] = state_field(factory=list)
    _compared_batches: int = state_field(0)
    _largest_share: float = state_field(0.0)

    def check(self, batch: Batch, vocab_size: int, *, gated: bool = False) -> CheckResult:
        """Add a training batch, with the number of classes, 0 if it is not known.

        ``gated``: the cell has gates, and its hidden states do not show whether these are saturated.
        """
        steps = hidden_state_steps(hidden_states_of(batch))
        if steps is None or batch.loss is None or not math.isfinite(batch.loss) or batch.skipped:
            return CheckResult()
        share, found = saturated_share(steps, self.thresholds), None
        if share is not None:
            found = self.add(share, batch.loss, math.log(vocab_size) if vocab_size > 1 else None)
        if not self.compared:
            return CheckResult()
        compared = (
            f"{self._compared_batches} batches, in which at most {self._largest_share:.0%} of the sampled units had "
            f"|h| > {self.thresholds.saturated_output:g}"
        )
        if gated and found is None:
            return CheckResult(cannot_tell={"RNN407": f"{compared}; they do not show whether gates are saturated"})
        if found is None and self._largest_share > self.thresholds.passing_share:
            return CheckResult(withdrawn={"RNN407": f"{compared}; {self.thresholds.healthy_share:.0%} are usual"})
        return CheckResult(finding=found, checked={"RNN407": compared})

    @property
    def lacking(self) -> str:
        """The evidence that the check lacks: batches, or states of tanh units."""
        seen = len(self._shares)
        if not seen:
            return "run.observe(hidden_states=...) of tanh units"
        return f"train for {self.thresholds.batches} batches or more: {seen} were seen"

    def add(self, share: float, loss: float, uniform_loss: float | None) -> Finding | None:
        """Add the share of saturated units of a batch.

        ``uniform_loss`` is the loss of a uniform prediction, ln V. If it is None, the first loss is used.
        """
        if self.first_share is None:
            self.first_share, self.first_loss = share, loss
        self._shares.append(share)
        self._losses.append(loss)
        if len(self._shares) < self.thresholds.batches:
            return None
        shares, losses = self._shares, self._losses
        self._shares, self._losses = [], []
        self.compared = True
        self._compared_batches += len(shares)
        self._largest_share = max(self._largest_share, *shares)
        initial = self.first_share >= self.thresholds.initial_share
        wanted = self.thresholds.initial_share if initial else self.thresholds.fault_share
        faulty = sum(one >= wanted for one in shares)
        if faulty < self.thresholds.faulty_batches * len(shares):
            return None
        reference = self.first_loss if uniform_loss is None else uniform_loss
        return self._finding(sum(shares) / len(shares), sum(losses) / len(losses), reference)

    def _finding(self, share: float, loss: float, uniform_loss: float) -> Finding:
        thresholds, first_share = self.thresholds, self.first_share or 0.0
        fault = first_share >= thresholds.initial_share and loss >= thresholds.low_loss * uniform_loss
        since = ", from the first batch on" if fault else ""
        message = (
            f"{share:.0%} of the hidden units are saturated{since}: mean share of |h| > "
            f"{thresholds.saturated_output:g} in {thresholds.batches} batches, at most {thresholds.healthy_share:.0%} "
            "expected"
        )
        if not fault:
            message += f"; {first_share:.0%} were saturated in the first batch, and the loss is {loss:.4g}"
        evidence = {
            "saturated_share": share,
            "healthy_share": thresholds.healthy_share,
            "first_share": first_share,
            "loss": loss,
        }
        return Finding("RNN407", message, evidence, None if fault else "info")
