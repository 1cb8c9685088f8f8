"""The values that a frame reaches: arrays and numbers by the script's expressions for them."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs
import numpy as np

Key: TypeAlias = tuple[str, str, str]
"""Kind ("end", "return", "local", "raw" or "operand"), scope and expression of a value."""
SIMPLE = (str, bytes, bool, type(None), type, types.FunctionType, types.ModuleType, types.BuiltinFunctionType)


@attrs.frozen(kw_only=True)
class WalkLimits:
    """Limits of the walk. Chosen by eye."""

    depth: int = 5
    """Largest number of nested attributes and items."""
    objects: int = 6000
    """Largest number of visited objects."""
    items: int = 64
    """Longest container that is followed; a longer one is data."""
    named_elements: int = 16
    """Length up to which the arrays of a sequence have keys of their own."""
    array_size: int = 4_000_000
    """Largest array that is yielded, in entries."""
    list_length: int = 100_000
    """Longest list of numbers that is yielded: copying one takes longer than copying an array."""


LIMITS = WalkLimits()


def walk(names: Mapping[str, Any], own_modules: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Yield expressions with their values: arrays, numbers, nested lists of numbers and the last entries of flat ones,
    sequences of equal arrays.

    Objects of classes of ``own_modules`` are followed through their attributes, named tuples through their fields.

    Example
    -------
    >>> dict(walk({"lr": 0.1, "w": {"a": np.ones(2)}}, frozenset()))
    {'lr': 0.1, "w['a']": array([1., 1.])}
    >>> dict(walk({"losses": [2.5, 1.5]}, frozenset()))
    {'losses': [2.5, 1.5], 'losses[-1]': 1.5}
    """
    waiting: deque[tuple[str, Any, int, tuple[int, ...]]] = deque(
        (name, value, 0, ()) for name, value in list(names.items()) if not name.startswith("__")
    )
    left = LIMITS.objects
    while waiting and left:
        left -= 1
        name, value, depth, above = waiting.popleft()
        if isinstance(value, SIMPLE):
            continue
        if isinstance(value, np.ndarray):
            if value.dtype.kind in "fiub" and value.size <= LIMITS.array_size:
                yield name, value
            continue
        if isinstance(value, int | float | np.number):
            yield name, value
            continue
        if id(value) in above:
            continue
        below, has_fields = (*above, id(value)), bool(getattr(type(value), "_fields", None))
        if not has_fields and is_number_list(value):
            if len(value) <= LIMITS.list_length:
                yield name, value
                if isinstance(value, list) and isinstance(value[-1], float | np.floating):
                    yield f"{name}[-1]", value[-1]  # a script may only append its loss to a list
            continue
        sequence = not has_fields and is_array_sequence(steps_of(value) if isinstance(value, dict) else value)
        if sequence:
            yield name, value
        if depth < LIMITS.depth:
            most = LIMITS.named_elements if sequence else LIMITS.items
            waiting.extend((f"{name}{part}", one, depth + 1, below) for part, one in _parts(value, most, own_modules))


def _parts(value: Any, most: int, own_modules: frozenset[str]) -> Iterable[tuple[str, Any]]:
    """The fields, items or attributes of an object, each with the text that follows the object's name."""
    if fields := getattr(type(value), "_fields", None):
        named = zip(fields, value, strict=False) if isinstance(value, tuple) else ()
        return ((f".{key}", one) for key, one in named)
    if isinstance(value, list | tuple | dict):
        items = list(value.items()) if isinstance(value, dict) else enumerate(value)
        return ((f"[{key!r}]", one) for key, one in items) if len(value) <= most else ()
    return ((f".{key}", one) for key, one in _attributes(value)) if _is_own(value, own_modules) else ()


def arrays_in(name: str, value: Any) -> list[tuple[str, Any]]:
    """An array, or those of a container, by their expressions; arrays of whole numbers and large ones are data.

    Example
    -------
    >>> arrays_in("grads", {"w": np.ones(2), "n": 3})
    [("grads['w']", array([1., 1.]))]
    """
    if not isinstance(value, np.ndarray | list | tuple | dict):
        return []
    found = [(name, value)] if isinstance(value, np.ndarray) else walk({name: value}, frozenset())
    return [
        (text, one)
        for text, one in found
        if isinstance(one, np.ndarray) and one.dtype.kind == "f" and 1 <= one.size <= LIMITS.array_size
    ]


def _is_own(value: Any, own_modules: frozenset[str]) -> bool:
    return type(value).__module__ in own_modules or isinstance(value, types.SimpleNamespace)


def _attributes(value: Any) -> Iterable[tuple[str, Any]]:
    found = list(getattr(value, "__dict__", {}).items())
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            try:
                found.append((name, getattr(value, name)))
            except AttributeError:
                continue
    return found


def is_number_list(value: Any, depth: int = 0) -> bool:
    """Whether a list holds numbers, or lists of numbers, by its first items."""
    if not isinstance(value, list | tuple) or not value or depth > 3:
        return False
    first = value[0]
    if isinstance(first, list | tuple):
        return is_number_list(first, depth + 1)
    return all(isinstance(one, int | float | np.number) and not isinstance(one, bool) for one in value[:8])


def steps_of(value: Mapping[Any, Any]) -> list[Any]:
    """The values of a dict whose keys are consecutive integers, in their order; empty for another dict."""
    if len(value) < 2 or not all(isinstance(key, int) for key in value):
        return []
    keys = sorted(value)
    return [value[key] for key in keys] if keys[-1] - keys[0] == len(keys) - 1 else []


def is_array_sequence(value: Any) -> bool:
    """Whether a list or tuple holds at least two floating arrays, all of one shape."""
    if not isinstance(value, list | tuple) or len(value) < 2 or not isinstance(value[0], np.ndarray):
        return False
    shape = value[0].shape
    return all(isinstance(one, np.ndarray) and one.shape == shape and one.dtype.kind in "fiub" for one in value)


def copy_of(value: Any) -> Any:
    """A copy of a value that :func:`walk` yielded: an array, a number, or a stacked sequence of arrays.

    Example
    -------
    >>> copy_of([np.zeros(2), np.ones(2)])
    Steps(stacked=array([[0., 0.],
           [1., 1.]]))
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, np.number):
        return value.item()
    if isinstance(value, int | float):
        return value
    sequence = steps_of(value) if isinstance(value, dict) else value
    if is_array_sequence(sequence):
        return Steps(np.stack(sequence))
    try:
        array = np.array(sequence, dtype=float)
    except (TypeError, ValueError):
        return None
    whole = array.ndim == 1 and all(isinstance(one, int | np.integer) for one in sequence)
    return array.view(IntegerList) if whole else array


class IntegerList(np.ndarray[Any, Any]):
    """A list of integers as floats: it may be one of parameters that begin with whole numbers, or of tokens."""


@attrs.frozen(eq=False)
class Steps:
    """A sequence of equal arrays, stacked on a new first axis."""

    stacked: Any


def write_into(target: Any, value: Any) -> None:
    """Overwrite an array, or a nested list of numbers, in place.

    Example
    -------
    >>> weights = [[1.0, 2.0], [3.0, 4.0]]
    >>> write_into(weights, np.zeros((2, 2)))
    >>> weights
    [[0.0, 0.0], [0.0, 0.0]]
    """
    if isinstance(target, np.ndarray):
        target[...] = value
    elif isinstance(target, list):
        for place, one in enumerate(value):
            if isinstance(target[place], list | np.ndarray):
                write_into(target[place], one)
            else:  # a token stays an integer
                target[place] = int(one) if isinstance(target[place], int) and one == int(one) else float(one)
