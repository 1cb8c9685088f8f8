"""Restores the state of plugins, which is checked first, then restored as a whole or not at all; and a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.diagnosis_content import DiagnosisContent
from rnncallbacks.config.option_types import structured
from rnncallbacks.core.object_state import has_state, has_state_dict, set_state, state_of
from rnncallbacks.core.plugin_state import saved_state
from rnncallbacks.core.saved_objects import made_value, own_types, package_of
from rnncallbacks.core.state_encoding import SavedObject, SavedState, class_name
from rnncallbacks.errors import CheckpointError, one_line, short_repr


def plugin_state(plugin: object) -> dict[str, Any]:
    """The state of a plugin by field: the plugin itself as ``state_dict`` if it has that method and its counterpart.

    Example
    -------
    >>> plugin_state(object())
    {}
    """
    return {"state_dict": plugin} if has_state_dict(plugin) else saved_state(plugin)


def checked_state(plugin: Any, fields: object, params: Any, what: str) -> dict[str, Any]:
    """The state of :func:`checked_fields` for a plugin, if its method ``check_state`` accepts it for these parameters.

    Raises
    ------
    CheckpointError
        As in :func:`checked_fields`, or the plugin refuses the state.
    """
    state = checked_fields(plugin, fields, what)
    if (check_state := getattr(type(plugin), "check_state", None)) is not None:
        try:
            check_state(plugin, state, params)
        except ValueError as error:
            raise CheckpointError(f"{what}: {error}", hint="the file was changed: resume from an earlier one") from None
    return state


def checked_fields(target: object, fields: object, what: str) -> dict[str, Any]:
    """The decoded state of an object, with the attrs objects in it made.

    An attrs object that the target holds already is to be restored in place, with its own options: its state becomes a
    dict of its fields. Other attrs objects are made. Types are those that the library's own classes declare:
    annotations of others may be for readers only.

    Parameters
    ----------
    target:
        The object that gets the state.
    fields:
        The state by field, as :func:`~rnncallbacks.core.state_encoding.decode` returns it.
    what:
        The object and the file, for messages.

    Raises
    ------
    CheckpointError
        The message lists the fields of both, or says what was expected.
    """
    here = plugin_state(target)
    if not isinstance(fields, Mapping) or fields.keys() != here.keys():
        there = sorted(fields) if isinstance(fields, Mapping) else fields
        raise CheckpointError(
            f"{what} has the state {sorted(here)}, the file has {there}",
            hint="a checkpoint belongs to one version of a plugin: leave the plugin out, or install that version",
        )
    types = own_types(type(target))
    found: dict[str, Any] = {}
    for name, current in here.items():
        value, place = fields[name], f"{what}, {name}"
        in_place = attrs.has(type(current)) and not has_state_dict(current)
        if in_place and isinstance(value, SavedObject) and value.class_name == class_name(type(current)):
            options = {field.name for field in attrs.fields(type(current)) if field.init}
            inner = {key: one for key, one in value.fields.items() if key not in options}
            found[name] = checked_fields(current, inner, place)
        elif in_place and name not in types:
            kept = value.class_name if isinstance(value, SavedObject) else short_repr(value)
            raise CheckpointError(f"{place}: expected a {type(current).__name__}, got {kept}")
        elif isinstance(value, SavedState):
            found[name] = value
        else:
            found[name] = made_value(value, types.get(name, Any), package_of(type(target)), place)
    return found


def restore_fields(target: object, fields: Mapping[str, Any]) -> None:
    """Set the state fields of an object, and of attrs objects in them."""
    for name, value in fields.items():
        current = getattr(target, name)
        if current is value or has_state_dict(target):  # its state was restored in place
            continue
        if attrs.has(type(current)) and isinstance(value, dict):
            restore_fields(current, value)
        else:
            object.__setattr__(target, name, value)  # past frozen classes


def restore_diagnosis(diagnosis: Diagnosis, content: Mapping[str, Any]) -> None:
    """Replace the content of a diagnosis by the plain values of ``diagnosis.content().to_dict()`` of another one."""
    diagnosis.restore(structured(content, DiagnosisContent))


class ObjectRestoration:
    """Restores saved states into existing generators and objects, and undoes this if one refuses its state.

    Example
    -------
    >>> import numpy as np
    >>> rng, restoration = np.random.default_rng(0), ObjectRestoration()
    >>> fields = {"rng": SavedState(np.random.PCG64(7).state), "seen": 3}
    >>> restoration.put({"rng": rng, "seen": 0}, fields, "plugin 'noise'") == {"rng": rng, "seen": 3}
    True
    >>> rng.random() == np.random.default_rng(7).random()
    True
    """

    def __init__(self) -> None:
        self._before: list[tuple[Any, Any]] = []

    def put(self, current: Any, value: Any, what: str) -> Any:
        """The value to keep in place of ``current``: each saved state in it was put into the object that is there.

        Raises
        ------
        CheckpointError
            There is no such object, or it does not accept the state; ``what`` names it.
        """
        if isinstance(value, SavedState):
            self._put_state(current, value.state, what)
            return current
        if type(value) is dict:
            known = current if isinstance(current, Mapping) else plugin_state(current)
            return {key: self.put(known.get(key), one, f"{what}, {key}") for key, one in value.items()}
        if isinstance(value, list | tuple):
            items = [*current] if isinstance(current, list | tuple) else []
            items += [None] * (len(value) - len(items))
            made = [self.put(old, new, what) for old, new in zip(items, value, strict=False)]
            return tuple(made) if isinstance(value, tuple) else made
        return value

    def undo(self) -> None:
        """Restore the former states."""
        while self._before:
            set_state(*self._before.pop())

    def _put_state(self, current: Any, state: Any, what: str) -> None:
        if not has_state(current):
            raise CheckpointError(
                f"{what}: the file has the state of an object with load_state_dict or of a generator, and the run has "
                f"{current!r}",
                hint="make the object before the run begins",
            )
        self._before.append((current, state_of(current)))
        try:
            set_state(current, state)
        except Exception as error:
            raise CheckpointError(f"{what} does not accept the state in the file: {one_line(error)}") from error
