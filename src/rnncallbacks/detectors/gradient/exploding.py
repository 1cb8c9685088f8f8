"""RNN401: a gradient above the bound that nothing clips, whose update destroyed the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import Gradients, global_norm
from rnncallbacks.core.plugin_state import reset_state, state_field
from rnncallbacks.detectors.gradient.clipped import find_clipping
from rnncallbacks.detectors.gradient.update_tracker import MeasuredUpdate
from rnncallbacks.detectors.update.metrics import is_proportional


@attrs.frozen(kw_only=True)
class ExplodingGradientThresholds:
    """Thresholds of an explosion: a gradient above the bound whose update did harm.

    Numbers without a source were chosen by eye.
    """

    recent_batches: int = 30
    """Batches over which the share of norms above the bound is taken. Chosen by eye."""
    smallest_sample: int = 20
    """Batches after which that share is used. Chosen by eye."""
    share_above_bound: float = 0.1
    """Smallest share of norms above the bound at which updates of moderate size count. 12% to 100% were measured in
    runs that explode, up to 2.5% in healthy ones."""
    large_update: float = 1.0
    """Size of an update relative to the parameters, from which one is enough. Chosen by eye."""
    moderate_update: float = 0.3
    """Size of an update relative to the parameters, from which two are enough if the share is reached. Chosen by
    eye."""
    moderate_updates: int = 2
    """Updates of moderate size that must raise the loss."""
    loss_rise: float = 1.25
    """Loss after the update over the first loss, above which the update did harm. Chosen by eye."""
    recent_losses: int = 5
    """Losses whose mean shows whether the loss had risen before any norm exceeded the bound. Chosen by eye."""
    clipped_update: float = 0.5
    """Largest size of the clipped update relative to the initial parameters: above it, clipping would not help, and the
    learning rate is too high. 0.025 and 0.33 were measured with summed losses, 0.75 with a rate 30 times too high."""
    unclipped_share: float = 0.999
    """Norm of the gradients after all plugins over the norm before, below which a plugin clipped them. The distance to
    1 is for rounding."""
    largest_clipping_bound: float = 20.0
    """Bound at which the entries or the norm of a gradient were clipped, relative to ``max_norm``, up to which this
    counts as clipping: 100 for the usual norm of 5. Chosen by eye."""
    jump: float = 10.0
    """Norm / norm of two batches before, above which a norm above ``norm_of_jump`` is not called harmless: healthy
    norms rose up to 20 times within two batches, to values of 20 at most."""
    norm_of_jump: float = 10.0
    """Norm over ``max_norm`` of such a jump. Chosen by eye."""
    measured_updates: int = 20
    """Updates of gradients above the bound that are all measured. After them, only those of gradients larger than the
    harmless ones are, to bound the copies of the parameters."""
    harmless_multiple: float = 2.0
    """Norm over the largest norm that proved harmless, above which an update is measured after that. Chosen by eye."""


EXPLODING_GRADIENT = ExplodingGradientThresholds()
NO_DOUBT: Mapping[str, str] = MappingProxyType({})


@attrs.define(eq=False)
class ExplodingGradientDetector:
    """Follows losses, norms of unclipped gradients and the updates of those above a bound.

    Call :meth:`check` with each batch before its update. Where :meth:`wants_update` then says so, measure the update
    and pass it to :meth:`add_update`. Set ``stopped`` where updates do not depend on the scale of the gradient: large
    gradients are then harmless. After a finding, the detector starts again, to show whether a repair helps.

    Example
    -------
    >>> detector = ExplodingGradientDetector()
    >>> detector.check(loss=1.1, norm=110.0, max_norm=5.0)
    >>> detector.wants_update(norm=110.0)
    True
    >>> detector.add_update(MeasuredUpdate(gradient_norm=110.0, relative_size=5.2, clipped_size=0.24, cosine=1.0))
    >>> detector.check(loss=6.4, norm=1.0, max_norm=5.0).code
    'RNN401'
    """

    first_loss: float = state_field(math.nan)
    stopped: bool = state_field(False)
    measured_updates: int = state_field(0)
    clipped_updates: int = state_field(0)
    _clipped: bool = state_field(False)  # whether the gradient of the batch just added is
    largest_norm: float = state_field(0.0)
    _recent_norms: list[float] = state_field(factory=list)
    _jump: tuple[float, float] | None = state_field(None)  # the largest: the norm before, and the norm
    _recent_losses: list[float] = state_field(factory=list)
    _above_bound: list[bool] = state_field(factory=list)
    _harmful: list[bool] = state_field(factory=list)
    _batches: int = state_field(0)
    _harmless_norm: float = state_field(0.0)
    _pending: tuple[float, float, float] | None = state_field(None)  # norm, relative and clipped size of an update

    @property
    def share_above_bound(self) -> float:
        """The share of the recent batches whose norm exceeded the bound."""
        return sum(self._above_bound) / len(self._above_bound) if self._above_bound else 0.0

    def check(self, loss: float, norm: float, max_norm: float) -> Finding | None:
        """Add a batch before its update; returns a finding about the update of the batch before."""
        self._clipped = False
        if self._pending is not None and (finding := self._check_pending(self._pending, loss, max_norm)) is not None:
            reset_state(self)
            return finding
        if math.isfinite(norm):
            self._add_norm(norm, max_norm)
        if self.stopped or not math.isfinite(loss) or not math.isfinite(norm):
            return None
        if math.isnan(self.first_loss):
            self.first_loss = loss
        limits, exceeds = EXPLODING_GRADIENT, norm > max_norm
        # A loss that rose while gradients were small rose because of the learning rate.
        if exceeds and not any(self._above_bound) and self._recent_losses:
            mean = sum(self._recent_losses) / len(self._recent_losses)
            self.stopped = mean > limits.loss_rise * self.first_loss
        self._batches += 1
        self.largest_norm = max(self.largest_norm, norm)
        _append(self._recent_losses, loss, limits.recent_losses)
        _append(self._above_bound, exceeds, limits.recent_batches)
        _append(self._harmful, False, limits.recent_batches)
        return None

    def _add_norm(self, norm: float, max_norm: float) -> None:
        limits = EXPLODING_GRADIENT
        if norm > limits.norm_of_jump * max_norm:
            before = min(self._recent_norms, default=math.inf)
            if norm > limits.jump * before > 0.0:
                self._jump = max(self._jump or (before, before), (before, norm), key=lambda jump: jump[1] / jump[0])
        self._recent_norms = [*self._recent_norms[-1:], norm]

    def wants_update(self, norm: float) -> bool:
        """Whether the update of the batch just added, whose gradient has this norm, is to be measured."""
        if self.stopped or self._clipped or self._above_bound[-1:] != [True]:
            return False
        limits = EXPLODING_GRADIENT
        return self.measured_updates < limits.measured_updates or norm > limits.harmless_multiple * self._harmless_norm

    def add_update(self, update: MeasuredUpdate) -> None:
        """Add the update of the batch just added. Updates that the script scaled down, or not wanted, are left out."""
        if update.is_first and is_proportional(update.cosine) is False:
            self.stopped = True
        if not self.wants_update(update.gradient_norm):
            return
        if update.scaled_down:
            self.clipped_updates += 1
            return
        self.measured_updates += 1
        limits = EXPLODING_GRADIENT
        clippable = update.clipped_size <= limits.clipped_update and is_proportional(update.cosine)
        if update.relative_size >= limits.moderate_update and clippable:
            self._pending = (update.gradient_norm, update.relative_size, update.clipped_size)
        else:
            self._harmless_norm = max(self._harmless_norm, update.gradient_norm)

    @property
    def awaits_loss(self) -> bool:
        """Whether the loss of the next batch shows what the last update did."""
        return self._pending is not None

    def add_missed(self, losses: Sequence[float], norms: Sequence[float]) -> None:
        """Add batches that were left out: their norms did not exceed the bound, and nothing was pending."""
        if self.stopped or not norms:
            return
        limits = EXPLODING_GRADIENT
        self._batches += len(norms)
        self.largest_norm = max(self.largest_norm, *norms)
        self._recent_norms = [*self._recent_norms, *norms][-2:]
        self._recent_losses = [*self._recent_losses, *losses][-limits.recent_losses :]
        self._above_bound = [*self._above_bound, *[False] * len(norms)][-limits.recent_batches :]
        self._harmful = [*self._harmful, *[False] * len(norms)][-limits.recent_batches :]

    def check_clipping(self, gradients: Gradients, norm: float, max_norm: float) -> bool:
        """Whether the gradient of the batch just added, which had this norm, will be clipped before its update."""
        clipped = global_norm(gradients.arrays) < EXPLODING_GRADIENT.unclipped_share * norm
        if self.wants_update(norm) and (clipped or self.came_clipped(gradients, max_norm)):
            self.add_clipped_update()
            return True
        return clipped

    def came_clipped(self, gradients: Mapping[str, Array], max_norm: float) -> bool:
        """Whether entries of the gradients, or a norm, are at a bound that prevents explosions."""
        bounds, largest = find_clipping(gradients), EXPLODING_GRADIENT.largest_clipping_bound * max_norm
        found = [bound for bound in (bounds.norm, bounds.value) if bound is not None]
        found += [global_norm([gradients[name]]) for name in bounds.arrays]
        return any(bound <= largest for bound in found)

    def add_clipped_update(self) -> None:
        """Record that the script or a plugin clips the gradient of the batch just added before its update.

        Its update is then not wanted.
        """
        self.clipped_updates += 1
        self._clipped = True

    def coverage(
        self, params: object, first_cosine: float, max_norm: float, doubt: Mapping[str, str] = NO_DOUBT
    ) -> CheckResult:
        """The comparisons that were made, in words; ``first_cosine`` is NaN if no update was measured.

        ``doubt`` is the reason, by code, for which gradients of usual length prove nothing.
        """
        if doubt:
            return CheckResult(withdrawn=doubt)
        if params is None:
            return CheckResult(not_checked={"RNN401": "give the parameters to Run(params)"})
        if math.isnan(first_cosine):
            lacking = "write run.params = params after an update that makes new arrays"
            return CheckResult(not_checked={"RNN401": lacking})
        if self.stopped and not is_proportional(first_cosine):
            compared = "updates do not depend on the length of the gradient, so a long one does no harm"
            return CheckResult(checked={"RNN401": compared})
        if self.stopped:
            reason = f"the loss had risen before the first of {self._batches} norms exceeded {max_norm:g}"
            return CheckResult(cannot_tell={"RNN401": reason})
        compared = f"the largest of {self._batches} gradient norms is {self.largest_norm:.3g} (max_norm = {max_norm:g})"
        if self.largest_norm <= max_norm:
            return CheckResult(checked={"RNN401": compared})
        if not self.measured_updates and self.clipped_updates:
            compared = f"{compared}; {self.clipped_updates} gradients above max_norm were scaled down before the update"
            return CheckResult(checked={"RNN401": compared})
        if not self.measured_updates:
            reason = f"{compared}; no update of a gradient above max_norm had the length of its gradient"
            return CheckResult(cannot_tell={"RNN401": reason})
        if self._jump is not None:
            before, norm = self._jump
            reason = f"the gradient norm rose from {before:.3g} to {norm:.3g} within two batches"
            return CheckResult(cannot_tell={"RNN401": reason})
        number = self.measured_updates
        updates = f"none of {number} measured updates above it" if number > 1 else "the one measured update above it"
        did = "destroyed" if number > 1 else "did not destroy"
        return CheckResult(checked={"RNN401": f"{compared}; {updates} {did} the parameters"})

    def _check_pending(self, pending: tuple[float, float, float], loss: float, max_norm: float) -> Finding | None:
        """RNN401 if the last update was large and raised the loss."""
        (norm, relative_size, clipped_size), self._pending = pending, None
        limits = EXPLODING_GRADIENT
        if loss <= limits.loss_rise * self.first_loss:
            self._harmless_norm = max(self._harmless_norm, norm)
            return None
        self._harmful[-1:] = [True]
        repeated = (
            self._batches >= limits.smallest_sample
            and self.share_above_bound >= limits.share_above_bound
            and sum(self._harmful) >= limits.moderate_updates
        )
        if relative_size < limits.large_update and not repeated:
            return None
        return Finding(
            "RNN401",
            f"an unclipped gradient moved the parameters by {relative_size:.2g} times their norm: gradient norm "
            f"{norm:.3g} (max_norm = {max_norm:g}), loss {loss:.4g} after the update (at first {self.first_loss:.4g}); "
            f"clipped, the update would have been {clipped_size:.2g} of the norm of the initial parameters",
            {
                "norm": norm,
                "relative_update": relative_size,
                "clipped_update": clipped_size,
                "share_above_max_norm": self.share_above_bound,
                "loss": loss,
                "max_norm": max_norm,
            },
            remedy=f"clip gradients at the norm {max_norm:g} before the update (gradient_clipping): this one would "
            f"have been scaled by {max_norm / norm:.2g}",
        )


def _append(recent: list[Any], value: object, most: int) -> None:
    recent.append(value)
    if len(recent) > most:
        del recent[0]
