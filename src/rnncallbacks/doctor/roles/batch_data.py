"""Inputs, targets and hidden states of an iteration: by the shift between them, and by the state that enters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, same_bits
from rnncallbacks.doctor.value_walk import Key, Steps

INPUT_ROLE_NAMES = re.compile(
    r"^(self\.)?(inputs?|x|xs|xb|bx|x_?batch|batch_?x|x_?train|x_?seq|tokens|toks|source|src|seq|window)$", re.I
)
TARGET_ROLE_NAMES = re.compile(
    r"^(self\.)?(targets?|y|ys|yb|by|y_?batch|batch_?y|y_?train|y_?seq|labels?|t|tgt|dst|want|wanted|expected|goal|y_?true|truth)$",
    re.I,
)
STATE_NAMES = re.compile(r"^(self\.)?_?h", re.I)


@attrs.frozen(eq=False)
class DataRoles:
    """The keys of a batch's inputs, targets and hidden states, None where nothing was found."""

    inputs: Key | None = None
    targets: Key | None = None
    hidden: Key | None = None


def plain_array(value: Any) -> Any:
    """A value as an array, with steps stacked; None for numbers and everything else."""
    if isinstance(value, Steps):
        return value.stacked
    return value if isinstance(value, np.ndarray) else None


def whole_numbers_of(array: Any) -> Any:
    """The whole numbers of an array, or the positions of the ones if it is one-hot; None for other arrays.

    Example
    -------
    >>> whole_numbers_of(np.eye(3)[[2, 0]]), whole_numbers_of(np.array([2.0, 0.0])), whole_numbers_of(np.array([0.5]))
    (array([2, 0]), array([2, 0]), None)
    """
    if array.size == 0 or array.size > 10**6 or not np.isfinite(array).all():
        return None
    if array.ndim > 1 and array.max() == 1 and array.min() == 0:
        for axis in range(array.ndim - 1, -1, -1):
            if (
                array.shape[axis] > 1
                and (array.sum(axis=axis) == 1).all()
                and (np.count_nonzero(array, axis) == 1).all()
            ):
                return np.squeeze(array.argmax(axis=axis))
    if (array == np.round(array)).all():
        return np.squeeze(array.astype(int))
    return None


def _candidates(record: IterationRecord, fixed: set[Key]) -> Iterator[tuple[Key, Any]]:
    for values in (record.end, record.inside):
        for key, value in values.items():
            array = plain_array(value)
            if array is not None and key not in fixed and key[0] != "raw" and array.size > 1:
                yield key, array


def find_batch_data(
    records: list[IterationRecord], fixed: set[Key], width: int | None, computed: frozenset[Key] = frozenset()
) -> DataRoles:
    """The data of a batch.

    ``fixed`` are parameters, gradients and optimizer arrays; ``width`` is the state's size; ``computed`` are values
    that change with the parameters.
    """
    inputs, targets = _find_tokens(records, fixed | computed)
    steps = None
    if inputs is not None:
        tokens = whole_numbers_of(plain_array(records[-1].get(inputs)))
        steps = set(tokens.shape) if tokens is not None else set(plain_array(records[-1].get(inputs)).shape)
    return DataRoles(inputs, targets, _find_hidden(records, fixed, width, steps))


def _find_tokens(records: list[IterationRecord], fixed: set[Key]) -> tuple[Key | None, Key | None]:
    record, before = records[-1], records[-2]
    varying = []
    for key, array in _candidates(record, fixed):
        earlier = plain_array(before.get(key))
        if earlier is not None and not same_bits(array, earlier):
            varying.append((key, array))
    found = [(key, whole_numbers_of(array)) for key, array in varying[:400]]
    tokens = [(key, one) for key, one in found if one is not None and one.size > 2]
    pairs = []
    for one, first in tokens:
        for other, second in tokens:
            if one != other and first.shape == second.shape and _is_next(first, second):
                names = bool(INPUT_ROLE_NAMES.match(one[2])) + bool(TARGET_ROLE_NAMES.match(other[2]))
                swapped = bool(TARGET_ROLE_NAMES.match(one[2])) + bool(INPUT_ROLE_NAMES.match(other[2]))
                inputs, targets = (other, one) if swapped > names else (one, other)
                pairs.append((-max(names, swapped), one[1] != other[1], one[0] != "end", inputs, targets))
    if pairs:
        *_, one, other = min(pairs)
        return one, other
    for scope in dict.fromkeys(key[:2] for key, _ in varying):
        inside = [(key, array) for key, array in varying if key[:2] == scope]
        pair = _named_pair(inside) or _remaining_pair(inside)
        if pair is not None:
            return pair
    return None, None


def _named_pair(values: list[tuple[Key, Any]]) -> tuple[Key, Key] | None:
    """Inputs and targets by their names; of several names, the larger array, as a step is a part of a sequence."""
    found = []
    for names in (INPUT_ROLE_NAMES, TARGET_ROLE_NAMES):
        named = sorted(((array.size, key) for key, array in values if names.match(key[2])), reverse=True)
        if not named or (len(named) > 1 and named[0][0] == named[1][0]):
            return None
        found.append(named[0][1])
    return found[0], found[1]


def _remaining_pair(values: list[tuple[Key, Any]]) -> tuple[Key, Key] | None:
    """Inputs and targets where a scope has two arrays, one of which is named as one of them."""
    arrays = {array.tobytes(): key for key, array in reversed(values) if array.size > 2}
    if len(arrays) != 2:
        return None
    first, second = arrays.values()
    for one, other in ((first, second), (second, first)):
        if INPUT_ROLE_NAMES.match(one[2]) or TARGET_ROLE_NAMES.match(other[2]):
            return one, other
    return None


def _is_next(first: Any, second: Any) -> bool:
    """Whether the second is the first, one step later along one of the axes."""
    if np.array_equal(first, second):
        return False
    for axis in range(first.ndim):
        if first.shape[axis] > 2:
            later, earlier = np.moveaxis(first, axis, 0)[1:], np.moveaxis(second, axis, 0)[:-1]
            if np.array_equal(later, earlier) and np.ptp(later) > 0:
                return True
    return False


def _find_hidden(
    records: list[IterationRecord], fixed: set[Key], width: int | None, steps: set[int] | None
) -> Key | None:
    """A sequence of states that begins with zeros or with the last state of the iteration before."""
    record, before = records[-1], records[-2]
    found = []
    for key, array in _candidates(record, fixed):
        earlier = plain_array(before.get(key))
        if array.dtype.kind != "f" or array.ndim < 2 or len(array) < 3 or earlier is None or len(earlier) < 3:
            continue
        if width is not None and width not in array.shape[1:]:
            continue
        if steps is not None and len(array) - 1 not in steps:
            continue
        begins_with_zeros = not array[0].any() and not earlier[0].any()
        continues = array[0].shape == earlier[-1].shape and np.array_equal(array[0], earlier[-1])
        entered = any(
            isinstance(value, np.ndarray)
            and value.dtype.kind == "f"
            and value.any()
            and np.array_equal(value, array[0])
            for value in record.start.values()
        )
        if not (begins_with_zeros or continues or entered) or not array[1:].any():
            continue
        found.append((not STATE_NAMES.match(key[2]), float(np.abs(array).max()) > 1.0, key))
    return min(found)[-1] if found else None
