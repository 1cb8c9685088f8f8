"""The role of a parameter: its gradient, the other names of that, and whether it agrees with the loss."""

from __future__ import annotations

import re

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.agreement import (
    agreeing_source,
    common_factor,
    is_in_rate,
    signs_of_gradients,
    whole_share,
)
from rnncallbacks.doctor.roles.gradient_sources import GradientCandidate, followed_candidate
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.roles.objective import is_log_likelihood
from rnncallbacks.doctor.roles.role_table import ParameterRole, ends_as_parameter, key_text, root_of
from rnncallbacks.doctor.value_walk import Key

GENERIC_NAME = r"(d_?param|param|grads?|g|d|p)"
"""Names of any gradient, as an inner loop over all of them has."""


@attrs.frozen(kw_only=True)
class GradientFactors:
    """Factors that all gradients of a loop have.

    Attributes
    ----------
    sign:
        -1 if all updates go up their gradients, else 1.
    raised:
        Whether the updates raise a log-likelihood.
    off:
        The factor by which the derivatives of the loss are larger than the gradients; None if they do not share one.
    in_rate:
        Whether the learning rate contains this factor.
    scale:
        The factor by which the updates multiply the gradients.
    """

    sign: float = 1.0
    raised: bool = False
    off: float | None = None
    in_rate: bool = False
    scale: float = 1.0


def gradient_factors(
    loss: Key, keepers: list[Push], sources: dict[Key, list[GradientCandidate]], records: list[IterationRecord]
) -> GradientFactors:
    """The factors of the gradients in ``sources``, compared with the derivatives of the loss."""
    signs = signs_of_gradients(loss, keepers, sources)
    raised = sum(signs) < 0 and is_log_likelihood(loss, records)
    off = common_factor(loss, keepers, sources)
    in_rate = off is not None and is_in_rate(off, keepers, sources, loss)
    return GradientFactors(
        sign=-1.0 if signs and max(signs) < 0 and not raised else 1.0,
        raised=raised,
        off=off,
        in_rate=in_rate,
        scale=whole_share(off) if off is not None and in_rate else 1.0,
    )


def parameter_role(
    push: Push, candidates: list[GradientCandidate], loss: Key, factors: GradientFactors
) -> ParameterRole:
    """The role of an array that moves the loss, with one of the candidates as its gradient."""
    record, name = push.record, key_text(push.key)
    found = agreeing_source(push, candidates, loss, factors.scale)
    if found is None and not candidates:
        return ParameterRole(name, push.key)
    off = agreeing_source(push, candidates, loss, factors.off) if found is None and factors.off else None
    if found is not None:
        source, agrees = found[0], found[1] == factors.sign
    else:
        source, agrees = off[0] if off else followed_candidate(push.key, candidates, record), False
    others = _other_names(source.key, candidates, record)
    used = factors.scale * source.sign * (1.0 if found is None else factors.sign)
    return ParameterRole(name, push.key, source.key, _alias(source.key, push.key, record), used, agrees, others)


def _other_names(key: Key, candidates: list[GradientCandidate], record: IterationRecord) -> tuple[Key, ...]:
    """Other names of a gradient's array, and candidates that have the same value in at least half of their entries."""
    identity, value = record.identities.get(key), record.get(key)
    same = [other for other, number in record.identities.items() if number == identity and other != key]
    equal = [
        one.key
        for one in candidates
        if one.key != key and value is not None and 2 * int(np.sum(record.get(one.key) == value)) >= value.size
    ]
    return tuple(dict.fromkeys([*same, *equal]))


def _alias(key: Key, parameter: Key, record: IterationRecord) -> Key | None:
    """Another name of a gradient: one that ends with the parameter's, or the one that an update reads."""
    identity = record.identities.get(key)
    same = [other for other, number in record.identities.items() if number == identity and other != key]
    names = [other for other in same if other[0] in ("local", "end")]
    read = {key_text(other) for other in (key, *same) if other[0] == "operand"}
    last = [other for other in names if not re.fullmatch(GENERIC_NAME, other[2])]
    return min(
        last or names,
        key=lambda one: (
            not ends_as_parameter(one, parameter),
            root_of(one[2]) != root_of(parameter[2]),
            one[2] not in read,
            bool(re.match(rf"{GENERIC_NAME}\b", one[2])),
            one[0] != "local",
            record.order.get(one, 0),
        ),
        default=None,
    )
