"""Pushes: a small perturbation of each changing array at the start of an iteration, which is then replayed.

An array that keeps its push to the end of the iteration and moves the loss is a parameter; one that keeps it and does
not move the loss belongs to the optimizer; one that forgets it and moves the loss is a carried state.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, arrays_of, numbers_of, same_bits
from rnncallbacks.doctor.roles.data_names import LOOP_ITEM
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.doctor.watch_messages import ReplayRequest
from rnncallbacks.doctor.watched_script import FrozenIteration, ReplayError


@attrs.frozen(kw_only=True)
class InterventionThresholds:
    """Sizes of pushes, and thresholds of their effects. Chosen by eye on scripts of the three cells."""

    step: float = 1e-4
    """Push of each entry / root mean square of its array, in float64."""
    float32_step: float = 1e-2
    """The same in float32."""
    float32_larger: float = 30.0
    """Factor of a second push of a float32 array whose first one moved no number: recurrent weights behind small
    embeddings move the loss by less than its rounding."""
    smallest_scale: float = 5e-2
    """Smallest assumed root mean square of an array: biases begin at zero."""
    kept: float = 0.3
    """Share of a push that remains at the end of the iteration, from which the array has kept it."""
    moved: float = 1e-12
    """Relative change from which a number has moved; replays are exact, and the rounding of a sum is 1e-14."""
    float32_moved: float = 3e-6
    """The same where arrays are float32."""
    update_share: float = 0.01
    """Share of the update that is made to find the numbers that fall along it."""
    arrays: int = 80
    """Largest number of pushed arrays."""


INTERVENTION = InterventionThresholds()


@attrs.frozen(eq=False)
class Push:
    """The effects of a push of one array.

    Attributes
    ----------
    key:
        The array.
    record:
        The replayed iteration.
    step:
        The push, added in one replay and subtracted in another.
    kept:
        The share of the push that remained at the end.
    derivatives:
        Half the difference of each number that moved.
    """

    key: Key
    record: IterationRecord
    step: Any
    kept: float
    derivatives: dict[Key, float]

    @property
    def only_grows(self) -> bool:
        """Whether the iteration only adds to the array: ``w -= ...`` and ``w = w - ...`` do."""
        return self.record.only_grows(self.record.start_identities.get(self.key, -1))


def changing_arrays(records: list[IterationRecord]) -> list[Key]:
    """One key for each float array that exists when the iterations begin and changes in at least one of them.

    The shortest name of an array that every record has is used. Views, and items that the loop reads, are left out.
    """
    common = set.intersection(*(set(arrays_of(record.start)) & set(arrays_of(record.end)) for record in records))
    chosen: dict[tuple[int, ...], Key] = {}
    for key in records[0].start:
        if key not in common or any(record.start[key].shape != record.end[key].shape for record in records):
            continue
        if LOOP_ITEM.search(key[2]) or all(same_bits(record.start[key], record.end[key]) for record in records):
            continue
        names = tuple(record.start_identities[key] for record in records)
        if names not in chosen or expression_length(key) < expression_length(chosen[names]):
            chosen[names] = key
    return [key for key in chosen.values() if not _is_view(key, list(chosen.values()), records[0])]


def _is_view(key: Key, others: list[Key], record: IterationRecord) -> bool:
    """Whether an array shares the memory of another one."""
    low, high = record.memory.get(key, (0, 0))
    for other in others:
        first, last = record.memory.get(other, (0, 0))
        if other != key and first <= low < high <= last and last - first > high - low:
            return True
    return False


def persists(key: Key, records: list[IterationRecord]) -> bool:
    """Whether an array begins each iteration with its value at the end of the one before, in consecutive records."""
    return all(
        same_bits(before.end.get(key), after.start.get(key))
        for before, after in itertools.pairwise(records)
        if key in before.end and key in after.start and before.activation == after.activation
    )


def expression_length(key: Key) -> tuple[int, int]:
    """Short expressions of the outermost scope first."""
    return key[2].count(".") + key[2].count("["), len(key[2])


def is_exact(record: IterationRecord, frozen: FrozenIteration) -> bool:
    """Whether a replay without a push has the same values as the iteration itself, bit for bit."""
    try:
        return record.same_as(frozen.replay(ReplayRequest(numbers_only=False)))
    except ReplayError:
        return False


def push_arrays(
    keys: list[Key], record: IterationRecord, frozen: FrozenIteration, until: float, along: dict[Key, Key],
) -> list[Push]:  # fmt: skip
    """Push each array in both directions, and record the effects. Arrays for which time runs out are left out.

    The other items of a container whose first one has no effect are pushed at once, and each alone only if they have
    one together: steps of a tape, and the moments of an optimizer.

    ``along`` names arrays along which others change: a gradient that depends on the push does not mean that it is
    forgotten.
    """
    generator = np.random.default_rng(20)
    base = numbers_of(record.end) | numbers_of(record.inside)
    steps = {key: _step(record.start[key], generator) for key in keys[: INTERVENTION.arrays]}
    waiting = [key for key, step in steps.items() if np.isfinite(step).all()]
    pushes: dict[Key, Push | None] = {}
    tried: set[tuple[str, str, str]] = set()
    for key in waiting:
        if key in pushes:
            continue
        if time.monotonic() > until:
            break
        push = pushes[key] = _push(key, steps[key], record, frozen, along, base)
        double = record.start[key].dtype == np.float64
        if push is not None and not double and not push.derivatives:
            pushes[key] = _push(key, INTERVENTION.float32_larger * steps[key], record, frozen, along, base)
        elif push is not None and not push.derivatives and (items := _items(key)) not in tried:
            tried.add(items)
            others = [one for one in waiting if one not in pushes and _items(one) == items]
            found = _push_at_once({one: steps[one] for one in others}, record, frozen)
            pushes |= {one.key: one for one in found if one.key not in along or one.kept >= INTERVENTION.kept}
    return [push for key in keys if (push := pushes.get(key)) is not None]


def _step(value: Any, generator: np.random.Generator) -> Any:
    """The push of an array; not finite where its entries are not."""
    double = value.dtype == np.float64
    scale = max(float(np.sqrt(np.mean(np.square(value)))), INTERVENTION.smallest_scale)
    size = (INTERVENTION.step if double else INTERVENTION.float32_step) * scale
    # Entries of different sizes: biases before a softmax have no effect if all move equally.
    step = size * generator.choice([-1.0, 1.0], value.shape) * generator.uniform(0.5, 1.5, value.shape)
    return step.astype(value.dtype)


def _items(key: Key) -> tuple[str, str, str]:
    """The container of an array and its place in the items of that: what they have in common with other ones.

    >>> [_items(("end", "f", text))[2] for text in ("self.m['W']", "self.tape[3][1]", "h")]
    ['self.m[]', 'self.tape[][1]', 'h']
    """
    inner = re.sub(r"\[[^\[\]]*\](?=.*\[)", "[]", key[2])
    return key[0], key[1], inner if inner.count("[") > 1 else re.sub(r"\[.*\]", "[]", inner)


def _push_at_once(steps: dict[Key, Any], record: IterationRecord, frozen: FrozenIteration) -> list[Push]:
    """The pushes of arrays that move no number together; nothing if they do, or if there are too few of them."""
    double = {record.start[key].dtype == np.float64 for key in steps}
    if len(steps) < 2 or len(double) > 1:
        return []
    steps = {key: (1.0 if True in double else INTERVENTION.float32_larger) * step for key, step in steps.items()}
    pushed = {key: record.start[key] + step for key, step in steps.items()}
    try:
        up = frozen.replay(ReplayRequest(pushed, arrays=frozenset(steps)))
    except ReplayError:
        return []
    tolerance = INTERVENTION.moved if True in double else INTERVENTION.float32_moved
    if _moves_numbers(numbers_of(record.end) | numbers_of(record.inside), up, tolerance):
        return []
    return [Push(key, record, step, _kept_alone(key, record, up, step), {}) for key, step in steps.items()]


def moving_arrays(keys: list[Key], record: IterationRecord, frozen: FrozenIteration) -> list[Key]:
    """The arrays that may move a number. They are pushed at once, and so is each half of those that move one."""
    steps = {key: _step(record.start[key], np.random.default_rng(20)) for key in keys}
    if len(keys) < 2 or _push_at_once(steps, record, frozen):
        return keys if len(keys) < 2 else []
    half = len(keys) // 2
    return [*moving_arrays(keys[:half], record, frozen), *moving_arrays(keys[half:], record, frozen)]


def _push(
    key: Key, step: Any, record: IterationRecord, frozen: FrozenIteration, along: dict[Key, Key],
    base: dict[Key, float],
) -> Push | None:  # fmt: skip
    """The effects of one push; None if a replay failed. ``base`` are the numbers without it."""
    value = record.start[key]
    try:
        arrays = frozenset([key, along.get(key, key)])
        up = frozen.replay(ReplayRequest({key: value + step}, arrays=arrays))
        tolerance = INTERVENTION.moved if value.dtype == np.float64 else INTERVENTION.float32_moved
        kept = _kept_alone(key, record, up, step)
        is_clear = value.size > 1 and (key not in along or kept >= INTERVENTION.kept)
        if is_clear and not _moves_numbers(base, up, tolerance):
            return Push(key, record, step, kept, {})  # of an optimizer, or forgotten: a second replay shows no more
        down = frozen.replay(ReplayRequest({key: value - step}, arrays=arrays))
    except ReplayError:
        return None
    at_end, below = up.end.get(key), down.end.get(key)
    if at_end is None or below is None or at_end.shape != step.shape:
        return None
    kept = _kept(at_end - below, step)
    if key in along and not kept >= INTERVENTION.kept:
        gradient, above_it, below_it = (one.get(along[key]) for one in (record, up, down))
        if all(isinstance(one, np.ndarray) and one.shape == step.shape for one in (gradient, above_it, below_it)):
            rate = _kept(2 * (record.end[key] - value), gradient)
            kept = _kept(at_end - below - rate * (above_it - below_it), step)
    above, under = (numbers_of(one.end) | numbers_of(one.inside) for one in (up, down))
    derivatives = {}
    for number, middle in base.items():
        if number not in above or number not in under:
            continue
        difference = above[number] - under[number]
        if not math.isfinite(difference) or abs(difference) <= tolerance * max(abs(middle), 1e-6):
            continue
        derivatives[number] = difference / 2
    return Push(key, record, step, kept, derivatives)


def moves_arrays(push: Push, frozen: FrozenIteration, arrays: frozenset[Key]) -> bool:
    """Whether a push changes one of these arrays, though it did not move the loss.

    The gradients of other arrays change with a parameter, even where the loss changes by less than its rounding, and
    not with an array of the optimizer. A gradient that is never set to zero is no parameter.
    """
    own = push.record.start_identities.get(push.key)
    if own is not None and any(push.record.identities.get(key) == own for key in arrays):
        return False
    try:
        answer = frozen.replay(ReplayRequest({push.key: push.record.start[push.key] + push.step}, arrays=arrays))
    except ReplayError:
        return False
    return any(not same_bits(push.record.get(key), answer.get(key)) for key in arrays)


def _kept_alone(key: Key, record: IterationRecord, up: IterationRecord, step: Any) -> float:
    """The share of a push that remained, from one replay; 0 if the array has another shape then."""
    after, before = up.end.get(key), record.end[key]
    return _kept(2 * (after - before), step) if getattr(after, "shape", None) == step.shape == before.shape else 0.0


def _moves_numbers(base: dict[Key, float], up: IterationRecord, tolerance: float) -> bool:
    """Whether a replay has another value, or none, of a number of the iteration; lists of one are not returned."""
    numbers = numbers_of(up.end) | numbers_of(up.inside)
    lists = {key for key in base if (*key[:2], f"{key[2]}[-1]") in base}
    finite = {key: value for key, value in base.items() if math.isfinite(value) and key not in lists}
    return any(
        not abs(numbers.get(key, math.inf) - value) <= tolerance * max(abs(value), 1e-6)
        for key, value in finite.items()
    )


def computed_values(
    parameters: Sequence[Key], records: Sequence[IterationRecord], frozen: Sequence[FrozenIteration | None],
) -> frozenset[Key]:  # fmt: skip
    """The keys of the values that change with the parameters in some iteration: what is computed from them is no data.

    In one iteration, the argument of a sigmoid may be zero whatever the parameters are. In those before the last one,
    the parameters change their signs, and saturated units with them.
    """
    changed: set[Key] = set()
    for record, copy in zip(records, frozen, strict=True):
        factor = 1 + INTERVENTION.float32_step if record is records[-1] else -1.0
        pushes = {
            key: factor * record.start[key] + INTERVENTION.float32_step * INTERVENTION.smallest_scale
            for key in parameters
        }
        try:
            other = None if copy is None else copy.replay(ReplayRequest(pushes, numbers_only=False))
        except ReplayError:
            other = None
        if other is not None:
            values = record.end | record.inside
            changed |= {key for key, value in values.items() if not same_bits(value, other.get(key))}
    return frozenset(changed)


def _kept(difference: Any, step: Any) -> float:
    """The share of a step that is in half a difference."""
    return float(np.vdot(difference, step) / (2 * np.vdot(step, step)))


def slopes_along_update(
    keys: list[Key], record: IterationRecord, frozen: FrozenIteration,
) -> dict[Key, float]:  # fmt: skip
    """The change of each number under a small part of the update of these arrays, divided by that part."""
    share = INTERVENTION.update_share
    ends = []
    for sign in (share, -share):
        pushes = {
            key: record.start[key] + sign * (record.end[key] - record.start[key]) for key in keys if key in record.start
        }
        try:
            answer = frozen.replay(ReplayRequest(pushes))
        except ReplayError:
            return {}
        ends.append(numbers_of(answer.end) | numbers_of(answer.inside))
    return {key: (ends[0][key] - ends[1][key]) / (2 * share) for key in ends[0].keys() & ends[1].keys()}
