"""The roles of a loop that trains and computes no loss: parameters and gradients alone."""

from __future__ import annotations

from collections.abc import Sequence

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.batch_data import find_batch_data
from rnncallbacks.doctor.roles.gradient_sources import candidates_of, followed_candidate
from rnncallbacks.doctor.roles.interventions import Push, moves_arrays
from rnncallbacks.doctor.roles.role_table import ParameterRole, Roles, key_text
from rnncallbacks.doctor.roles.update_rate import learning_rate_of
from rnncallbacks.doctor.watched_script import FrozenIteration

FEWEST_PARAMETERS = 2
"""Fewest arrays with a gradient by which a loop is known to train. Chosen by eye."""


def roles_without_loss(
    keepers: Sequence[Push],
    records: list[IterationRecord],
    frozen: FrozenIteration,
    loop_pair: tuple[str, ...],
) -> Roles | None:
    """The parameters and their gradients, if no number depends on them; None if the loop does not train.

    Each parameter keeps a push, changes along an array, and the gradients change with it. Sums over time steps keep a
    push and change along an array as well, but nothing else depends on them.
    """
    names = {push.key for push in keepers}
    found = {push.key: candidates_of(push.key, names, records) for push in keepers}
    gradients = frozenset(one[0].key for one in found.values() if one)
    parameters = [
        ParameterRole(key_text(push.key), push.key, followed_candidate(push.key, found[push.key], push.record).key)
        for push in keepers
        if found[push.key] and not push.derivatives and moves_arrays(push, frozen, gradients)
    ]
    if len(parameters) < FEWEST_PARAMETERS:
        return None
    rate, plain = learning_rate_of(parameters, records)
    fixed = {one.key for one in parameters} | {one.gradient for one in parameters if one.gradient}
    data = find_batch_data(records, fixed, None, loop_pair=loop_pair)
    return Roles(
        loss=None,
        loss_confidence="unsure",
        parameters=tuple(parameters),
        optimizer_state=tuple(push.key for push in keepers if push.key not in fixed),
        learning_rate=rate,
        plain=plain,
        inputs=data.inputs,
        targets=data.targets,
        exact=True,
    )
