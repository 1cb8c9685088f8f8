"""State as JSON and arrays, which is how a checkpoint saves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.core.object_state import has_state_dict, is_generator, state_of
from rnncallbacks.core.plugin_state import saved_state
from rnncallbacks.errors import CheckpointError


@attrs.frozen
class SavedState:
    """The state of a generator or of an object with ``load_state_dict``, to be put into the object that is there."""

    state: Any


def encode(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    """The value as JSON, with its arrays moved to ``arrays``; whatever is no list or plain value is a one-key dict.

    Raises
    ------
    CheckpointError
        The value cannot be saved; the message names it by ``path``.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        while path in arrays:  # keys may contain dots
            path += "'"
        arrays[path] = value
        return {"array": path}
    if isinstance(value, list | tuple):
        items = [encode(item, f"{path}.{index}", arrays) for index, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: encode(item, f"{path}.{key}", arrays) for key, item in value.items()}}
    if is_generator(value) or has_state_dict(value):
        return {"state": encode(state_of(value), path, arrays)}
    if attrs.has(type(value)) and (state := saved_state(value)):
        return encode(state, path, arrays)
    raise CheckpointError(
        f"{path}: a {type(value).__name__} cannot be saved in a checkpoint",
        hint="state may be numbers, strings and arrays; lists, tuples and dicts of these; generators, objects with "
        "state_dict and load_state_dict, and attrs objects with state fields. Declare a field that checkpoints do not "
        "save with state_field(..., saved=False)",
    )


def decode(value: Any, arrays: Mapping[str, Array]) -> Any:
    """The value that :func:`encode` wrote as JSON.

    Raises
    ------
    Exception
        It is not what ``encode`` writes.
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
    if kind == "tuple":
        return tuple(decode(item, arrays) for item in content)
    if kind == "dict":
        return {key: decode(item, arrays) for key, item in content.items()}
    raise ValueError(f"unknown kind of value {kind!r}")
