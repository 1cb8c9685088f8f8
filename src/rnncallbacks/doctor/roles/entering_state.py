"""The state that enters an iteration without a sequence of states."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, arrays_of, same_bits
from rnncallbacks.doctor.roles.batch_data import STATE_NAMES
from rnncallbacks.doctor.value_walk import Key

OF_A_GRADIENT = re.compile(r"^(self\.)?_?(d|g|grad|delta|back|nabla)|grad|next", re.IGNORECASE)
"""Names of values that a backward pass carries from step to step, which also begin with zeros."""


def find_entering(records: Sequence[IterationRecord], carried: Sequence[Key]) -> Key | None:
    """The key of the entering state.

    It is a state that is carried from one iteration to the next, not a sequence of states that contains it. If
    there is none, it is an argument of a function that
    is called at each time step: zeros in the first call of each iteration, and what the first call computed in the
    second.
    """
    if carried:
        end = records[-1].end
        bounded = [key for key in carried if np.max(np.abs(end.get(key, np.inf))) <= 1.0]
        bounded = [key for key in bounded if not any(is_step_of(end[other], end[key]) for other in bounded)]
        return min(bounded, key=lambda key: (not STATE_NAMES.match(key[2]), len(key[2])), default=None)
    found = [key for key in records[0].inside if all(_enters_first_call(key, record) for record in records)]
    return min(found, key=lambda key: records[0].order.get(key, 0), default=None)


def is_step_of(state: Any, states: Any) -> bool:
    """Whether an array is one of the arrays along the first axis of another.

    >>> is_step_of(np.ones(2), np.array([[0.0, 0.0], [1.0, 1.0]])), is_step_of(np.ones(2), np.ones(2))
    (True, False)
    """
    if np.ndim(states) != np.ndim(state) + 1 or np.shape(states)[1:] != np.shape(state):
        return False
    return bool((states == state).reshape(len(states), -1).all(axis=1).any())


def _enters_first_call(key: Key, record: IterationRecord) -> bool:
    kind, scope, name = key
    value, later = record.inside.get(key), record.inside.get((kind, f"{scope}#2", name))
    if kind != "local" or "#" in scope or OF_A_GRADIENT.search(name):
        return False
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.size < 2 or value.any():
        return False
    if not isinstance(later, np.ndarray) or later.shape != value.shape or not later.any():
        return False
    first_call = (one for other, one in arrays_of(record.inside).items() if other[1] == scope and other[2] != name)
    return any(same_bits(one, later) for one in first_call)
