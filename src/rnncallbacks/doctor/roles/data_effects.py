"""Inputs and targets by their effects: rolled inputs change the states and the loss, rolled targets only the loss."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, same_bits
from rnncallbacks.doctor.roles.constant_data import are_rows, constant_sources, depends_on_all_rows, shares_memory
from rnncallbacks.doctor.roles.data_names import LOOP_ITEM, is_input_name, is_target_name, is_weight_name
from rnncallbacks.doctor.roles.data_pair import (
    VaryingValue,
    numbers_named_as_targets,
    plain_array,
    shifted_pair,
    tokens_of_mask,
    varying_values,
    whole_numbers_of,
)
from rnncallbacks.doctor.roles.entering_state import is_step_of
from rnncallbacks.doctor.value_walk import Key, Steps
from rnncallbacks.doctor.watch_messages import ReplayRequest
from rnncallbacks.doctor.watched_script import FrozenIteration, ReplayError


@attrs.frozen(kw_only=True)
class DataEffectThresholds:
    """Limits of the search for data by their effects. Chosen by eye."""

    batches: int = 16
    """Largest number of values of a batch that are rolled."""
    common: float = 0.9
    """Smallest share of the values that targets change, and inputs change as well."""
    common_of_bits: float = 0.75
    """The same of targets that are zeros and ones: a step has equal bits after a roll by chance."""
    forward: float = 0.2
    """Largest share of the values that targets change, of those that the inputs change and the value with the fewest
    effects does not: states and predictions."""


DATA_EFFECT = DataEffectThresholds()


@attrs.frozen(eq=False)
class DataEffect:
    """A value of a batch and what it changes.

    Attributes
    ----------
    keys:
        Its names.
    value:
        The value.
    changed:
        The values that are computed with the parameters and differ after it was rolled.
    data:
        The values of the batch that differ with it.
    """

    keys: tuple[Key, ...]
    value: VaryingValue
    changed: frozenset[Key]
    data: frozenset[Key]

    @property
    def key(self) -> Key:
        """The best name: one of the loop, then the name of data, then a short one."""
        return min(
            self.keys,
            key=lambda key: (
                key[0] != "end" or "[" in key[2],
                key[0] == "return",
                not (is_input_name(key[2]) or is_target_name(key[2])),
                len(key[2]),
            ),
        )


def find_pair_by_effect(
    records: Sequence[IterationRecord],
    frozen: FrozenIteration,
    fixed: set[Key],
    no_data: frozenset[Key],
    computed: frozenset[Key],
    losses: frozenset[Key],
    until: float,
) -> tuple[Key, Key] | None:
    """Inputs and targets of the last iteration; None if their effects do not tell them apart.

    A function without a loop shows its arguments too late for its own result to change.

    Parameters
    ----------
    records:
        The first iterations.
    frozen:
        A frozen copy of the last one.
    fixed:
        Parameters and arrays of the optimizer.
    no_data:
        States, and the values that change with the parameters.
    computed:
        The latter alone.
    losses:
        The names of the loss.
    until:
        The time, as of ``time.monotonic``, after which nothing is rolled.
    """
    record = records[-1]
    varying = [one for one in varying_values(records, fixed | no_data) if one.latest.any() or one.latest.ndim == 0]
    groups = groups_of(varying, record)
    in_time = itertools.takewhile(lambda _: time.monotonic() <= until, groups)
    rolled = [one for group in in_time if (one := effect_of(group, record, frozen, computed))]
    if time.monotonic() > until:
        return None  # the inputs may be among the values that were not rolled
    pair = pair_of_effects(effects := [one for one in rolled if one.changed & losses])
    if pair is None:
        functions = {("local", scope) for kind, scope, _ in losses if kind in ("return", "local")}
        effects = [one for one in rolled if one in effects or {key[:2] for key in one.keys} & functions]
        pair = pair_of_effects(effects)
    shifted = shifted_pair(varying)
    if shifted is not None and shares_memory(*shifted, record):
        views = {record.identities.get(key) for key in shifted}
        if pair is None or views & {record.identities.get(key) for key in pair}:
            return shifted  # one is not rolled without the other
    if pair is not None:
        inputs, targets = tokens_of_mask(pair, varying), next(one for one in effects if one.key == pair[1])
        return inputs, taken_by_index(targets, inputs, record)
    known = {key for one in effects for key in (*one.keys, *one.data)}
    rest = [group for group in groups if not known & {one.key for one in group}]
    sources = _sources_of_loss(records, frozen, fixed, losses, until)
    if rest:
        effects += _effects_of_sources(rest, sources, computed)
        pair = pair_of_effects(effects)
    if pair is not None or (effects and not set.intersection(*({key[2] for key in one.keys} for one in effects))):
        return None if pair is None else (tokens_of_mask(pair, varying), pair[1])
    likeliest = sorted(effects, key=lambda one: len(one.changed))[-1:]
    label = _with_label(likeliest[0], records, fixed | no_data) if likeliest else None
    if label is not None or (likeliest and rest):
        return label
    same = _effects_in_each_iteration(sources, record, frozen, computed, losses, until)
    batch = {key for one in likeliest for key in one.keys}
    return pair_of_effects([*likeliest, *(one for one in same if not one.data & batch)])


def taken_by_index(targets: DataEffect, inputs: Key, record: IterationRecord) -> Key:
    """The targets that a script takes from its data set with an index, or a number of rows after it.

    Without such targets, the name of the value itself.

    A function that gets ``y[rows]`` and has no loop shows its targets too late for them to be rolled.
    """
    rows = targets.value.tokens[0] if targets.value.tokens is not None else None
    if rows is None or rows.ndim != 1 or rows.min() < 0:
        return targets.key
    sets = [array for value in record.start.values() if (array := plain_array(value)) is not None]
    sets = [array for array in sets if array.ndim and len(array) > rows.max() and len(array) > len(rows)]
    data = {key: array for key in targets.data if (array := plain_array(record.get(key))) is not None}
    used = plain_array(record.get(inputs))
    taken = [
        key
        for key, array in data.items()
        if not (same_bits(array, used) or same_bits(array, targets.value.latest))
        and any(are_rows(array, one, rows) for one in sets)
    ]
    return min(taken, key=lambda key: (key[0] == "return", not is_target_name(key[2]), key), default=targets.key)


def groups_of(varying: Iterable[VaryingValue], record: IterationRecord) -> list[list[VaryingValue]]:
    """The values of the last iteration, those with several names in one group; items of a list are none."""
    found: dict[int, list[VaryingValue]] = {}
    ordered = list(varying)
    names = {one.key for one in ordered}
    for one in ordered:
        kind, scope, text = one.key
        if "#" in scope or (kind, scope, re.sub(r"\[[^\[\]]*\]$", "", text)) in names - {one.key}:
            continue
        identity = record.identities.get(one.key)
        if identity is not None and record.get(one.key) is not None:
            found.setdefault(identity, []).append(one)
    # A function may return inputs and targets of one shape.
    sequences = [one.latest for one in ordered if isinstance(record.get(one.key), Steps) and one.key[0] != "return"]
    whole = [group for group in found.values() if not any(is_step_of(group[0].latest, other) for other in sequences)]
    return whole[: DATA_EFFECT.batches]


def effect_of(
    group: list[VaryingValue], record: IterationRecord, frozen: FrozenIteration, computed: frozenset[Key]
) -> DataEffect | None:
    """What a value with several names changes; None if nothing."""
    keys = tuple(one.key for one in group)
    changed = _changed_by_roll({key: record.get(key) for key in keys}, record, frozen)
    return DataEffect(keys, group[0], changed & computed, changed - computed) if changed else None


def _changed_by_roll(rolled: dict[Key, Any], record: IterationRecord, frozen: FrozenIteration) -> frozenset[Key]:
    try:
        other = frozen.replay(ReplayRequest(numbers_only=False, rolled=rolled))
    except ReplayError:
        return frozenset()
    values = record.end | record.inside
    return frozenset(key for key, value in values.items() if not same_bits(value, other.get(key)))


def _sources_of_loss(
    records: Sequence[IterationRecord], frozen: FrozenIteration, fixed: set[Key], losses: frozenset[Key], until: float
) -> dict[Key, frozenset[Key]]:
    """The constant values that change the loss when they are rolled, and all that changes with each."""
    record, found = records[-1], {}
    for key in constant_sources(records, fixed):
        if time.monotonic() > until:
            break
        changed = _changed_by_roll({key: record.start[key]}, record, frozen)
        if changed & losses:
            found[key] = changed
    return found


def _effects_of_sources(
    groups: list[list[VaryingValue]], sources: dict[Key, frozenset[Key]], computed: frozenset[Key]
) -> list[DataEffect]:
    """The effects of values of a batch that are taken from constant ones, of those the smallest."""
    found: dict[tuple[Key, ...], DataEffect] = {}
    for changed in sources.values():
        for group in groups:
            keys = tuple(one.key for one in group)
            before = found.get(keys)
            if changed & set(keys) and (before is None or len(changed & computed) < len(before.changed)):
                found[keys] = DataEffect(keys, group[0], changed & computed, changed - computed)
    return list(found.values())


def _effects_in_each_iteration(
    sources: dict[Key, frozenset[Key]], record: IterationRecord, frozen: FrozenIteration, computed: frozenset[Key],
    losses: frozenset[Key], until: float,
) -> list[DataEffect]:  # fmt: skip
    """The effects of data that is the same in each iteration, all rows of which the loss depends on."""
    effects: list[DataEffect] = []
    for key, changed in sources.items():
        if time.monotonic() > until:
            return []
        array = plain_array(record.start[key])
        if depends_on_all_rows(key, array, record, frozen, losses):
            identity = record.start_identities[key]
            names = tuple(name for name, other in record.start_identities.items() if other == identity)
            tokens = whole_numbers_of(array)
            value = VaryingValue(key, (array,), None if tokens is None else (tokens,))
            effects.append(DataEffect(names, value, changed & computed, changed - computed))
    return effects


def pair_of_effects(effects: Sequence[DataEffect]) -> tuple[Key, Key] | None:
    """The value that changes the most, and the one that changes a part of that: the states do not depend on targets.

    A value from which both are made does not count.
    """
    derived = [one for one in effects if not _is_source_of_both(one, effects)]
    if len(derived) < 2:
        return None
    most = max(len(one.changed) for one in derived)
    likeliest = [one for one in derived if len(one.changed) == most]
    inputs = _only(
        likeliest[:1] if _are_terms(likeliest) else likeliest,
        lambda one: (is_input_name(one.key[2]), not is_target_name(one.key[2]), not is_weight_name(one.key[2])),
    )
    if inputs is None:
        return None
    least = min((one.changed for one in derived), key=len)
    forward = inputs.changed - least
    rest = [one for one in derived if len(one.changed) < most]
    targets = _only(
        [one for one in rest if len(one.changed & forward) <= DATA_EFFECT.forward * len(forward)],
        lambda one: (is_target_name(one.key[2]), not is_weight_name(one.key[2]), one.value.tokens is not None),
    )
    if targets is None:
        return None
    bits = targets.value.tokens is not None and targets.value.tokens[0].max() <= 1
    least_common = DATA_EFFECT.common_of_bits if bits else DATA_EFFECT.common
    if len(targets.changed & inputs.changed) < least_common * len(targets.changed):
        return None
    if targets.data & set(inputs.keys) or inputs.data & set(targets.keys):
        return None  # one is a part of the other
    return inputs.key, targets.key


def _are_terms(effects: Sequence[DataEffect]) -> bool:
    """Whether values are parts of the inputs, each of which changes the same: the bits of numbers to be added.

    So are items of one array. Steps that have equal bits by chance do not count.
    """
    if len({LOOP_ITEM.sub("", one.key[2]) for one in effects}) == 1:
        return True
    shapes = {None if one.value.tokens is None else np.shape(one.value.latest) for one in effects}
    first = effects[0].changed
    same = all(len(one.changed & first) >= DATA_EFFECT.common * len(first) for one in effects)
    return same and len(shapes) == 1 and None not in shapes and not any(is_target_name(one.key[2]) for one in effects)


def _is_source_of_both(one: DataEffect, effects: Iterable[DataEffect]) -> bool:
    """Whether a value changes two others, or more."""
    return sum(other is not one and bool(one.data & set(other.keys)) for other in effects) >= 2


def _only(effects: list[DataEffect], preference: Callable[[DataEffect], Any]) -> DataEffect | None:
    """The candidate with the highest preference; None if candidates with different values share it."""
    ordered = sorted(effects, key=preference, reverse=True)
    if not ordered:
        return None
    best = [one for one in ordered if preference(one) == preference(ordered[0])]
    return best[0] if all(np.array_equal(_tokens(one), _tokens(best[0])) for one in best) else None


def _tokens(one: DataEffect) -> Any:
    return one.value.latest if one.value.tokens is None else one.value.tokens[0]


def _with_label(
    inputs: DataEffect, records: Sequence[IterationRecord], excluded: set[Key] | frozenset[Key]
) -> tuple[Key, Key] | None:
    """The inputs that alone change the loss, with the number that is named as their target."""
    labels = [key for key in numbers_named_as_targets(records, set(excluded)) if "#" not in key[1]]
    if is_target_name(inputs.key[2]) or not labels:
        return None
    return inputs.key, min(labels, key=lambda key: (key[0] != "end", len(key[2])))
