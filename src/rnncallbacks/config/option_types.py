"""The types of options: as text, and as a check of values written in TOML."""

from __future__ import annotations

import functools
import inspect
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    import cattrs

_SEQUENCES = (list, tuple)


def type_text(annotation: Any) -> str:
    """A type in Python's notation.

    Example
    -------
    >>> import typing
    >>> type_text(typing.Optional[Literal["a", "b"]])
    "Literal['a', 'b'] | None"
    """
    if annotation is Any or annotation is inspect.Parameter.empty:
        return "Any"
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is ...:
        return "..."
    if isinstance(annotation, str):
        return annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if _is_union(annotation):
        return " | ".join(type_text(one) for one in arguments)
    if origin is Literal:
        return f"Literal[{', '.join(repr(one) for one in arguments)}]"
    if origin is not None and arguments and not isinstance(arguments[0], list):
        return f"{getattr(origin, '__name__', origin)}[{', '.join(type_text(one) for one in arguments)}]"
    if isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")


def literals_of(annotation: Any) -> list[Any]:
    """The values that a ``Literal`` type allows, also within a union; empty for other types."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for one in get_args(annotation) for word in literals_of(one)] if _is_union(annotation) else []


def structured(value: Any, annotation: Any) -> Any:
    """The value as the type. Only an int is converted to a float and a string to a path.

    Raises
    ------
    Exception
        The value does not fit the type.

    Example
    -------
    >>> structured(5, float), structured(["a"], tuple[str, ...])
    (5.0, ('a',))
    """
    return _converter().structure(value, annotation)


@functools.cache
def _converter() -> cattrs.Converter:
    # Imported here: it is slow to import, and a script that makes its plugins itself needs none of it.
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(int, lambda value, kind: _instance(value, int))
    converter.register_structure_hook(float, lambda value, kind: float(_instance(value, int, float)))
    converter.register_structure_hook(str, lambda value, kind: _instance(value, str))
    converter.register_structure_hook(bool, lambda value, kind: _instance(value, bool))
    converter.register_structure_hook(Path, lambda value, kind: _path(_instance(value, str, Path)))
    converter.register_structure_hook_func(lambda kind: _plain(kind) is Literal, _literal)
    # An object that a program passes in a mapping or an override: no file has one.
    converter.register_structure_hook_func(
        lambda kind: getattr(kind, "_is_runtime_protocol", False), lambda value, kind: _instance(value, kind)
    )
    converter.register_structure_hook_func(_is_union, functools.partial(_union, converter))
    converter.register_structure_hook_func(
        lambda kind: _plain(kind) in _SEQUENCES, functools.partial(_sequence, converter)
    )
    converter.register_structure_hook_func(lambda kind: _plain(kind) is dict, functools.partial(_dict, converter))
    return converter


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _plain(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def _instance(value: Any, *kinds: type) -> Any:
    # bool is a subclass of int, but true is not meant as 1.
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return value
    raise TypeError


def _path(value: str | Path) -> Path:
    if value == "":  # which pathlib takes for the working directory
        raise ValueError
    return Path(value)


def _literal(value: Any, kind: Any) -> Any:
    for word in get_args(kind):
        if type(word) is type(value) and word == value:
            return word
    raise ValueError


def _union(converter: cattrs.Converter, value: Any, kind: Any) -> Any:
    if value is None and type(None) in get_args(kind):
        return None
    for one in sorted(get_args(kind), key=lambda one: one is not type(value)):  # an int stays one in float | int
        try:
            return converter.structure(value, one)
        except Exception:
            continue
    raise TypeError


def _sequence(converter: cattrs.Converter, value: Any, kind: Any) -> Any:
    values = _instance(value, *_SEQUENCES)
    make = _plain(kind)
    arguments = get_args(kind)
    if not arguments:
        return make(values)
    if make is tuple and not (len(arguments) == 2 and arguments[1] is ...):
        return tuple(converter.structure(one, to) for one, to in zip(values, arguments, strict=True))
    return make(converter.structure(one, arguments[0]) for one in values)


def _dict(converter: cattrs.Converter, value: Any, kind: Any) -> Any:
    keys, values = get_args(kind) or (Any, Any)
    items = _instance(value, dict).items()
    return {converter.structure(key, keys): converter.structure(one, values) for key, one in items}
