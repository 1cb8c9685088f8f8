"""Encodes state as JSON and arrays, for checkpoints.

JSON has no tuples, sets, bytes or arrays, and only strings as keys. Such a value is written as a dict with one key, its
kind. An attrs object is written with the name of its class, and those of its fields that are state or differ from their
defaults.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.config.discovery import OURS
from rnncallbacks.core.object_state import has_state_dict, is_generator, is_savable, state_of
from rnncallbacks.core.plugin_state import is_saved
from rnncallbacks.errors import CheckpointError

SEQUENCES: Mapping[str, Callable[[Iterable[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
"""The kinds of values that are written as a list of their items."""


@attrs.frozen
class SavedState:
    """The state of a generator or of an object with ``load_state_dict``, which is restored into the existing object."""

    state: Any


@attrs.frozen
class SavedObject:
    """An attrs object of a file: the name of its class, as ``module:name``, and the values of its fields."""

    class_name: str
    fields: Mapping[str, Any]


def class_name(kind: type) -> str:
    """The name by which a file names a class.

    Example
    -------
    >>> class_name(SavedState)
    'rnncallbacks.core.state_encoding:SavedState'
    """
    return f"{kind.__module__}:{kind.__qualname__}"


def find_class(name: str) -> Any:
    """The attrs class of a name that :func:`class_name` returned; None if no module defines it.

    A file must not make other modules run: of those that are not imported yet, only the library's own are.

    Example
    -------
    >>> find_class("rnncallbacks.core.state_encoding:SavedState") is SavedState
    True
    >>> find_class("rnncallbacks.__main__:main"), find_class("this:Zen")
    (None, None)
    """
    module, _, names = name.partition(":")
    may_import = module.startswith(f"{OURS}.") and not module.endswith("__main__")
    try:
        found: Any = sys.modules.get(module) or (import_module(module) if may_import else None)
        for part in names.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if isinstance(found, type) and attrs.has(found) else None


def encode(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    """The value as JSON, with its arrays moved to ``arrays`` under names that begin with ``path``.

    Raises
    ------
    CheckpointError
        The value cannot be saved; the message names it by ``path``.

    Example
    -------
    >>> arrays = {}
    >>> encode({"seen": {3, 5}, "last": (np.zeros(2), 0.5)}, "guard", arrays)
    {'dict': {'seen': {'set': [3, 5]}, 'last': {'tuple': [{'array': 'guard.last.0'}, 0.5]}}}
    >>> list(arrays)
    ['guard.last.0']
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, np.ndarray) and is_savable(value):
        while path in arrays:  # keys may contain dots
            path += "'"
        arrays[path] = value
        return {"array": path}
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        items = [encode(item, f"{path}.{index}", arrays) for index, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if type(value) in (set, frozenset):
        # In one order, as that of a set differs between processes.
        items = [encode(item, f"{path}.{index}", arrays) for index, item in enumerate(sorted(value, key=repr))]
        return {type(value).__name__: items}
    if isinstance(value, Mapping) and (type(value) in (dict, Counter) or not isinstance(value, dict)):
        return _encode_mapping(value, path, arrays)
    if is_generator(value) or has_state_dict(value):
        return {"state": encode(state_of(value), path, arrays)}
    name = class_name(type(value))
    if attrs.has(type(value)) and find_class(name) is type(value):
        return {"object": [name, {field: encode(item, f"{path}.{field}", arrays) for field, item in _written(value)}]}
    kind = f"{type(value).__name__} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise CheckpointError(
        f"{path}: a {kind} cannot be saved in a checkpoint",
        hint="state may be numbers, strings, bytes and arrays; lists, tuples, sets and dicts of these, and no classes "
        "derived from them; generators, objects with state_dict and load_state_dict, and objects of attrs classes that "
        "a module defines. Declare a field that checkpoints do not save with state_field(..., saved=False)",
    )


def decode(value: Any, arrays: Mapping[str, Array]) -> Any:
    """The value that :func:`encode` wrote as JSON, with a :class:`SavedObject` in place of each attrs object.

    Raises
    ------
    Exception
        It is not a result of ``encode``.

    Example
    -------
    >>> decode({"items": [[1, {"tuple": [2.0, None]}]]}, {})
    {1: (2.0, None)}
    """
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "state":
        return SavedState(decode(content, arrays))
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind in SEQUENCES:
        return SEQUENCES[kind](decode(item, arrays) for item in content)
    if kind == "dict":
        return {key: decode(item, arrays) for key, item in content.items()}
    if kind in ("items", "counter"):
        pairs = {decode(key, arrays): decode(item, arrays) for key, item in content}
        return Counter(pairs) if kind == "counter" else pairs
    if kind == "object":
        name, fields = content
        return SavedObject(str(name), {field: decode(item, arrays) for field, item in fields.items()})
    raise ValueError(f"unknown kind of value {kind!r}")


def _encode_mapping(value: Mapping[Any, Any], path: str, arrays: dict[str, Array]) -> dict[str, Any]:
    kind = "counter" if isinstance(value, Counter) else "items"
    if kind == "items" and all(isinstance(key, str) for key in value):
        return {"dict": {key: encode(item, f"{path}.{key}", arrays) for key, item in value.items()}}
    pairs = [
        [encode(key, f"{path}.{index}.key", arrays), encode(item, f"{path}.{index}", arrays)]
        for index, (key, item) in enumerate(value.items())
    ]
    return {kind: pairs}


def _written(value: Any) -> Iterator[tuple[str, Any]]:
    """The fields of an attrs object that a file holds."""
    for field in attrs.fields(type(value)):
        item = getattr(value, field.name)
        if is_saved(field) and not (field.init and item is field.default):
            yield field.name, item
