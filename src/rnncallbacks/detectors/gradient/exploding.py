"""Exploding gradients: norms above a bound, and what the updates that follow them do to the loss."""

from __future__ import annotations

import math

import attrs

from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.metrics import is_proportional

WINDOW, LEAST = 30, 20
"""Batches that a share is taken of, at most and at least."""

SHARE = 0.1
"""The share of batches above the bound where gradients explode: 12 % and more; up to 2.5 % where they are benign."""

LEAP, JUMP = 1.0, 0.3
"""An update beside the weights: one such leap is enough, such jumps must come twice."""

RISE = 1.25
"""An update did harm if the next loss is so many times the first one."""

SANE = 1.0
"""An update beside the initial weights: clipping to the bound would help only if it brought the update below that."""

MEASURED = 20
"""Updates behind gradients above the bound that are all measured; later, only those larger than what did no harm."""


@attrs.frozen
class Explosion:
    """A finding: the norm, the update beside the weights, what clipping had made of it, the share, the loss after."""

    norm: float
    update: float
    clipped: float
    share: float
    loss: float


@attrs.define(eq=False)
class ExplosionWatch:
    """Follows losses, norms of raw gradients, and updates.

    Call ``see`` with each batch's loss and norm; it returns what the update of the batch before did, if that was bad.
    Where ``wants_update`` then says so, measure the update and give it to ``measure``. Set ``over`` where updates do
    not follow the gradient's scale: an explosion then does no harm.
    """

    first: float = state_field(math.nan)
    recent: list[float] = state_field(factory=list)
    exceeded: list[bool] = state_field(factory=list)
    harmful: list[bool] = state_field(factory=list)
    batches: int = state_field(0)
    measured: int = state_field(0)
    harmless: float = state_field(0.0)
    pending: tuple[float, float, float] | None = state_field(None)
    over: bool = state_field(False)

    @property
    def share(self) -> float:
        """The share of the last batches whose norm was above the bound."""
        return sum(self.exceeded) / len(self.exceeded) if self.exceeded else 0.0

    def see(self, loss: float, norm: float, max_norm: float) -> Explosion | None:
        """Take a batch in, before its update."""
        found = self._resolve(loss)
        if self.over or not math.isfinite(loss) or not math.isfinite(norm):
            return found
        if math.isnan(self.first):
            self.first = loss
        exceeds = norm > max_norm
        # A loss that rose while gradients were small is the learning rate's doing.
        if exceeds and not any(self.exceeded) and self.recent:
            self.over = sum(self.recent) / len(self.recent) > RISE * self.first
        self.batches += 1
        self.recent = [*self.recent[-4:], loss]
        self.exceeded = [*self.exceeded[1 - WINDOW :], exceeds]
        self.harmful = [*self.harmful[1 - WINDOW :], False]
        return found

    def wants_update(self, norm: float) -> bool:
        """Whether the update of the batch just seen is worth a copy of the parameters."""
        return (
            not self.over and self.exceeded[-1:] == [True] and (self.measured < MEASURED or norm > 2.0 * self.harmless)
        )

    def measure(self, norm: float, update: float, clipped: float, cosine: float) -> None:
        """Take in the size of an update beside the weights, and beside the initial ones if it had been clipped."""
        self.measured += 1
        if update >= JUMP and clipped <= SANE and is_proportional(cosine):
            self.pending = (norm, update, clipped)
        else:
            self.harmless = max(self.harmless, norm)

    def _resolve(self, loss: float) -> Explosion | None:
        if self.pending is None:
            return None
        (norm, update, clipped), self.pending = self.pending, None
        if loss <= RISE * self.first:
            self.harmless = max(self.harmless, norm)
            return None
        self.harmful = [*self.harmful[:-1], True]
        often = self.batches >= LEAST and self.share >= SHARE and sum(self.harmful) >= 2
        if update < LEAP and not often:
            return None
        return Explosion(norm, update, clipped, self.share, loss)


def describe(found: Explosion, max_norm: float, first: float) -> str:
    """The arithmetic of a finding, in words.

    Example
    -------
    >>> print(describe(Explosion(110.0, 5.2, 0.24, 0.2, 6.4), 5.0, 1.1))
    an unclipped gradient of norm 110 moved the weights by 5.2 times their size, and the loss is 6.4, at first 1.1; the
    update of a gradient clipped to max_norm = 5 would have been 0.24 of the initial weights' size
    """
    return (
        f"an unclipped gradient of norm {found.norm:.3g} moved the weights by {found.update:.2g} times their size, and "
        f"the loss is {found.loss:.4g}, at first {first:.4g}; the update of a gradient clipped to max_norm = "
        f"{max_norm:g} would have been {found.clipped:.2g} of the initial weights' size"
    )
