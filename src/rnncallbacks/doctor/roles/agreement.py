"""Compares candidates for a gradient with central differences of a loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnncallbacks.doctor.roles.gradient_sources import GradientCandidate
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.roles.loss_choice import LOSS_CHOICE_THRESHOLDS, predicted_share
from rnncallbacks.doctor.value_walk import Key

FACTOR_TOLERANCE = 5e-3
"""Largest relative difference of factors that are one. Chosen by eye."""
SHARE_WITH_FACTOR = 0.75
"""Smallest share of arrays that have one factor. Chosen by eye."""

PROPORTION_TOLERANCE = 1e-4
"""Largest relative difference of ratios that are one: rounding errors of central differences. Chosen by eye."""


def agreeing_count(loss: Key, keepers: list[Push], sources: dict[Key, list[GradientCandidate]]) -> int:
    """The number of arrays whose gradient has the value of a central difference of the loss."""
    return sum(
        agreeing_source(push, sources.get(push.key, []), loss) is not None for push in keepers if push.key in sources
    )


def common_factor(loss: Key, keepers: list[Push], sources: dict[Key, list[GradientCandidate]]) -> float | None:
    """The one factor by which the central differences of a loss are larger than the gradients of most arrays.

    None if there is none: gradients of a mean where the loss is a sum have one.
    """
    shares = []
    for push in keepers:
        found = [abs(_share(push, one, loss)) for one in sources.get(push.key, [])]
        finite = [share for share in found if np.isfinite(share) and share > 0.0]
        if finite:
            shares.append(finite)
    if len(shares) < 2:
        return None

    def count(factor: float) -> int:
        return sum(any(abs(share / factor - 1.0) <= FACTOR_TOLERANCE for share in found) for found in shares)

    best = max((share for found in shares for share in found), key=count)
    return best if count(best) >= max(2.0, SHARE_WITH_FACTOR * len(shares)) else None


def _share(push: Push, one: GradientCandidate, loss: Key) -> float:
    value = push.record.get(one.key)
    return float("nan") if value is None else predicted_share(push, loss, one.sign * value)


def agreeing_source(
    push: Push, candidates: list[GradientCandidate], loss: Key, factor: float = 1.0
) -> tuple[GradientCandidate, float] | None:
    """The candidate that predicts the central difference of a loss, up to its sign, and that sign; None if none does.

    The prediction is multiplied by ``factor``.

    The sign is 1 if the update lowers the loss, -1 if it raises it.
    """
    limits = LOSS_CHOICE_THRESHOLDS
    tolerance = limits.tolerance if push.step.dtype == np.float64 else limits.float32_tolerance
    for one in candidates:
        ratio = _share(push, one, loss) / factor
        if abs(abs(ratio) - 1.0) <= tolerance:
            return one, 1.0 if ratio > 0 else -1.0
    return None


def sign_of_most(loss: Key, keepers: list[Push], sources: dict[Key, list[GradientCandidate]]) -> float:
    """The sign with which the gradients of most arrays predict the central difference of a loss; 1 if none do.

    All of them have it in a script that adds what it should subtract. A gradient with the other sign is wrong.
    """
    found = [agreeing_source(push, sources.get(push.key, []), loss) for push in keepers]
    return 1.0 if sum(one[1] for one in found if one is not None) >= 0 else -1.0


def are_proportional(one: Key, other: Key, keepers: Sequence[Push]) -> bool:
    """Whether every push moves two numbers by one ratio, as a loss and its sum over a batch."""
    moved = [push.derivatives for push in keepers if push.derivatives.get(one)]
    ratios = [derivatives.get(other, 0.0) / derivatives[one] for derivatives in moved]
    return len(ratios) > 1 and 0.0 not in ratios and bool(np.ptp(ratios) <= PROPORTION_TOLERANCE * abs(ratios[0]))
