"""Inputs that a script keeps in several arrays of bits, such as those of two numbers to be added."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, same_bits
from rnncallbacks.doctor.roles.data_effects import DATA_EFFECT, effect_of, groups_of
from rnncallbacks.doctor.roles.data_pair import plain_array, varying_values
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.doctor.watched_script import FrozenIteration


def find_other_terms(
    pair: tuple[Key, Key] | None, records: Sequence[IterationRecord], frozen: FrozenIteration, excluded: set[Key],
    computed: frozenset[Key], until: float,
) -> tuple[Key, ...]:  # fmt: skip
    """The arrays of bits that change states and predictions, as the inputs do.

    Parameters
    ----------
    pair:
        Inputs and targets.
    records:
        The first iterations.
    frozen:
        A frozen copy of the last one.
    excluded:
        Keys that are no data.
    computed:
        Values that change with the parameters.
    until:
        The time, as of ``time.monotonic``, after which nothing is rolled.
    """
    record = records[-1]
    given = [plain_array(record.get(key)) for key in pair or ()]
    if not given or not is_bits(given[0]) or time.monotonic() > until:
        return ()
    similar = [
        one
        for one in varying_values(records, excluded)
        if one.key[0] == "end" and is_bits(one.latest) and one.latest.shape == given[0].shape
    ]
    rolled = [one for group in groups_of(similar, record) if (one := effect_of(group, record, frozen, computed))]
    inputs, targets = (next((one for one in rolled if key in one.keys), None) for key in pair or ())
    if inputs is None or targets is None:
        return ()
    forward = inputs.changed - targets.changed
    others = [
        one
        for one in rolled
        if len(one.changed & forward) > DATA_EFFECT.forward * len(forward)
        and not one.data & {*inputs.keys, *(pair or ())}
        and not inputs.data & set(one.keys)
        and not any(same_bits(one.value.latest, array) for array in given)
    ]
    return tuple({one.value.latest.tobytes(): one.key for one in reversed(others)}.values())


def is_bits(value: Any) -> bool:
    """Whether a value is an array of zeros and ones with at most two axes.

    >>> is_bits(np.array([0, 1, 1])), is_bits(np.array([0, 2])), is_bits([0, 1])
    (True, False, False)
    """
    return isinstance(value, np.ndarray) and value.ndim in (1, 2) and bool(np.isin(value, (0, 1)).all())


def joined_bits(terms: Sequence[Any]) -> Any:
    """Arrays of bits as one array of tokens, a number for each combination; the first array if others are no bits.

    Example
    -------
    >>> joined_bits([np.array([0, 1, 1]), np.array([0, 0, 1])])
    array([0, 1, 3])
    """
    arrays = [plain_array(one) for one in terms]
    if any(one is None or not is_bits(one) or one.shape != arrays[0].shape for one in arrays):
        return terms[0]
    return sum(one.astype(np.intp) << place for place, one in enumerate(arrays))
