"""Roles in a loop whose loss is never finite: no push moves it, so names are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, arrays_of, numbers_of
from rnncallbacks.doctor.loss_names import LOSS_NAMES
from rnncallbacks.doctor.roles.given_roles import GivenRoles, is_named
from rnncallbacks.doctor.roles.gradient_sources import candidates_of
from rnncallbacks.doctor.roles.interventions import changing_arrays, persists
from rnncallbacks.doctor.roles.role_table import LossCandidate, ParameterRole, Roles, key_text
from rnncallbacks.doctor.value_walk import Key

NEVER_FINITE = "never finite"
"""What the loss is, as the table of roles shows it."""


def roles_of_nonfinite_loss(records: Sequence[IterationRecord], given: GivenRoles) -> Roles | None:
    """The roles of a loop in which a number that is named like a loss is never finite; None if there is none.

    Parameters are the finite arrays that an iteration changes along an array of their shape, or makes non-finite.
    """
    known = list(records)
    losses = [
        key for key in _nonfinite_numbers(known) if (is_named(key, [given.loss]) if given.loss else _is_loss(key))
    ]
    if not losses:
        return None
    loss = min(losses, key=lambda key: (key[0] != "end", len(key[2]), key))
    changing = [key for key in changing_arrays(known[:1]) if persists(key, known)]
    parameters = [
        ParameterRole(key_text(key), key, gradient)
        for key in changing
        if np.isfinite(known[0].start[key]).all() and (gradient := _gradient(key, set(changing), known)) is not None
    ]
    if not parameters:
        return None
    candidate = LossCandidate(loss, key_text(loss), 1.0, ("by its name", NEVER_FINITE))
    return Roles(
        loss=loss,
        loss_confidence="likely",
        loss_candidates=(candidate,),
        parameters=tuple(parameters),
        loss_is=NEVER_FINITE,
    )


def _is_loss(key: Key) -> bool:
    return bool(LOSS_NAMES.search(key[2]) or (key[0] == "return" and LOSS_NAMES.search(key[1])))


def _nonfinite_numbers(records: list[IterationRecord]) -> list[Key]:
    numbers = [numbers_of(record.end) | numbers_of(record.inside) for record in records]
    return [key for key in numbers[0] if not any(np.isfinite(one.get(key, 0.0)) for one in numbers)]


def _gradient(parameter: Key, others: set[Key], records: list[IterationRecord]) -> Key | None:
    """The array along which a parameter changes, or the first non-finite one of its shape."""
    record = records[0]
    if np.isfinite(record.end[parameter]).all():
        found = [one.key for one in candidates_of(parameter, others, records[:1]) if one.sign > 0]
        return found[0] if found else None
    return next(_nonfinite_arrays(record, record.start[parameter].shape, others), None)


def _nonfinite_arrays(record: IterationRecord, shape: tuple[int, ...], others: set[Key]) -> Iterator[Key]:
    excluded = {record.start_identities.get(key) for key in others}
    for values in (record.inside, record.end):
        for key, value in arrays_of(values).items():
            if value.shape == shape and not np.isfinite(value).all() and record.identities.get(key) not in excluded:
                yield key
