"""The gradient of a parameter: the array of its shape that is antiparallel to its change."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.value_walk import Key

_NAME = re.compile(r"[\w.\[\]'\"]+(#\d+)?")

LATEST_MOMENT = 10**9
"""The moment of a value whose moment is unknown: after all others."""


@attrs.frozen(kw_only=True)
class GradientSourceThresholds:
    """Thresholds of an array that is parallel to a change. Chosen by eye."""

    alignment: float = 0.9
    """Cosine with the change, or share of entries that agree in sign, from which an array is a candidate."""
    tie: float = 0.02
    """Difference in alignment up to which two candidates are tied."""
    parallel: float = 0.999
    """Smallest alignment of a change with an array, if the change is along the array."""
    exactly_parallel: float = 1 - 1e-9
    """Smallest cosine between a change and an array, if the change is a multiple of the array."""


GRADIENT_SOURCE = GradientSourceThresholds()


@attrs.frozen(eq=False)
class GradientCandidate:
    """An array that is parallel or antiparallel to the change of a parameter.

    Attributes
    ----------
    key:
        The array.
    alignment:
        Its absolute cosine with the change, or the share of entries that agree in sign, whichever is larger.
    sign:
        1.0 if it is antiparallel to the change, as a gradient is, otherwise -1.0.
    moment:
        The time of its record, in events of the iteration.
    """

    key: Key
    alignment: float
    sign: float
    moment: int


def candidates_of(
    parameter: Key, keepers: set[Key], records: list[IterationRecord], unmoving: frozenset[Key] = frozenset(),
) -> list[GradientCandidate]:  # fmt: skip
    """The candidates for a parameter's gradient, the best aligned first, and of these the earliest.

    The first iteration decides, because momentum affects later ones. Parameters and arrays of the optimizer are not
    candidates, but gradients that are never set to zero are: keepers that move no number, the ``unmoving``, to which
    the iteration only adds, or which it clips after that. An operand of a statement is one if the statement changes a
    parameter or an array of the optimizer. A parameter that does not change at first is examined in the first iteration
    in which it does.
    """
    record = next((one for one in records if parameter in one.start and _change(parameter, one).any()), None)
    if record is None:
        return []
    change, ends = _change(parameter, record), (record.start[parameter], record.end[parameter])
    own = {record.identities.get(key) for key in keepers} | {record.start_identities.get(key) for key in keepers}
    grown = {record.identities.get(key) for key in unmoving if key != parameter}
    excluded = own - {one for one in grown if one is not None and record.only_grows(one, clipped=True)}
    found = []
    aligned_with = ArrayChange(change)
    for values in (record.inside, record.end):
        for key, value in values.items():
            if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.shape != change.shape:
                continue
            if record.identities.get(key) in excluded:
                continue
            if key[0] == "operand" and own and record.bases.get(key) not in own:
                continue
            aligned, sign = aligned_with.alignment(value)
            if aligned >= GRADIENT_SOURCE.alignment and not any(np.array_equal(value, one) for one in ends):
                found.append(GradientCandidate(key, aligned, sign, record.order.get(key, LATEST_MOMENT)))
    best = max((one.alignment for one in found), default=0.0)
    later = next((one for one in records if one.number > record.number), None)
    tied = [one for one in found if one.alignment >= best - GRADIENT_SOURCE.tie]
    return _earliest_first(_without_copies(tied, record, later, excluded), record)


def _change(parameter: Key, record: IterationRecord) -> Any:
    return np.asarray(record.end[parameter], dtype=float) - record.start[parameter]


def _earliest_first(found: list[GradientCandidate], record: IterationRecord) -> list[GradientCandidate]:
    """The candidates in the order of their moments, those with a value that was changed in place before the others.

    A velocity has the value of its gradient at first: of arrays with one value, the earliest is the gradient.
    """
    earliest: dict[bytes, int | None] = {}
    for one in sorted(found, key=lambda one: (one.moment, len(one.key[2]))):
        earliest.setdefault(record.get(one.key).tobytes(), record.identities.get(one.key))

    def place(one: GradientCandidate) -> tuple[bool, bool, int, int]:
        is_copy = record.identities.get(one.key) != earliest[record.get(one.key).tobytes()]
        return is_copy, one.key[0] != "raw", one.moment, len(one.key[2])

    return sorted(found, key=place)


def parallel_source(parameter: Key, candidates: list[GradientCandidate], record: IterationRecord) -> Key | None:
    """The array along which a parameter changes: the likeliest gradient, after it was clipped in place."""
    if not candidates:
        return None
    change, identity = record.end[parameter] - record.start[parameter], record.identities.get(candidates[0].key)
    for one in candidates:
        value = record.get(one.key)
        norms = 0.0 if value is None else float(np.linalg.norm(change) * np.linalg.norm(value))
        same = identity is not None and record.identities.get(one.key) == identity
        if norms and same and abs(float(np.vdot(change, value))) > GRADIENT_SOURCE.parallel * norms:
            return one.key
    return candidates[0].key if candidates[0].alignment > GRADIENT_SOURCE.parallel else None


def followed_candidate(
    parameter: Key, candidates: Sequence[GradientCandidate], record: IterationRecord,
) -> GradientCandidate:  # fmt: skip
    """The first candidate that a parameter's change is a multiple of, or the one that was clipped to it.

    If the change is a multiple of none, the first one that the update reads, else the first of all: the part of one
    time step may be almost parallel to it. A quotient or another expression without a name, as the step of Adam, is not
    followed where others are candidates.
    """
    change = record.end[parameter] - record.start[parameter]
    named = [one for one in candidates if one.key[0] != "operand" or _NAME.fullmatch(one.key[2])]
    parallel = [one for one in named or candidates if change.size > 1 and _is_multiple(change, record.get(one.key))]
    for followed in parallel or [one for one in named if one.key[0] == "operand"]:
        value = record.get(followed.key)
        same = (2 * int(np.sum(record.get(one.key) == value)) >= change.size for one in candidates)
        return next(one for one, is_clipped in zip(candidates, same, strict=True) if is_clipped)
    return candidates[0]


def _is_multiple(change: Any, value: Any) -> bool:
    norms = float(np.linalg.norm(change) * np.linalg.norm(value))
    return bool(norms) and abs(float(np.vdot(change, value))) > GRADIENT_SOURCE.exactly_parallel * norms


def _without_copies(
    found: list[GradientCandidate], record: IterationRecord, later: IterationRecord | None, updated: set[int | None]
) -> list[GradientCandidate]:
    """The candidates without copies of an array that a statement reads which changes one of the ``updated``.

    Averages over iterations, as of Adam, are equal to the gradient in the first one alone; a gradient that is copied is
    equal to its copy later too, or is added to it.
    """
    read = [one for one in found if one.key[0] == "operand" and record.bases.get(one.key) in updated]
    identities = {record.identities.get(one.key) for one in read}
    return [
        one
        for one in found
        if record.identities.get(one.key) in identities
        or not any(_is_copy(one.key, other.key, record, later) for other in read)
    ]


def _is_copy(key: Key, of: Key, record: IterationRecord, later: IterationRecord | None) -> bool:
    if record.get(key).tobytes() != record.get(of).tobytes():
        return False
    copy, original = (None, None) if later is None else (later.get(key), later.get(of))
    if copy is None or original is None or copy.shape != original.shape:
        return True
    return np.array_equal(copy, original) or np.allclose(record.get(of) + copy, original)


class ArrayChange:
    """The change of an array, with which many others are compared.

    Example
    -------
    >>> ArrayChange(np.array([-1.0, 2.0])).alignment(np.array([0.5, -1.0]))
    (1.0, 1.0)
    """

    def __init__(self, change: Any) -> None:
        self._change = change
        self._norm = math.sqrt(np.vdot(change, change))
        self._moved = change != 0
        self._grew = change > 0
        self._entries = np.count_nonzero(change)

    def alignment(self, value: Any) -> tuple[float, float]:
        """The alignment of an array with the change, and 1.0 if it is antiparallel to it."""
        norms = self._norm * math.sqrt(np.vdot(value, value))
        if not norms or not math.isfinite(norms):
            return 0.0, 1.0
        cosine = round(float(np.vdot(self._change, value)) / norms, 9)
        both = self._moved & (value != 0)
        count = np.count_nonzero(both)
        agreement = 0.0
        if count > 1 and count >= 0.5 * (self._entries or 1):
            agreement = 2 * abs(np.count_nonzero(both & (self._grew == (value > 0))) / count - 0.5)
        return max(abs(cosine), agreement), -1.0 if cosine > 0 else 1.0
