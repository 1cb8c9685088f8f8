"""Whether the values of state fields are of the types that the fields declare."""

from __future__ import annotations

import functools
import sys
import types
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import numpy as np

_NUMBERS: Mapping[Any, tuple[type, ...]] = {int: (int, np.integer), float: (int, float, np.integer, np.floating)}
_PLAIN = (str, bool, bytes, np.ndarray, Counter)
_CONTAINERS = (list, set, frozenset, Sequence, Set)
_MAPPINGS = (dict, Mapping)


@functools.cache
def declared_types(kind: Any) -> Mapping[str, Any]:
    """The declared type of each field of an attrs class; ``Any`` for one that cannot be evaluated.

    Example
    -------
    >>> @attrs.define
    ... class Counter:
    ...     count: int = 0
    >>> declared_types(Counter)
    {'count': <class 'int'>}
    """
    found: dict[str, Any] = {}
    for field in attrs.fields(kind):
        owner = next((one for one in kind.__mro__ if field.name in vars(one).get("__annotations__", {})), kind)
        module = sys.modules.get(owner.__module__)
        # One at a time, because other annotations may name what is imported for type checkers only.
        single = types.SimpleNamespace(__annotations__={field.name: field.type})
        try:
            found[field.name] = get_type_hints(single, globalns=vars(module) if module else {})[field.name]
        except Exception:
            found[field.name] = Any
    return found


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of a type. It is, if the type is none of those that a checkpoint can hold.

    Example
    -------
    >>> fits(3, float), fits("3", float), fits({"w": 3}, dict[str, int] | None), fits((1, "a"), tuple[int, int])
    (True, False, True, False)
    """
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if hasattr(origin, "__value__"):  # from NumPy 2.5 on, NDArray is an alias of PEP 695
        return fits(value, origin.__value__)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if origin is None or origin is types.NoneType:
        return value is None
    if origin in _NUMBERS:
        fitting = isinstance(value, _NUMBERS[origin]) and not isinstance(value, bool)
        return fitting and not (origin is float and isinstance(value, int) and abs(value) > sys.float_info.max)
    if origin in _PLAIN:
        return isinstance(value, origin)
    if origin is tuple:
        return isinstance(value, tuple) and _items_fit(value, arguments)
    if origin in _CONTAINERS:
        item = arguments[0] if arguments else Any
        return isinstance(value, origin) and all(fits(one, item) for one in value)
    if isinstance(origin, type) and attrs.has(origin):
        return isinstance(value, origin)
    if origin in _MAPPINGS:
        keys, items = arguments or (Any, Any)
        return isinstance(value, Mapping) and all(fits(key, keys) and fits(one, items) for key, one in value.items())
    return True


def _items_fit(values: tuple[object, ...], kinds: tuple[Any, ...]) -> bool:
    if not kinds:
        return True
    if len(kinds) == 2 and kinds[1] is ...:
        return all(fits(value, kinds[0]) for value in values)
    return len(values) == len(kinds) and all(map(fits, values, kinds))
