"""Data that is the same in each iteration: a data set, from which batches are taken, or one sequence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, same_bits
from rnncallbacks.doctor.roles.data_names import is_input_name, is_target_name
from rnncallbacks.doctor.roles.data_pair import plain_array
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.doctor.watch_messages import ReplayRequest
from rnncallbacks.doctor.watched_script import FrozenIteration, ReplayError


@attrs.frozen(kw_only=True)
class ConstantDataThresholds:
    """Limits of the search for constant data. Chosen by eye."""

    sources: int = 6
    """Largest number of constant values that are rolled: a data set, from which batches are taken."""
    source_entries: int = 2_000_000
    """Largest constant array that is rolled, in entries."""
    replaced: int = 6
    """Rows of a constant array that are replaced, one after the other: an iteration that takes a batch from it depends
    on some of them."""


CONSTANT_DATA = ConstantDataThresholds()


def depends_on_all_rows(
    key: Key, array: Any, record: IterationRecord, frozen: FrozenIteration, losses: frozenset[Key]
) -> bool:
    """Whether the loss changes with each examined row of a constant array, if it is replaced by another row."""
    rows = np.unique(np.linspace(0, len(array) - 1, CONSTANT_DATA.replaced).astype(int))
    for row in rows:
        others = [other for other in array if not np.array_equal(other, array[row])]
        if not others:
            return False
        replaced = array.copy()
        replaced[row] = others[0]
        try:
            answer = frozen.replay(ReplayRequest({key: replaced}))
        except ReplayError:
            return False
        if all(same_bits(record.get(loss), answer.get(loss)) for loss in losses):
            return False
    return True


def constant_sources(records: Sequence[IterationRecord], fixed: set[Key]) -> list[Key]:
    """One key for each of the largest constant arrays and lists of numbers, those with a name of data first."""
    chosen: dict[int, tuple[bool, int, Key]] = {}
    start = records[-1].start
    for key, value in start.items():
        array = plain_array(value)
        if key in fixed or array is None or not 2 < array.size <= CONSTANT_DATA.source_entries:
            continue
        if (*key[:2], re.sub(r"\[[^\[\]]*\]$", "", key[2])) in start.keys() - {key}:
            continue  # the item of a list
        if all(same_bits(value, record.start.get(key)) for record in records):
            named = is_input_name(key[2]) or is_target_name(key[2])
            chosen.setdefault(records[-1].start_identities[key], (not named, -array.size, key))
    return [key for *_, key in sorted(chosen.values())[: CONSTANT_DATA.sources]]


def shares_memory(one: Key, other: Key, record: IterationRecord) -> bool:
    """Whether the addresses of two arrays overlap at the start of an iteration, as those of views of one array do.

    >>> record = IterationRecord(1, 1, memory={("end", "f", "x"): (0, 80), ("end", "f", "y"): (8, 88)})
    >>> shares_memory(("end", "f", "x"), ("end", "f", "y"), record)
    True
    """
    (low, high), (first, last) = (record.memory.get(key, (0, 0)) for key in (one, other))
    return max(low, first) < min(high, last)


def are_rows(batch: Any, data: Any, rows: Any) -> bool:
    """Whether a batch has the rows of a data set with these numbers, or those a constant number of rows later.

    >>> series = np.array([5.0, 7.0, 6.0, 8.0])
    >>> [are_rows(series[rows], series, np.array([0, 1])) for rows in ([0, 1], [2, 3], [2, 1])]
    [True, True, False]
    """
    if np.shape(batch) != (len(rows), *data.shape[1:]):
        return False
    first = np.flatnonzero((data == batch[0]).reshape(len(data), -1).all(1)) - rows[0]
    moved = (rows + shift for shift in first if rows.min() + shift >= 0 and rows.max() + shift < len(data))
    return any(same_bits(batch, data[one]) for one in moved)
