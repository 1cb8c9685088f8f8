"""The state of a plugin: the attrs fields that are not options.

A field with ``init=True`` is an option of the plugin. A field with ``init=False`` is state: it is set to its default
when a run begins, and checkpoints save it unless it is declared with ``saved=False``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from rnncallbacks.errors import PluginError, short_repr

_SAVED = "rnncallbacks.saved"


def state_field(default: Any = attrs.NOTHING, *, factory: Callable[[], Any] | None = None, saved: bool = True) -> Any:
    """Declare a field of an attrs class as state.

    Parameters
    ----------
    default:
        The value at the start of a run: a plain value, or an ``attrs.Factory``.
    factory:
        A function without arguments that makes the value at the start of a run, for lists, dicts and objects.
    saved:
        Whether checkpoints save the field. A field that is not saved is also reset in a resumed run.

    Raises
    ------
    PluginError
        The default is a list, a dict, a set or an array, which all objects would share.

    Example
    -------
    >>> @attrs.define(eq=False, kw_only=True)
    ... class BatchCounter:
    ...     every: int = 10
    ...     batches: int = state_field(0)
    ...     file: object = state_field(None, saved=False)
    >>> BatchCounter(every=5).batches
    0
    """
    if factory is not None:
        default = attrs.Factory(factory)
    elif isinstance(default, list | dict | set | np.ndarray):
        raise PluginError(
            f"state_field: all objects and runs would share the {type(default).__name__} {short_repr(default)}",
            hint="write state_field(factory=list), or factory=lambda: ... for one that is not empty",
        )
    return attrs.field(default=default, init=False, repr=False, metadata={_SAVED: saved})


def reset_state(plugin: object, *, keep_saved: bool = False) -> None:
    """Set the state fields of an attrs object to their defaults; fields without a default are left unchanged.

    With ``keep_saved``, only the fields that checkpoints do not save are reset, also in attrs objects held by other
    fields. Objects of other classes are left unchanged.

    Example
    -------
    >>> @attrs.define(eq=False)
    ... class Losses:
    ...     seen: list[float] = state_field(factory=list)
    >>> losses = Losses()
    >>> losses.seen.append(0.5)
    >>> reset_state(losses)
    >>> losses.seen
    []
    """
    for field in _state_fields(plugin):
        if keep_saved and is_saved(field):
            reset_state(getattr(plugin, field.name, None), keep_saved=True)
        elif field.default is not attrs.NOTHING:
            object.__setattr__(plugin, field.name, _default(plugin, field))  # past frozen classes and validators


def saved_state(plugin: object) -> dict[str, Any]:
    """The state that a checkpoint saves, by field name; empty for an object of another class."""
    return {field.name: getattr(plugin, field.name) for field in _state_fields(plugin) if is_saved(field)}


def default_of(plugin: Any, name: str) -> Any:
    """The default of a field of an attrs object, a new one if a factory makes it; ``attrs.NOTHING`` if it has none.

    Example
    -------
    >>> default_of(attrs.make_class("Losses", {"seen": attrs.field(factory=list)})(), "seen")
    []
    """
    return _default(plugin, next(field for field in attrs.fields(type(plugin)) if field.name == name))


def is_saved(field: attrs.Attribute[Any]) -> bool:
    """Whether checkpoints save a field, if it is state."""
    return bool(field.metadata.get(_SAVED, True))


def _default(plugin: object, field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class at run time, a function for types
        return default.factory(plugin) if default.takes_self else default.factory()
    return default


def _state_fields(plugin: object) -> Iterator[attrs.Attribute[Any]]:
    kind = type(plugin)
    if attrs.has(kind):
        yield from (field for field in attrs.fields(kind) if not field.init)
