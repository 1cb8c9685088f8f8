"""Inputs and targets of an iteration: by the shift between them, and by their names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, same_bits
from rnncallbacks.doctor.roles.data_names import (
    LOOP_ITEM,
    is_fixed_item,
    is_input_name,
    is_label_name,
    is_target_name,
    name_words,
)
from rnncallbacks.doctor.value_walk import Key, Steps


@attrs.frozen(kw_only=True)
class DataPairThresholds:
    """Limits of the search for inputs and targets. Chosen by eye."""

    values: int = 400
    """Largest number of values that are examined."""
    whole_entries: int = 2
    """Entries that an array of tokens has more of: shorter ones are shifted by chance."""
    float_entries: int = 4
    """The same for arrays of other numbers."""


DATA_PAIR = DataPairThresholds()


@attrs.frozen(eq=False)
class VaryingValue:
    """A value that differs between iterations; ``values`` are those of the iterations that have it, the latest first.

    ``tokens`` are their whole numbers, None for others.
    """

    key: Key
    values: tuple[Any, ...]
    tokens: tuple[Any, ...] | None

    @property
    def latest(self) -> Any:
        """The value in the last iteration that has it."""
        return self.values[0]


def find_data_pair(
    records: Sequence[IterationRecord], fixed: set[Key], loop_pair: tuple[str, ...] = ()
) -> tuple[Key | None, Key | None]:
    """Inputs and targets of the iterations; None where nothing was found.

    ``fixed`` are the keys that are no data. ``loop_pair`` are the two variables of a loop such as ``for x, y in data``.
    """
    varying = varying_values(records, fixed)
    shifted = shifted_pair(varying)
    if shifted is not None:
        return shifted
    labels = numbers_named_as_targets(records, fixed)
    for scope in dict.fromkeys(one.key[:2] for one in varying):
        inside = [one for one in varying if one.key[:2] == scope]
        pair = _named_pair(inside, [key for key in labels if key[:2] == scope]) or _remaining_pair(inside)
        if pair is not None:
            return pair
    return _pair_of_loop(records[-1], fixed, loop_pair) or (None, None)


def _pair_of_loop(record: IterationRecord, fixed: set[Key], names: tuple[str, ...]) -> tuple[Key, Key] | None:
    """The two variables of the loop, if the first is an array or a list and the second a value of the same data."""
    found = [key for name in names for key in record.start if key[2] == name and key not in fixed]
    if len(found) != 2 or (array := plain_array(record.start[found[0]])) is None or array.size < 2:
        return None
    swapped = is_target_name(names[0]) or is_input_name(names[1])
    return None if swapped else (found[0], found[1])


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


def varying_values(records: Sequence[IterationRecord], fixed: set[Key]) -> list[VaryingValue]:
    """The arrays that differ between iterations, those of the loop first."""
    found: list[VaryingValue] = []
    for kind in ("end", "inside"):
        for key in dict.fromkeys(key for record in records[::-1] for key in getattr(record, kind)):
            if key in fixed or key[0] in ("raw", "operand") or len(found) >= DATA_PAIR.values:
                continue
            values = [array for record in records[::-1] if (array := plain_array(record.get(key))) is not None]
            values = [array for array in values if array.size > 1]
            if kind == "end" and not values and LOOP_ITEM.search(key[2]):  # numbers: labels of sequences
                values = [np.array(one) for record in records[::-1] if (one := record.get(key)) is not None]
            if len(values) < 2 or all(same_bits(one, other) for one, other in itertools.pairwise(values)):
                continue
            tokens = [whole_numbers_of(array) for array in values]
            whole = None if any(one is None for one in tokens) else tuple(tokens)
            if whole is None and not values[0].any():
                continue
            found.append(VaryingValue(key, tuple(values), whole))
    return found


def shifted_pair(varying: list[VaryingValue]) -> tuple[Key, Key] | None:
    """Two arrays, one of which is the other shifted by one step in every iteration."""
    sequences: dict[bytes, list[VaryingValue]] = {}
    for one in varying:
        # Items of a trace may have an input and zeros; a second call may be that of a decoder, fed its targets.
        if (one.tokens is None and is_fixed_item(one.key[2])) or "#" in one.key[1]:
            continue
        least = DATA_PAIR.float_entries if one.tokens is None else DATA_PAIR.whole_entries
        if all(array.size > least for array in (one.tokens or one.values)) and not _is_one_step(one):
            sequences.setdefault(_shown(one)[0].tobytes(), []).append(one)
    pairs = []
    for first, second in itertools.permutations(sequences.values(), 2):
        if not _are_next(_shown(first[0]), _shown(second[0])):
            continue
        for one, other in itertools.product(first, second):
            names = is_input_name(one.key[2]) + is_target_name(other.key[2])
            swapped = is_target_name(one.key[2]) + is_input_name(other.key[2])
            inputs, targets = (other.key, one.key) if swapped > names else (one.key, other.key)
            far = one.key[1] != other.key[1]
            pairs.append((-max(names, swapped), far, one.key[0] != "end", inputs, targets))
    if not pairs:
        return None
    *_, inputs, targets = min(pairs)
    return inputs, targets


def variable_of(key: Key | None, records: Sequence[IterationRecord], fixed: set[Key]) -> Key | None:
    """The variable that has the values of an item which the loop reads; the item if there is none."""
    if key is None or not LOOP_ITEM.search(key[2]):
        return key
    varying = varying_values(records, fixed)
    items = [one.values for one in varying if one.key == key and one.latest.size > 1]
    found = [one.key for one in varying for values in items if "[" not in one.key[2] and _are_equal(one.values, values)]
    return min(found, key=lambda one: (one[0] == "return", len(one[2])), default=key)


def tokens_of_mask(pair: tuple[Key, Key], varying: Sequence[VaryingValue]) -> Key:
    """The tokens of which the inputs of a pair are the mask, as in ``mask = ids > 0``; the inputs if they are none.

    A function that embeds its tokens first and then computes the mask shows the tokens too late for them to be rolled.
    """
    inputs, targets = pair
    masks = [one.tokens[0] for one in varying if one.key == inputs and one.tokens is not None]
    if not masks or masks[0].min() < 0 or masks[0].max() > 1:
        return inputs
    labels = [one.latest for one in varying if one.key == targets]
    found = [
        one.key
        for one in varying
        if one.tokens is not None
        and one.key[0] != "return"
        and not any(same_bits(one.latest, other) for other in labels)
        if _is_mask_of(masks[0], one.tokens[0])
    ]
    return min(found, key=lambda key: (not is_input_name(key[2]), key[0] != "end", len(key[2])), default=inputs)


def _is_mask_of(mask: Any, tokens: Any) -> bool:
    """Whether zeros and ones depend on the token alone, of more than two.

    >>> _is_mask_of(np.array([1, 1, 0]), np.array([5, 2, 0])), _is_mask_of(np.array([1, 0, 0]), np.array([5, 5, 0]))
    (True, False)
    """
    known = np.unique(tokens)
    several = mask.shape == tokens.shape and len(known) > 2
    return several and all(np.ptp(mask[tokens == one]) == 0 for one in known)


def _shown(one: VaryingValue) -> tuple[Any, ...]:
    return one.tokens or one.values


def _is_one_step(one: VaryingValue) -> bool:
    """Whether an array is the one-hot vector of one token: such vectors are shifted by chance."""
    return one.tokens is not None and all(token.size > 1 and np.count_nonzero(token) <= 1 for token in one.tokens)


def _are_next(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether the second arrays are the first ones, one step later, in each iteration."""
    both = list(zip(first, second, strict=False))
    return all(one.shape == other.shape and _is_next(one, other) for one, other in both)


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


def numbers_named_as_targets(records: Sequence[IterationRecord], fixed: set[Key]) -> list[Key]:
    """The whole numbers that are named as targets: the label of one sequence. They may be equal by chance."""
    found = []
    for kind in ("end", "inside"):
        for key, value in getattr(records[-1], kind).items():
            is_number = isinstance(value, int | float) or (isinstance(value, np.ndarray) and value.size == 1)
            if is_number and key not in fixed and key[0] not in ("raw", "operand") and is_label_name(key[2]):
                found.append(key)
    return found


def _named_pair(values: list[VaryingValue], labels: list[Key]) -> tuple[Key, Key] | None:
    """Inputs and targets by their names; of several names, the shortest, then the larger array: a step is a part of a
    sequence."""
    inputs = _best_named([one for one in values if is_input_name(one.key[2])])
    if inputs is None:
        return None
    targets = _best_named([one for one in values if is_target_name(one.key[2])])
    if targets is None:
        if next(one.latest.size for one in values if one.key == inputs) < max(one.latest.size for one in values):
            return None  # a label belongs to a whole sequence
        named = min(labels, key=lambda key: (len(name_words(key[2])), len(key[2])), default=None)
        return None if named is None else (inputs, named)
    wanted = next(one for one in values if one.key == targets)
    equal = [one for one in values if is_input_name(one.key[2]) and _are_equal(one.values, wanted.values)]
    return (equal[0].key if equal else inputs), targets


def _are_equal(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two values are equal in each iteration, as inputs that are taken for the targets."""
    return len(one) == len(other) and all(same_bits(a, b) for a, b in zip(one, other, strict=True))


def _best_named(values: list[VaryingValue]) -> Key | None:
    ordered = sorted(values, key=lambda one: (-one.latest.size, len(name_words(one.key[2]))))
    if not ordered:
        return None
    first, ties = ordered[0], [one for one in ordered[1:] if one.latest.size == ordered[0].latest.size]
    fewest = len(name_words(first.key[2]))
    clear = all(len(name_words(one.key[2])) > fewest or same_bits(one.latest, first.latest) for one in ties)
    return first.key if clear else None


def _is_index(one: VaryingValue) -> bool:
    """Whether a vector has another whole number in each entry, larger than its length: rows that a batch takes."""
    arrays = one.tokens or ()
    distinct = all(array.ndim == 1 and len(np.unique(array)) == array.size > 2 for array in arrays)
    return distinct and any(array.max() >= array.size for array in arrays)


def _remaining_pair(values: list[VaryingValue]) -> tuple[Key, Key] | None:
    """Inputs and targets, if a scope has two arrays and the name of one says which it is; items of lists have none."""
    # A one-hot array of the inputs is no target.
    arrays = {_shown(one)[0].tobytes(): one for one in reversed(values) if one.latest.size > 2}
    if len(arrays) != 2 or any(map(_is_index, arrays.values())):
        return None
    first, second = (one.key for one in arrays.values())
    if is_fixed_item(first[2]) or is_fixed_item(second[2]):
        return None
    for one, other in ((first, second), (second, first)):
        named_input, named_target = is_input_name(one[2]), is_target_name(other[2])
        if (named_input and not is_input_name(other[2])) or (named_target and not is_target_name(one[2])):
            return one, other
    return None
