"""The recorded values of one iteration of a script's training loop."""

from __future__ import annotations

import re
from collections.abc import Collection, Container
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.value_walk import Key, Steps

Values = dict[Key, Any]
PARALLEL = 1e-9
"""Largest difference of a cosine from one, of arrays of which one is a multiple of the other. Chosen by eye."""


@attrs.define(eq=False)
class IterationRecord:
    """Copies of the values of one iteration, by key.

    Attributes
    ----------
    number:
        The iteration, from 1.
    activation:
        Number of times that the loop has begun, from 1.
    epoch:
        The epoch, from 1: the pass of the loop of epochs, if there is one, and the activation otherwise.
    start, end:
        Values that the loop's frame reaches, before and after the iteration. Keys are of the kind "end" in both.
    inside:
        Values returned by functions, their local values, and values before they were changed in place.
    identities:
        A number for each key that identifies the object: keys with one number are names of one object.
    memory:
        First and last address of each array before the iteration: arrays that share memory are views.
    order:
        The moment of each key, counted in events.
    changes:
        The statements that changed an array in place or replaced it, by the array's number in ``identities``.
    bases:
        Of each operand of such a statement, the number of the array that the statement changes.
    repeats:
        How often the same statement changed an array, at most, by the array's number.
    between:
        Of the first iteration after an execution of the loop: the numbers that functions returned, and those that the
        script showed, since the loop ended.
    additions_between:
        The same of statements that add to an array: how often, by the array's number in ``start_identities``.
    totals:
        The numbers to which statements add, by their expression, before the first addition.
    seconds:
        Time the iteration took, the copies included.
    """

    number: int
    activation: int
    epoch: int = attrs.field(default=1, kw_only=True)
    start: Values = attrs.field(factory=dict)
    end: Values = attrs.field(factory=dict)
    inside: Values = attrs.field(factory=dict)
    start_identities: dict[Key, int] = attrs.field(factory=dict)
    memory: dict[Key, tuple[int, int]] = attrs.field(factory=dict)
    identities: dict[Key, int] = attrs.field(factory=dict)
    order: dict[Key, int] = attrs.field(factory=dict)
    changes: dict[int, tuple[Site, ...]] = attrs.field(factory=dict)
    bases: dict[Key, int] = attrs.field(factory=dict)
    repeats: dict[int, int] = attrs.field(factory=dict)
    between: dict[Key, list[float]] = attrs.field(factory=dict)
    additions_between: dict[int, int] = attrs.field(factory=dict)
    totals: dict[str, float] = attrs.field(factory=dict)
    seconds: float = 0.0

    def only_grows(self, identity: int, *, clipped: bool = False) -> bool:
        """Whether an array was changed, and only by statements that add to it; if ``clipped``, some may clip it."""
        sites = self.changes.get(identity, ())
        grows = [site for site in sites if site.additive]
        return bool(grows) and all(site.additive or (clipped and "clip" in site.source) for site in sites)

    def sites_of(self, key: Key, kept: Collection[Key], parameters: Collection[Key] = ()) -> tuple[Site, ...]:
        """The statements that changed an array, or one that it is a multiple of or a copy of but for clipped entries.

        Arrays of the keys ``kept`` are originals only if the iteration does nothing but add to them: a velocity has the
        value of a gradient at first, but is also scaled. The ``parameters`` are none: a bias of zeros is a multiple of
        its gradient after the first update.
        """
        value, identity = self.get(key), self.identities.get(key, -1)
        if identity in self.changes or not isinstance(value, np.ndarray):
            return self.changes.get(identity, ())
        scaled = {number for number in map(self.identities.get, kept) if number and not self.only_grows(number)}
        own = scaled | {self.identities.get(one) for one in parameters}
        for other, array in arrays_of({**self.inside, **self.end}).items():
            number = self.identities.get(other, -1)
            if number in self.changes and number not in own and array.shape == value.shape and _copies(value, array):
                return self.changes[number]
        return ()

    def restore(self, names: Container[str], scope: str) -> None:
        """Restore the values of the loop's targets in this iteration: they already have those of the next one."""
        for key, value in self.start.items():
            found = re.match(r"\w+", key[2])
            if found is not None and found[0] in names and key[1] == scope:
                self.end[key], self.identities[key] = value, self.start_identities[key]

    def get(self, key: Key) -> Any:
        """The value of a key at the end of the iteration or inside it; None if there is none.

        That of a key of the kind "increase" is the difference between the end and the start.
        """
        if key[0] == "increase":
            number = recorded_key(key)
            before, after = (numbers_of({number: values.get(number)}) for values in (self.start, self.end))
            return after[number] - before[number] if before and after else None
        found = self.inside.get(key)
        return self.end.get(key) if found is None else found

    def same_as(self, again: IterationRecord) -> bool:
        """Whether another record of the iteration has the same values, bit for bit.

        In the first iteration, only values from before the loop count: scripts draw a sample in it, and the states of
        an untrained network are chaotic, so that the last bit of a product, which depends on the addresses of arrays,
        may change the sample. Values before a change in place do not count: an array may be uninitialized memory.
        """
        values = self.end | self.inside
        keys = self.start.keys() & values.keys() if self.number == 1 else values.keys()
        return all(same_bits(values[key], again.get(key)) for key in keys if key[0] != "raw")


def _copies(array: Any, original: Any) -> bool:
    """Whether an array is a multiple of another, or has most of its entries.

    >>> gradient = np.array([2.0, 1.0, 9.0])
    >>> _copies(np.minimum(gradient, 5.0), gradient), _copies(0.1 * gradient, gradient), _copies(gradient**2, gradient)
    (True, True, False)
    """
    if 2 * int(np.sum(array == original)) > array.size:
        return bool(original.any())
    norms = float(np.linalg.norm(array) * np.linalg.norm(original))
    return array.size > 1 and norms > 0 and abs(float(np.vdot(array, original))) > (1 - PARALLEL) * norms


def recorded_key(key: Key) -> Key:
    """The key under which a value is recorded: that of the number of an increase.

    >>> recorded_key(("increase", "f", "total"))
    ('end', 'f', 'total')
    """
    return ("end", *key[1:]) if key[0] == "increase" else key


def numbers_of(values: Values) -> dict[Key, float]:
    """The values that are one number: Python numbers and arrays of one entry.

    Example
    -------
    >>> numbers_of({("end", "f", "loss"): np.array([2.0]), ("end", "f", "w"): np.ones(3)})
    {('end', 'f', 'loss'): 2.0}
    """
    found = {}
    for key, value in values.items():
        if isinstance(value, np.ndarray):
            if value.size == 1 and value.dtype.kind in "fiu":
                found[key] = float(value.reshape(-1)[0])
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[key] = float(value)
    return found


def arrays_of(values: Values) -> dict[Key, Any]:
    """The values that are floating arrays.

    Example
    -------
    >>> list(arrays_of({("end", "f", "w"): np.ones(3), ("end", "f", "n"): 3}))
    [('end', 'f', 'w')]
    """
    return {key: value for key, value in values.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"}


def same_bits(one: Any, other: Any) -> bool:
    """Whether two values are equal bit for bit.

    >>> same_bits(np.array([np.nan]), np.array([np.nan])), same_bits(1.0, 2.0)
    (True, False)
    """
    if isinstance(one, Steps) and isinstance(other, Steps):
        one, other = one.stacked, other.stacked
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return type(one) is type(other) and (one == other or (one != one and other != other))
