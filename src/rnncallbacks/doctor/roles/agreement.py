"""Compares candidates for a gradient with central differences of a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import numbers_of
from rnncallbacks.doctor.loss_names import AVERAGE_NAMES, LOSS_NAMES, UPDATE_RATES
from rnncallbacks.doctor.roles.gradient_sources import GradientCandidate
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.roles.loss_choice import LOSS_CHOICE, OVER_ITERATIONS, predicted_share
from rnncallbacks.doctor.roles.role_table import LossCandidate
from rnncallbacks.doctor.value_walk import Key


@attrs.frozen(kw_only=True)
class AgreementThresholds:
    """Limits within which factors and ratios of several arrays are one number. Chosen by eye."""

    factor_tolerance: float = 5e-3
    """Largest relative difference of the factors of two gradients."""
    share_with_factor: float = 0.75
    """Smallest share of arrays that have one factor."""
    rate_tolerance: float = 1e-3
    """Largest relative difference between the rate of a change and a learning rate times a factor, which is known from
    central differences."""
    closest_factor: float = 4.0
    """Error of the first candidate that counts / error of the closest one."""
    exact: float = 1e-6
    """Error up to which a candidate counts in any case: the rounding of central differences."""
    proportion_tolerance: float = 1e-4
    """Largest relative difference of the ratios of two numbers: rounding errors of central differences."""


AGREEMENT = AgreementThresholds()


def agreeing_count(loss: Key, keepers: list[Push], sources: dict[Key, list[GradientCandidate]]) -> int:
    """The number of arrays whose gradient has the value of a central difference of the loss."""
    found = [agreeing_source(push, sources[push.key], loss) for push in keepers if push.key in sources]
    return sum(one is not None for one in found)


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
        return sum(any(abs(share / factor - 1.0) <= AGREEMENT.factor_tolerance for share in found) for found in shares)

    best = max((share for found in shares for share in found), key=count)
    return best if count(best) >= max(2.0, AGREEMENT.share_with_factor * len(shares)) else None


def is_in_rate(
    factor: float,
    keepers: Sequence[Push],
    sources: Mapping[Key, Sequence[GradientCandidate]],
    loss: Key,
) -> bool:
    """Whether the updates multiply the gradients by the factor, besides a learning rate of the script.

    ``w -= lr * dw / n`` does: the gradient of the mean is never an array of its own.
    """
    rates = []
    for push in keepers:
        found = agreeing_source(push, sources.get(push.key, []), loss, factor)
        if found is None:
            continue
        change, along = push.record.end[push.key] - push.record.start[push.key], push.record.get(found[0].key)
        used = along != 0
        if used.any():
            rates.append(float(np.median(np.abs(change[used] / along[used]))))
    numbers = numbers_of(keepers[0].record.end) | numbers_of(keepers[0].record.inside)
    named = [abs(value) for key, value in numbers.items() if UPDATE_RATES.search(key[2]) and value]
    same = [
        np.allclose(rates, factor * value, rtol=AGREEMENT.rate_tolerance, atol=0.0) for value in dict.fromkeys(named)
    ]
    return len(rates) > 1 and any(same)


def whole_share(factor: float) -> float:
    """One over a whole number if a factor, which is known from central differences, is near it.

    >>> whole_share(0.12499998), whole_share(0.3)
    (0.125, 0.3)
    """
    count = round(1.0 / factor)
    return 1.0 / count if count > 1 and abs(factor * count - 1.0) <= AGREEMENT.proportion_tolerance else factor


def _share(push: Push, one: GradientCandidate, loss: Key) -> float:
    value = push.record.get(one.key)
    return float("nan") if value is None else predicted_share(push, loss, one.sign * value)


def agreeing_source(
    push: Push, candidates: Sequence[GradientCandidate], loss: Key, factor: float = 1.0
) -> tuple[GradientCandidate, float] | None:
    """The candidate that predicts the central difference of a loss, up to its sign, and that sign; None if none does.

    The prediction is multiplied by ``factor``.

    The sign is 1 if the update lowers the loss, -1 if it raises it.
    """
    limits = LOSS_CHOICE
    tolerance = limits.tolerance if push.step.dtype == np.float64 else limits.float32_tolerance
    ratios = [_share(push, one, loss) / factor for one in candidates]
    errors = [abs(abs(ratio) - 1.0) for ratio in ratios]
    closest = min((error for error in errors if error <= tolerance), default=None)
    if closest is None:
        return None
    # The gradients of two gates may be nearly equal as long as the weights are small: the closest one counts.
    limit = max(AGREEMENT.closest_factor * closest, AGREEMENT.exact)
    place = next(place for place, error in enumerate(errors) if error <= limit)
    return candidates[place], 1.0 if ratios[place] > 0 else -1.0


def signs_of_gradients(loss: Key, keepers: list[Push], sources: dict[Key, list[GradientCandidate]]) -> list[float]:
    """The signs with which gradients predict the central differences of a loss, of those that do.

    All of them are -1 in a script that adds what it should subtract. Where some are, these updates are wrong.
    """
    found = [agreeing_source(push, sources.get(push.key, []), loss) for push in keepers]
    return [one[1] for one in found if one is not None]


def are_proportional(one: Key, other: Key, keepers: Sequence[Push]) -> bool:
    """Whether every push moves two numbers by one ratio, as a loss and its sum over a batch."""
    moved = [push.derivatives for push in keepers if push.derivatives.get(one)]
    ratios = [derivatives.get(other, 0.0) / derivatives[one] for derivatives in moved]
    if len(ratios) < 2 or 0.0 in ratios:
        return False
    return bool(np.ptp(ratios) <= AGREEMENT.proportion_tolerance * abs(ratios[0]))


def loss_of_loop(ranked: Sequence[LossCandidate], keepers: Sequence[Push]) -> LossCandidate:
    """The likeliest loss; in place of a local sum of a function, the mean of it that the loop has under a loss's name.

    The gradients may be those of the sum: the script descends another number than it reports, by a constant factor.
    """
    best = ranked[0]
    for one in ranked if best.key[0] == "local" else ():
        is_average = OVER_ITERATIONS in one.reasons or AVERAGE_NAMES.search(one.key[2])
        named = one.key[0] == "end" and LOSS_NAMES.search(one.key[2]) and not is_average
        smaller = all(
            abs(push.derivatives.get(one.key, 0.0)) <= abs(push.derivatives.get(best.key, 0.0)) for push in keepers
        )
        if named and smaller and are_proportional(best.key, one.key, keepers):
            return one
    return best
