"""States that keep a push as parameters do: those of cells whose forget gates are open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, arrays_of, same_bits
from rnncallbacks.doctor.roles.agreement import agreeing_count, agreeing_source
from rnncallbacks.doctor.roles.gradient_sources import GradientCandidate
from rnncallbacks.doctor.roles.interventions import Push, persists
from rnncallbacks.doctor.value_walk import Key, Steps

FEWEST_AGREEING = 3
"""Fewest arrays whose gradients agree with the loss, for one without not to be a parameter. Chosen by eye."""


def is_carried_on(
    push: Push,
    keepers: list[Push],
    sources: dict[Key, list[GradientCandidate]],
    loss: Key | None,
    records: list[IterationRecord],
) -> bool:
    """Whether an array that keeps a push is a state that is carried on.

    This one has no gradient that agrees with the loss. Either statements only add to the other arrays that move the
    loss, and another one assigns this array. Or the others have gradients that agree with the loss, all but one at
    most, and a sequence of the iteration has the values of this array before and after it.
    """
    if loss is None or loss not in push.derivatives or not persists(push.key, records):
        return False
    if agreeing_source(push, sources.get(push.key, []), loss) is not None:
        return False
    others = [one for one in keepers if one is not push and loss in one.derivatives]
    if not push.only_grows and len(others) >= FEWEST_AGREEING and all(one.only_grows for one in others):
        return True
    agreeing = agreeing_count(loss, others, sources)
    return agreeing >= max(FEWEST_AGREEING, len(others) - 1) and is_in_sequence(push.key, records[-1])


def without_containers(carried: list[Key], record: IterationRecord) -> list[Key]:
    """The carried arrays without those that contain another one: the states of all steps, whose last one is carried."""
    spans = {key: record.memory.get(key, (0, 0)) for key in carried}
    return [
        key
        for key, (low, high) in spans.items()
        if not any(low <= first < last <= high and last - first < high - low for first, last in spans.values())
    ]


def names_of_states(
    carried: Sequence[Key],
    record: IterationRecord,
    before: IterationRecord | None = None,
    computed: frozenset[Key] = frozenset(),
) -> frozenset[Key]:
    """The keys of the carried states, and those under which an iteration has their values from before it.

    Arrays that the iteration ``before`` has computed are states too, such as the last one of a sequence of them.
    """
    entering = [record.start[key] for key in carried if key in record.start]
    values = record.end | record.inside
    same = {key for key, value in values.items() if any(same_bits(value, state) for state in entering)}
    known = [before.get(key) for key in computed] if before is not None else []
    last = [one.stacked[-1] if isinstance(one, Steps) else one for one in known]
    left = {one.tobytes() for one in last if isinstance(one, np.ndarray) and one.size > 1 and one.any()}
    same |= {key for key, value in arrays_of(values).items() if value.tobytes() in left}
    return frozenset([*carried, *same])


def is_in_sequence(key: Key, record: IterationRecord) -> bool:
    """Whether one sequence of arrays has both the array's value before an iteration and the one after it.

    Example
    -------
    >>> key, states = ("end", "f", "c"), np.arange(6.0).reshape(3, 2)
    >>> record = IterationRecord(1, 1, start={key: states[0]}, end={key: states[2]})
    >>> record.inside["local", "f", "cs"] = Steps(states)
    >>> is_in_sequence(key, record)
    True
    """
    start, end = record.start.get(key), record.end.get(key)
    if not isinstance(start, np.ndarray) or not isinstance(end, np.ndarray):
        return False
    sequences = (value.stacked for value in (record.inside | record.end).values() if isinstance(value, Steps))
    return any(
        steps.shape[1:] == start.shape
        and all((steps == value).reshape(len(steps), -1).all(1).any() for value in (start, end))
        for steps in sequences
    )
