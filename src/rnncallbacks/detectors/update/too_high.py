"""What a run's first updates did, kept for those who judge the learning rate. Knows no plugin and no run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean, median

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.metrics import (
    MOST,
    overshoot,
    predicted_change,
    ratio_of,
    risen,
    silent_units,
    times_too_high,
    usual_norm,
)
from rnncallbacks.gradients import global_norm

FIRST, CLOSE, EVERY = 12, 40, 20
"""The first dozen updates tell how far a rate goes, and are measured one by one. Of those up to the fortieth, every
second one is measured, and later every fortieth; the losses are judged at every twentieth."""

MOVED, LARGE = 0.3, 0.02
"""Below this way in all, and this largest update, both beside the weights, an update did not raise the loss."""

EXCESS = 0.004
"""Overshoot by so much of the first loss on average is more than noise."""

SHARES = ((0.95, 0.15), (0.8, 0.25))
"""A loss still so high beside the first one, and the share of overshooting updates that then make a rate too high.
Healthy runs have had up to 0.07 of them while the loss had hardly fallen, and 0.23 later."""

FAR, BARELY = 0.1, 0.01
"""Overshoot on average that by itself makes a rate too high whose loss has not fallen; and the least by which updates
must confirm a loss that rose."""

SILENCED, SILENCED_ALONE, CONFIRMED = 0.35, 0.5, 0.1
"""Of all units: so many more pass no gradient on than did in the first batch, where that share of updates overshot, or
where nothing is known of that. Healthy runs have had up to 0.45 more, without overshooting."""

LOOKS = (0, 20, 25, 30, 35, 39)
"""Updates before which it is counted how many units pass no gradient on."""

GROWN = (5.0, 4.0, 3.0)
"""So many times their size weights may not grow to from the twelfth update on, by the last that is looked at closely,
and by then if updates raised the loss of their own batch. Weights that began small are measured by usual ones: healthy
ones of a hundredth grow to twenty times what they were."""

GREW = 2.0
"""Weights that did not double were not thrown about: single sequences overshoot, and small weights leave units silent,
in healthy runs too."""

CONFIRMING = 8
"""So many updates whose overshoot is known can deny that a rise is the rate's fault."""


@attrs.define(eq=False)
class UpdateRecord:
    """Losses, sizes of updates and what they did to their own batches' losses, from some batch on.

    ``follows`` is the cosine between the first update and its gradient: near 1 for gradient descent, with momentum too.
    ``reference`` is the first loss, or what a blind network would lose (``blind``) if that is more: a single first
    batch may be an easy one, and a network may come trained already.
    """

    seen: int = state_field(0)
    reference: float = state_field(0.0)
    blind: float = state_field(0.0)
    positions: float = state_field(0.0)
    losses: list[float] = state_field(factory=list)
    per_position: list[float] = state_field(factory=list)
    ratios: list[float] = state_field(factory=list)
    small_ratios: list[float] = state_field(factory=list)
    ways: list[float] = state_field(factory=list)
    paces: list[float] = state_field(factory=list)
    pulls: list[float] = state_field(factory=list)
    size: float = state_field(0.0)
    follows: float = state_field(math.nan)
    growth: float = state_field(1.0)
    changes: list[float] = state_field(factory=list)
    silent: list[float] = state_field(factory=list)

    def begin(self) -> None:
        """Look anew, from the next batch on; what is known of an untrained network's loss stays."""
        self.seen, self.positions, self.size, self.growth = 0, 0.0, 0.0, 1.0
        self.losses, self.per_position, self.follows = [], [], math.nan
        self.ratios, self.small_ratios, self.paces, self.pulls, self.changes = [], [], [], [], []
        self.silent, self.ways = [], []

    def forget(self) -> None:
        """Begin as for another run."""
        self.begin()
        self.reference = self.blind = 0.0

    def note(self, loss: float, positions: float) -> None:
        """Keep a batch's loss, as it is and as it would be for a batch of the size of the first."""
        if self.seen == 0:
            self.positions = positions
            self.reference = max(self.reference, loss)
        self.reference = max(self.reference, self.blind)
        self.seen += 1
        self.losses.append(loss)
        self.per_position.append(loss * self.positions / positions)
        del self.losses[:-MOST], self.per_position[:-MOST]

    def measure(
        self,
        before: Mapping[str, Array],
        after: Mapping[str, Array],
        gradients: Mapping[str, Array],
        scale: float,
        usual: float | None = None,
        norm: float | None = None,
    ) -> float:
        """Keep an update's size, and how fast it lowers the loss that was noted last; return its ratio.

        ``scale`` is what schedules make of the learning rate: a rate that is low for now is not too low. ``usual`` is
        the size of usual weights, where the arrays do not show their shapes, as they are one after the other, and
        ``norm`` that of the gradients, if it is known. ``before`` holds the update afterwards.
        """
        arrays = list(before.values())
        size = global_norm(arrays)
        usual = max(size, usual_norm(arrays) if usual is None else usual)
        with np.errstate(over="ignore", invalid="ignore"):
            for name, array in before.items():  # large arrays are not made anew in each batch: that takes longest
                np.subtract(after[name], array, out=array)
        step = global_norm(arrays)
        ratio = ratio_of(step, size)
        self.ratios.append(ratio)
        if not self.size:
            self.size = usual
        if self.size:
            self.growth = global_norm(list(after.values())) / self.size
            if len(self.ways) < FIRST:
                self.ways.append(step / self.size)
        loss = abs(self.losses[-1])
        if gradients and ratio and loss and usual:
            self.small_ratios.append(step / usual / scale)
            lowered = -predicted_change(before, gradients)
            norm = global_norm(list(gradients.values())) if norm is None else norm
            if math.isnan(self.follows) and norm:
                self.follows = lowered / step / norm
            self.paces.append(lowered / loss / scale)
            self.pulls.append(norm * usual / loss)
        return ratio

    def look(self, gradients: Mapping[str, Array]) -> None:
        """Count the units that pass no gradient on, where that is due."""
        if self.seen in LOOKS and len(self.silent) == LOOKS.index(self.seen):
            share = silent_units(gradients)
            if share is not None:
                self.silent.append(share)

    # What it says ---------------------------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether the next update is to be measured."""
        if self.seen < CLOSE:
            return self.seen < FIRST or self.seen % 2 == 1 or self.seen in LOOKS
        return self.seen % (2 * EVERY) == 0

    @property
    def large(self) -> bool:
        """Whether updates were large enough to have done harm; those that were not measured were like the others."""
        if len(self.ratios) < 2 or max(self.ratios) <= LARGE:
            return False
        updates = min(self.seen, CLOSE) + max(self.seen - CLOSE, 0) / EVERY
        return fmean(self.ratios) * updates > MOVED

    def level(self, count: int) -> float:
        """The median of the last losses beside the reference; the lower one of as they are and by position."""
        if not self.losses or self.reference <= 0.0:
            return 1.0
        return min(median(some[-count:]) for some in (self.losses, self.per_position)) / self.reference

    def rise(self) -> int:
        """How many of the last losses show that updates raised the loss for good; 0 if none do."""
        if self.seen < 7 or not (self.seen < CLOSE or self.seen % EVERY == 0) or not self.large:
            return 0
        if len(self.changes) >= CONFIRMING and overshoot(self.changes)[1] < BARELY:
            return 0
        return min(risen(self.losses, self.reference), risen(self.per_position, self.reference))

    def overshoots(self) -> bool:
        """Whether updates raised the loss of their own batch too often or too far, and it has hardly fallen."""
        if self.seen != CLOSE or len(self.changes) < CLOSE // 2 or not self.large or self.growth < GREW:
            return False
        share, excess = overshoot(self.changes)
        level = self.level(CLOSE // 2)
        often = excess >= EXCESS and any(level > height and share >= least for height, least in SHARES)
        return often or (excess >= FAR and level > SHARES[0][0])

    def silenced(self) -> bool:
        """Whether updates switched units off, of which the first batch's gradient still went through."""
        if self.seen != CLOSE or len(self.silent) < len(LOOKS) or not self.large or self.growth < GREW:
            return False
        confirmed = len(self.changes) >= CLOSE // 2 and overshoot(self.changes)[0] >= CONFIRMED
        denied = len(self.changes) >= CLOSE // 2 and not confirmed
        more = median(self.silent[1:]) - self.silent[0]
        return not denied and more >= (SILENCED if confirmed else SILENCED_ALONE)

    def outgrew(self) -> bool:
        """Whether updates made the weights several times larger, and the loss has not fallen for it."""
        if not FIRST <= self.seen <= CLOSE:
            return False
        early, late, confirmed = GROWN
        level = self.level(self.seen // 2)
        if self.seen < CLOSE:
            return self.growth >= early and level > 0.5
        raises = len(self.changes) >= CONFIRMING and overshoot(self.changes)[1] >= 2 * BARELY
        return (self.growth >= late and level > 0.5) or (self.growth >= confirmed and level > 0.7 and raises)

    @property
    def times_too_high(self) -> float:
        """About how many times a good rate the rate of these updates is, if it is too high."""
        return times_too_high(fmean(self.ways)) if self.ways else 1.0

    def blew_up(self) -> bool:
        """Whether updates led to a batch that is not finite: a steep rise, or weights that were replaced at once."""
        if not self.losses or self.seen > 100 or not self.ratios:
            return False
        last = min(self.losses[-1], self.per_position[-1])
        if last > 3.0 * self.reference and max(self.ratios) > LARGE:
            return True
        return self.seen <= 10 and max(self.small_ratios, default=0.0) > 1.0 and self.level(1) > 0.95
