"""Inputs, targets and hidden states of an iteration: by the shift between them, and by the state that enters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, same_bits
from rnncallbacks.doctor.roles.data_pair import find_data_pair, plain_array, variable_of, whole_numbers_of
from rnncallbacks.doctor.value_walk import Key

STATE_NAMES = re.compile(r"^(self\.)?_?h", re.I)


@attrs.frozen(eq=False)
class DataRoles:
    """The keys of a batch's inputs, targets and hidden states, None where nothing was found."""

    inputs: Key | None = None
    targets: Key | None = None
    hidden: Key | None = None


def _candidates(record: IterationRecord, fixed: set[Key]) -> Iterator[tuple[Key, Any]]:
    for values in (record.end, record.inside):
        for key, value in values.items():
            array = plain_array(value)
            if array is not None and key not in fixed and key[0] not in ("raw", "operand") and array.size > 1:
                yield key, array


def find_batch_data(
    records: list[IterationRecord], fixed: set[Key], width: int | None, computed: frozenset[Key] = frozenset(),
    loop_pair: tuple[str, ...] = (), pair: tuple[Key, Key] | None = None,
) -> DataRoles:  # fmt: skip
    """The data of a batch.

    ``fixed`` are parameters, gradients and optimizer arrays; ``width`` is the state's size; ``computed`` are values
    that change with the parameters; ``loop_pair`` the two variables of the loop, if it has two; ``pair`` are inputs and
    targets that are known already.
    """
    found = pair or find_data_pair(records, fixed | computed, loop_pair)
    inputs, targets = (variable_of(key, records, fixed | computed) for key in found)
    steps = None
    if inputs is not None:
        given = next(array for record in records[::-1] if (array := plain_array(record.get(inputs))) is not None)
        tokens = whole_numbers_of(given)
        steps = set(given.shape if tokens is None else tokens.shape)
    return DataRoles(inputs, targets, _find_hidden(records, fixed, width, steps, computed))


def in_function_of_loss(key: Key | None, loss_names: Sequence[Key], records: Sequence[IterationRecord]) -> Key | None:
    """The variable of the same name in the function of the loss, if it has another value there in every iteration.

    The loop may pass other targets to the function than those that its own variable has.
    """
    if key is None or key[0] != "end":
        return key
    for scope in dict.fromkeys(scope for kind, scope, _ in loss_names if kind in ("return", "local")):
        other = ("local", scope, key[2])
        pairs = [(plain_array(record.get(key)), plain_array(record.get(other))) for record in records]
        known = all(one is not None and two is not None and one.shape == two.shape for one, two in pairs)
        if known and not any(same_bits(one, two) for one, two in pairs):
            return other
    return key


def _find_hidden(
    records: list[IterationRecord], fixed: set[Key], width: int | None, steps: set[int] | None,
    computed: frozenset[Key],
) -> Key | None:  # fmt: skip
    """A sequence of states that begins with zeros or with the last state of the iteration before."""
    record, before = records[-1], records[-2]
    found = []
    for key, array in _candidates(record, fixed):
        earlier = plain_array(before.get(key))
        if array.dtype.kind != "f" or array.ndim < 2 or len(array) < 3 or earlier is None or len(earlier) < 3:
            continue
        if computed and key not in computed:
            continue
        if same_bits(array, earlier) or (width is not None and width not in array.shape[1:]):
            continue
        if array.min() == 0 and array.max() == 1 and whole_numbers_of(array) is not None:
            continue  # one-hot vectors and bits
        if steps is not None and len(array) - 1 not in steps:
            continue
        if not _enters(array[0], earlier, record) or not array[1:].any():
            continue
        found.append((not STATE_NAMES.match(key[2]), float(np.abs(array).max()) > 1.0, key))
    return min(found)[-1] if found else None


def _enters(first: Any, earlier: Any, record: IterationRecord) -> bool:
    """Whether a first state is zero as that of the iteration before, the last one of it, or an array from before."""
    if not first.any() and not earlier[0].any():
        return True
    if first.shape == earlier[-1].shape and np.array_equal(first, earlier[-1]):
        return True
    arrays = (one for one in record.start.values() if isinstance(one, np.ndarray) and one.dtype.kind == "f")
    return any(one.any() and np.array_equal(one, first) for one in arrays)
