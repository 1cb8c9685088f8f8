"""Parameters that never change: constant arrays whose gradient is computed all the same."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, arrays_of, same_bits
from rnncallbacks.doctor.roles.gradient_sources import LATE, GradientCandidate
from rnncallbacks.doctor.roles.interventions import Push, expression_length
from rnncallbacks.doctor.roles.loss_choice import LOSS_CHOICE_THRESHOLDS, predicted_share
from rnncallbacks.doctor.value_walk import Key


@attrs.frozen(kw_only=True)
class FrozenSiblingThresholds:
    """Which constant arrays are looked at. Chosen by eye."""

    entries: int = 200_000
    """Entries of an array up to which it is pushed."""
    arrays: int = 24
    """Constant arrays that are pushed at most."""
    sources: int = 40
    """Arrays of one shape that are compared with differences of the loss."""


FROZEN_SIBLING_THRESHOLDS = FrozenSiblingThresholds()


def constant_arrays(
    records: list[IterationRecord], thresholds: FrozenSiblingThresholds = FROZEN_SIBLING_THRESHOLDS
) -> list[Key]:
    """One key for each array that stays as it is, if arrays of its shape vary from iteration to iteration."""
    varying = {value.shape for _, value in _varying(records)}
    chosen: dict[int, Key] = {}
    for key, value in arrays_of(records[0].start).items():
        if not 1 < value.size <= thresholds.entries or value.shape not in varying:
            continue
        later = [one for record in records for one in (record.start.get(key), record.end.get(key))]
        if any(not same_bits(value, one) for one in later):
            continue
        identity = records[0].start_identities[key]
        if identity not in chosen or expression_length(key) < expression_length(chosen[identity]):
            chosen[identity] = key
    return list(chosen.values())[: thresholds.arrays]


def gradients_of_constants(
    push: Push, records: list[IterationRecord], thresholds: FrozenSiblingThresholds = FROZEN_SIBLING_THRESHOLDS
) -> list[GradientCandidate]:
    """The arrays that predict what a push of a constant array did to a number that it moved."""
    limits, found = LOSS_CHOICE_THRESHOLDS, []
    tolerance = limits.tolerance if push.step.dtype == np.float64 else limits.float32_tolerance
    same_shape = [(key, value) for key, value in _varying(records) if value.shape == push.step.shape]
    for key, value in same_shape[: thresholds.sources]:
        for number in push.derivatives:
            share = predicted_share(push, number, value)
            if abs(abs(share) - 1.0) <= tolerance:
                sign = 1.0 if share > 0 else -1.0
                found.append(GradientCandidate(key, 1.0, sign, records[0].order.get(key, LATE)))
                break
    return sorted(found, key=lambda one: one.moment)


def _varying(records: list[IterationRecord]) -> list[tuple[Key, Any]]:
    first, second = records[0], records[1]
    return [
        (key, value)
        for values in (first.inside, first.end)
        for key, value in values.items()
        if isinstance(value, np.ndarray)
        and value.dtype.kind == "f"
        and value.size > 1
        and (later := second.get(key)) is not None
        and not same_bits(value, later)
    ]
