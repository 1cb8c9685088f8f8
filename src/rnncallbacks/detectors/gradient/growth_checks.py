"""Schedules the searches for gradients that grow through time, in the first training batches (RNN401).

A recognized network shows the growth itself (:mod:`growth_through_time
<rnncallbacks.detectors.gradient.growth_through_time>`). It is reported once it did harm: a script that clips may learn
with such weights. Where none is recognized, the recurrent weights are examined
(:mod:`recurrent_gain <rnncallbacks.detectors.gradient.recurrent_gain>`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.growth_through_time import check_growth
from rnncallbacks.detectors.gradient.recurrent_gain import RecurrentGain
from rnncallbacks.detectors.gradient.update_tracker import MeasuredUpdate
from rnncallbacks.detectors.update.metrics import is_proportional

if TYPE_CHECKING:
    from rnncallbacks.detectors.reconstruction.script_network import ScriptNetwork
    from rnncallbacks.detectors.training_batch import TrainingBatch


@attrs.frozen(kw_only=True)
class GrowthHarmThresholds:
    """Losses from which growth through time counts as harmful. Chosen by eye."""

    recent_losses: int = 5
    """Last losses, in batches, whose median shows a rise after an unclipped update."""
    loss_rise: float = 1.25
    """Such median over the first loss, above which the update did harm, as for other explosions."""
    unlearned_batches: int = 60
    """Training batches without clipping, after which the loss must have fallen: three times the batches in which a
    script's clipping shows."""
    unlearned_losses: int = 20
    """Last losses of them, in batches, whose median is compared."""
    unlearned_share: float = 0.25
    """Such median over the first loss, above which little was learned."""


GROWTH_HARM = GrowthHarmThresholds()


@attrs.define(eq=False)
class GrowthChecks:
    """Runs the search that fits, holds its finding until the growth did harm, and keeps the doubt that it leaves.

    Attributes
    ----------
    doubt:
        By code: why gradients of usual length prove nothing.

    Example
    -------
    >>> GrowthChecks().doubt
    {}
    """

    doubt: Mapping[str, str] = state_field(factory=dict)
    _gain: RecurrentGain = state_field(factory=RecurrentGain)
    _held: Finding | None = state_field(None)
    _unclipped: bool = state_field(False)  # an update of a gradient above max_norm had its full length
    _harmed: bool = state_field(False)  # another alarm shows harm
    _batches: int = state_field(0)
    _first_loss: float = state_field(math.nan)
    _losses: list[float] = state_field(factory=list)

    @property
    def holds(self) -> bool:
        """Whether a finding is held until the growth did harm."""
        return self._held is not None

    @property
    def awaits_loss(self) -> bool:
        """Whether the losses of the next batches decide on the finding that is held."""
        return self.holds and self._batches < GROWTH_HARM.unlearned_batches

    def hold(self, finding: Finding | None, first_loss: float) -> None:
        """Hold the finding of the first batch, if any, until the growth did harm."""
        self._held, self._first_loss = finding, first_loss

    def add_alarm(self, code: str) -> None:
        """Record that an alarm was raised: an error that an explosion explains shows that the growth did harm."""
        explained = code in CATALOGUE["RNN401"].explains and CATALOGUE[code].severity == "error"
        self._harmed = self._harmed or explained

    def add_loss(self, loss: float, *, clips: bool) -> CheckResult:
        """Add the loss of a later training batch; the finding that is held, once the growth did harm.

        ``clips`` is whether gradients are clipped before their update: the growth then has no effect on it.
        """
        if self._held is None:
            return NOTHING_COMPARED
        limits = GROWTH_HARM
        self._batches += 1
        self._losses = [*self._losses[1 - limits.unlearned_losses :], loss]
        recent = self._losses[-limits.recent_losses :]
        rose = len(recent) == limits.recent_losses and not median(recent) <= limits.loss_rise * self._first_loss
        enough = self._batches >= limits.unlearned_batches
        unlearned = enough and median(self._losses) > limits.unlearned_share * self._first_loss
        if clips or not ((rose and self._unclipped) or unlearned or self._harmed):
            return NOTHING_COMPARED
        finding, self._held = self._held, None
        return CheckResult(finding=finding)

    def check(self, given: TrainingBatch, network: ScriptNetwork, max_norm: float) -> Iterator[CheckResult]:
        """Add a training batch before its update, and yield the results.

        ``max_norm`` is the norm that a gradient should not exceed.
        """
        if given.number == 1:
            growth = CheckResult()
            forward = network.pass_of(given)
            if forward is not None and network.network is not None:
                growth = check_growth(network.network, forward, max_norm)
            self.hold(growth.finding, given.loss)
            self.doubt = growth.cannot_tell
            yield attrs.evolve(growth, finding=None)
        if network.network is not None:  # its growth was computed
            self._gain.over = True
        elif not self._gain.over:
            result = self._gain.add(given.gradients, given.params, max_norm)
            self.doubt = {**self.doubt, **result.withdrawn}
            yield result

    def add_update(self, update: MeasuredUpdate, max_norm: float) -> CheckResult:
        """Add the measured update of the batch just added; RNN401 if a gradient that exploded made it."""
        long = update.gradient_norm > max_norm and not update.scaled_down
        self._unclipped = self._unclipped or (long and is_proportional(update.cosine) is True)
        return CheckResult(finding=self._gain.add_update(update, max_norm))
