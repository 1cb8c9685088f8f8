"""Roles without replays: from arrays that change together, and from names.

An array is a parameter if another array of its shape is antiparallel to its change, and the loss is the number that is
named so. Nothing is certain, so findings are warnings at most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, numbers_of
from rnncallbacks.doctor.loss_names import AVERAGE_NAMES, LOSS_NAMES
from rnncallbacks.doctor.roles.batch_data import find_batch_data
from rnncallbacks.doctor.roles.given_roles import GivenRoles, is_named
from rnncallbacks.doctor.roles.gradient_sources import GRADIENT_SOURCE, candidates_of
from rnncallbacks.doctor.roles.interventions import changing_arrays
from rnncallbacks.doctor.roles.loss_choice import accumulates
from rnncallbacks.doctor.roles.role_table import LossCandidate, ParameterRole, Roles, key_text
from rnncallbacks.doctor.value_walk import Key


def roles_without_replay(records: Sequence[IterationRecord], given: GivenRoles) -> Roles:
    """The roles of a loop's values; the loss is unsure unless exactly one number is named like one."""
    known = list(records)
    parameters = []
    changing = changing_arrays(known)
    for key in changing:
        if given.params and not is_named(key, given.params):
            continue
        sources = candidates_of(key, set(changing), known)
        found = [one for one in sources if one.sign > 0 and one.alignment > GRADIENT_SOURCE.parallel]
        if given.grads:
            found = [one for one in found if is_named(one.key, given.grads)]
        if found:
            parameters.append(ParameterRole(key_text(key), key, found[0].key))
    candidates = _named_numbers(known, given.loss)
    certain = len({one.name for one in candidates}) == 1 or (bool(given.loss) and bool(candidates))
    if not parameters:
        return Roles(loss=None, loss_confidence="unsure", loss_candidates=tuple(candidates[:4]))
    fixed = {one.key for one in parameters} | {one.gradient for one in parameters if one.gradient is not None}
    data = find_batch_data(known, fixed, None)
    return Roles(
        loss=candidates[0].key if candidates else None,
        loss_confidence="likely" if certain else "unsure",
        loss_candidates=tuple(candidates[:4]),
        parameters=tuple(parameters),
        inputs=data.inputs,
        targets=data.targets,
        hidden=data.hidden,
        batch_axis=given.batch_axis,
    )


def _named_numbers(records: list[IterationRecord], name: str) -> list[LossCandidate]:
    """The changing numbers of the loop with the name of a loss, or the given one; one key for each value."""
    numbers = [numbers_of(record.end) | numbers_of(record.inside) for record in records]
    found: dict[tuple[float, ...], Key] = {}
    for key in numbers[0]:
        if any(key not in one for one in numbers):
            continue
        if not (is_named(key, [name]) if name else LOSS_NAMES.search(key[2]) and not AVERAGE_NAMES.search(key[2])):
            continue
        values = tuple(one[key] for one in numbers)
        if np.ptp(values) > 0 and not accumulates(key, records):
            found.setdefault(values, key)
    return [LossCandidate(key, key_text(key), 1.0, ("by its name",)) for key in found.values()]
