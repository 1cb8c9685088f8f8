"""Parameters that never change: constant arrays with a computed gradient."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, arrays_of, same_bits
from rnncallbacks.doctor.roles.data_names import is_input_name, is_target_name
from rnncallbacks.doctor.roles.gradient_sources import LATEST_MOMENT, GradientCandidate
from rnncallbacks.doctor.roles.interventions import Push, expression_length, push_arrays
from rnncallbacks.doctor.roles.loss_choice import LOSS_CHOICE, predicted_share
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.doctor.watched_script import FrozenIteration

ENTERING_NAMES = re.compile(r"^_?(h|c|s|prev_?[hcs]|[hcs]_?(prev|0|init|last)|hidden|cell|\w*states?)$", re.IGNORECASE)
"""Names of states that enter a batch."""
ITEM = re.compile(r"^(.+)(\[[^\[\]]+\])$")
"""An item: its container, and its key."""


@attrs.frozen(kw_only=True)
class FrozenSiblingThresholds:
    """Limits of the examined constant arrays. Chosen by eye."""

    entries: int = 200_000
    """Largest array that is perturbed, in entries."""
    arrays: int = 24
    """Largest number of perturbed constant arrays."""
    sources: int = 400
    """Largest number of arrays of one shape that are compared with differences of the loss. The states of all time
    steps have the shape of the recurrent weights if there are as many sequences as units."""


FROZEN_SIBLING = FrozenSiblingThresholds()


def find_frozen_siblings(
    records: list[IterationRecord],
    first: FrozenIteration,
    last: FrozenIteration,
    until: float,
    sources: Mapping[Key, Sequence[GradientCandidate]],
) -> list[tuple[Push, list[GradientCandidate]]]:
    """The constant arrays that have a gradient in the first and in the last iteration, and that are no data.

    ``sources`` are the parameters that change, with the candidates for their gradients. An item of a container of
    parameters is a parameter as well if the item of the gradients with its key is all zeros.

    Scripts compute gradients of their inputs too. Data moves the loss only in the iteration that reads it, and lies
    elsewhere than the parameters.
    """
    zeros = zero_gradients(records, sources)
    owners = {records[0].start_identities.get(key) for key in sources}
    names = [key for key, identity in records[0].start_identities.items() if identity in owners]
    constants = [key for key in constant_arrays(records) if _may_be_sibling(key, names) and key not in zeros]
    constants = constants[: FROZEN_SIBLING.arrays]
    pushes = push_arrays(list(zeros), records[0], first, until, {})
    found = [(push, [zeros[push.key]]) for push in pushes if push.derivatives]
    for push in push_arrays(constants, records[0], first, until, {}):
        gradients = gradients_of_constants(push, records[0], records[1])
        if gradients:
            again = push_arrays([push.key], records[-1], last, until, {})
            keys = {one.key for one in gradients}
            later = [one for push_ in again for one in gradients_of_constants(push_, records[-1], records[0])]
            if any(one.key in keys for one in later):
                found.append((push, gradients))
    return found


def zero_gradients(
    records: Sequence[IterationRecord], sources: Mapping[Key, Sequence[GradientCandidate]]
) -> dict[Key, GradientCandidate]:
    """The constant items of containers of parameters whose gradient is all zeros, each with that gradient.

    An item that is all zeros itself may be the state that enters.
    """
    found: dict[Key, GradientCandidate] = {}
    arrays = arrays_of(records[0].start)
    items = {key: item for key, array in arrays.items() if array.any() and (item := ITEM.search(key[2]))}
    for other, candidates in sources.items():
        own = ITEM.search(other[2])
        if own is None or not candidates or not candidates[0].key[2].endswith(own[2]):
            continue
        kind, scope, text = candidates[0].key
        for key, item in items.items():
            zero = (kind, scope, text.removesuffix(own[2]) + item[2])
            beside = key not in sources and key[:2] == other[:2] and item[1] == own[1]
            if beside and all(_is_constant_with_zeros(key, zero, record) for record in records):
                found[key] = attrs.evolve(candidates[0], key=zero)
    return found


def _is_constant_with_zeros(key: Key, gradient: Key, record: IterationRecord) -> bool:
    array, value = record.start.get(key), record.get(gradient)
    if not isinstance(array, np.ndarray) or not isinstance(value, np.ndarray) or array.size < 2:
        return False
    return array.shape == value.shape and not value.any() and same_bits(array, record.end.get(key))


def _may_be_sibling(key: Key, parameters: Sequence[Key]) -> bool:
    """Whether an array may be a parameter by its name: not named as data is, nor an item of a list without parameters.

    The parameters of another layer have the same attribute, or lie in an attribute of the same name. A state that
    enters each batch as it is, has a gradient too.

    Example
    -------
    >>> parameters = [("end", "__main__", "W[0]"), ("end", "__main__", "b")]
    >>> [_may_be_sibling(("end", "__main__", name), parameters) for name in ("W[1]", "U", "train[0]", "net.X")]
    [True, True, False, False]
    >>> parameters = [("end", "__main__", "high.w.value"), ("end", "__main__", "high.p['b']")]
    >>> names = ("low.u.value", "low.p['w']", "low.x", "high.h0")
    >>> [_may_be_sibling(("end", "__main__", name), parameters) for name in names]
    [True, True, False, False]
    """
    name = key[2].rpartition(".")[2]
    if ENTERING_NAMES.search(name):
        return False
    containers = {_container(one[2]) for one in parameters}
    if containers and (key[2].endswith("]") or "" not in containers):
        # A state that begins with zeros is no item among parameters.
        return _container(key[2]) in containers or _layer_part(key[2]) in {_layer_part(one[2]) for one in parameters}
    return not (is_input_name(name) or is_target_name(name))


def _layer_part(expression: str) -> str:
    """An expression without the layer: its last attribute, or the last attribute of its container of items.

    >>> [_layer_part(text) for text in ("low.u.value", "model.low.p['w']", "p['w']", "w")]
    ['.value', '.p[]', "p['w']", 'w']
    """
    found = re.search(r"(\.\w+)(\[[^\[\]]*\])?$", expression)
    return expression if found is None else found[1] + ("[]" if found[2] else "")


def _container(expression: str) -> str:
    """The container of an item, or the object of an attribute, without what distinguishes numbered ones.

    >>> [_container(text) for text in ("layers[0]['W']", "W['Uz']", "net.cells[1].W", "W")]
    ['layers[]', 'W', 'net.cells[]', '']
    """
    return re.sub(r"\[\d+\]", "[]", re.sub(r"(\[[^\[\]]*\]|\.?\w+)$", "", expression))


def constant_arrays(records: list[IterationRecord]) -> list[Key]:
    """One key for each array that stays as it is, if arrays of its shape vary from iteration to iteration.

    Zeros that an iteration makes again are a state that is reset.
    """
    varying = {value.shape for _, value in _varying(records[0], records[1])}
    chosen: dict[int, Key] = {}
    for key, value in arrays_of(records[0].start).items():
        if not 1 < value.size <= FROZEN_SIBLING.entries or value.shape not in varying:
            continue
        later = [one for record in records for one in (record.start.get(key), record.end.get(key))]
        if any(not same_bits(value, one) for one in later):
            continue
        if not value.any() and all(record.start_identities[key] != record.identities[key] for record in records):
            continue
        identity = records[0].start_identities[key]
        if identity not in chosen or expression_length(key) < expression_length(chosen[identity]):
            chosen[identity] = key
    return list(chosen.values())


def gradients_of_constants(
    push: Push, record: IterationRecord, other: IterationRecord
) -> list[GradientCandidate]:  # fmt: skip
    """The arrays that predict the effect of a push of a constant array on a number.

    They are not the same in the ``other`` iteration. The gradient of an array that the optimizer does not know may
    never be set to zero: the change that the iteration made is compared too.
    """
    limits, found = LOSS_CHOICE, []
    tolerance = limits.tolerance if push.step.dtype == np.float64 else limits.float32_tolerance
    same_shape = [(key, value) for key, value in _varying(record, other) if value.shape == push.step.shape]
    for key, value in same_shape[: FROZEN_SIBLING.sources]:
        before = record.start.get(key)
        added = [value - before] if isinstance(before, np.ndarray) and before.shape == value.shape else []
        for number in push.derivatives:
            shares = [predicted_share(push, number, one) for one in (value, *added)]
            share = min(shares, key=lambda one: abs(abs(one) - 1.0))
            if abs(abs(share) - 1.0) <= tolerance:
                sign = 1.0 if share > 0 else -1.0
                found.append(GradientCandidate(key, 1.0, sign, record.order.get(key, LATEST_MOMENT)))
                break
    return sorted(found, key=lambda one: one.moment)


def _varying(first: IterationRecord, second: IterationRecord) -> list[tuple[Key, Any]]:
    return [
        (key, value)
        for values in (first.inside, first.end)
        for key, value in values.items()
        if isinstance(value, np.ndarray)
        and value.dtype.kind == "f"
        and value.size > 1
        and (later := second.get(key)) is not None
        and not same_bits(value, later)
    ]
