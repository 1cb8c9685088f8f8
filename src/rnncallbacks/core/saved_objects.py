"""Makes the attrs objects in the state of a checkpoint, from the name of a class and the values of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from rnncallbacks.config.discovery import OURS
from rnncallbacks.config.option_types import type_text
from rnncallbacks.core.plugin_state import default_of
from rnncallbacks.core.state_encoding import SavedObject, find_class
from rnncallbacks.core.state_types import declared_types, fits
from rnncallbacks.errors import CheckpointError, short_repr


def package_of(kind: type) -> str:
    """The package that defines a class.

    Example
    -------
    >>> package_of(SavedObject)
    'rnncallbacks'
    """
    return kind.__module__.partition(".")[0]


def own_types(kind: Any) -> Mapping[str, Any]:
    """The declared types of the fields of an attrs class of this library; empty for any other class.

    Example
    -------
    >>> own_types(SavedObject)["class_name"]
    <class 'str'>
    """
    return declared_types(kind) if package_of(kind) == OURS and attrs.has(kind) else {}


def made_value(value: Any, kind: Any, package: str, what: str) -> Any:
    """A decoded value with its attrs objects made, if it is of the given type.

    Parameters
    ----------
    value:
        The value, as :func:`~rnncallbacks.core.state_encoding.decode` returns it.
    kind:
        The type; ``Any`` for a value of any type.
    package:
        The package of the plugin. Classes of objects have to be its own, or those of this library.
    what:
        The value and the file, for messages.

    Raises
    ------
    CheckpointError
        The value is of another type, or an object cannot be made.
    """
    made = _made(value, package, what)
    if not fits(made, kind):
        raise CheckpointError(
            f"{what}: expected {type_text(kind)}, got {short_repr(made)}",
            hint="the file was changed: resume from an earlier one",
        )
    return made


def _made(value: Any, package: str, what: str) -> Any:
    if isinstance(value, SavedObject):
        return _object(value, package, what)
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_made(item, package, what) for item in value)
    if isinstance(value, dict):  # a Counter, too
        return type(value)({_made(key, package, what): _made(item, package, what) for key, item in value.items()})
    return value


def _object(saved: SavedObject, package: str, what: str) -> Any:
    if saved.class_name.partition(":")[0].partition(".")[0] not in (package, OURS):
        raise CheckpointError(f"{what}: expected an object of the package {package}, got a {saved.class_name}")
    kind = find_class(saved.class_name)
    if kind is None:
        raise CheckpointError(
            f"{what}: {saved.class_name} is no attrs class here",
            hint="a checkpoint belongs to one version of a plugin: leave the plugin out, or install that version",
        )
    names = [field.name for field in attrs.fields(kind)]
    if unknown := saved.fields.keys() - set(names):
        raise CheckpointError(f"{what}: {saved.class_name} has no field {sorted(unknown)[0]!r}")
    made, types = object.__new__(kind), own_types(kind)
    for name in names:
        if name in saved.fields:
            value = made_value(saved.fields[name], types.get(name, Any), package, f"{what}, {name}")
        else:
            value = default_of(made, name)
            if value is attrs.NOTHING:
                raise CheckpointError(f"{what}: the file lacks the field {name!r} of {saved.class_name}")
        object.__setattr__(made, name, value)  # past frozen classes
    return made
