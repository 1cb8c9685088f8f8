"""What a plugin's factory takes, and whether the options that somebody wrote will do."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import attrs

from rnncallbacks.errors import RnnCallbacksError, closest

if TYPE_CHECKING:
    import cattrs

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_SEQUENCES = (list, tuple)
_FACTORY: Any = attrs.Factory  # for mypy, which takes it for a function


@attrs.frozen
class Option:
    """One option of a plugin.

    ``annotation`` is its type; ``default`` is what it has when it is not given, and None if it is ``required``.
    """

    name: str
    annotation: Any
    default: Any
    required: bool

    @property
    def type(self) -> str:
        """The type as text: ``float``, ``int | None``, ``Literal['global', 'value']``."""
        return type_text(self.annotation)


def options_of(factory: Callable[..., object]) -> dict[str, Option]:
    """The options that a plugin's class or function takes, by name, in its order.

    For an attrs class these are the fields with ``init=True``.

    Example
    -------
    >>> def make(max_norm: float = 5.0, mode: Literal["global", "value"] = "global"): ...
    >>> for option in options_of(make).values():
    ...     print(option.name, option.type, option.default)
    max_norm float 5.0
    mode Literal['global', 'value'] global
    """
    fields = _fields(factory)
    found = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind not in NAMED:
            continue
        field = fields.get(parameter.name)
        default = parameter.default if field is None else _default(field)
        required = parameter.default is parameter.empty
        annotation = _annotation(factory, parameter.name if field is None else field.name, parameter.annotation)
        found[parameter.name] = Option(parameter.name, annotation, None if required else default, required)
    return found


def make_plugin(factory: Callable[..., object], given: Mapping[str, Any]) -> tuple[object, list[tuple[str, str]]]:
    """The plugin with the given options, and the problems: pairs of the option's name and what is wrong with it.

    With problems there is no plugin. A problem that belongs to no single option has an empty name.

    Example
    -------
    >>> def make(max_norm: float = 5.0): ...
    >>> make_plugin(make, {"max_nrom": "5"})
    (None, [('max_nrom', "there is no such option; did you mean 'max_norm'?")])
    """
    try:
        options = options_of(factory)
    except (TypeError, ValueError) as error:
        return None, [("", f"its options cannot be read: {one_line(error)}")]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(factory).parameters.values())
    values: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, value in given.items():
        option = options.get(name)
        if option is not None:
            try:
                values[name] = _converter().structure(value, option.annotation)
            except Exception:
                problems.append((name, _mismatch(option, value)))
        elif takes_any:
            values[name] = value
        else:
            problems.append((name, _unknown(name, options)))
    problems += [
        (option.name, f"is required: expected {option.type}, got nothing")
        for option in options.values()
        if option.required and option.name not in given
    ]
    problems += _out_of_range(factory, values)
    if problems:
        return None, problems
    try:
        return factory(**values), []
    except (Exception, SystemExit) as error:
        return None, [("", one_line(error))]


def type_text(annotation: Any) -> str:
    """A type as one writes it.

    Example
    -------
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


def one_line(error: BaseException) -> str:
    """What an error says, on one line, its hint behind it."""
    if isinstance(error, RnnCallbacksError):
        text = f"{error.message}; {error.hint}" if error.hint else error.message
    elif isinstance(error, (ValueError, TypeError)) and error.args and isinstance(error.args[0], str):
        # attrs' own validators put the field, the validator and the value behind the message.
        text = error.args[0]
    else:
        text = f"{type(error).__name__}: {error}"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _unknown(name: str, options: Mapping[str, Option]) -> str:
    known = ", ".join(options) or "none"
    return f"there is no such option; {closest(name, options) or f'the options are: {known}'}"


def _mismatch(option: Option, value: Any) -> str:
    expected = f"expected {option.type}, got {value!r}"
    words = [word for word in _literals(option.annotation) if isinstance(word, str)]
    near = closest(value, words) if isinstance(value, str) else ""
    if near:
        return f"{expected}; {near}"
    # "expected int, got 5.0" speaks for itself; of "got '5'" the quotes are easily overlooked.
    return expected if words else f"{expected} ({type(value).__name__})"


def _out_of_range(factory: Callable[..., object], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the validators of an attrs class find, of every field and not just the first."""
    fields = _fields(factory)
    if not fields or not isinstance(factory, type):
        return
    # Validators may look at their owner, which does not exist before they have passed: give them its fields, no more.
    owner: Any = object.__new__(factory)
    for name, value in values.items():
        field = fields[name]
        try:
            convert: Any = field.converter or (lambda value: value)
            object.__setattr__(owner, field.name, convert(value))
        except Exception as error:
            yield name, _without_place(one_line(error), factory, field.name)
            continue
    for name in values:
        field = fields[name]
        if field.validator is None or not hasattr(owner, field.name):
            continue
        try:
            field.validator(owner, field, getattr(owner, field.name))
        except AttributeError:
            continue  # it compares with a field that is not there yet: the finished plugin will tell
        except Exception as error:
            yield name, _without_place(one_line(error), factory, field.name)


def _without_place(message: str, factory: type, name: str) -> str:
    """The message without the class and field in front of it: the configuration's table and key stand there."""
    return message.removeprefix(f"{factory.__name__}: ").removeprefix(f"{name}: ")


def _fields(factory: Callable[..., object]) -> dict[str, attrs.Attribute[Any]]:
    """The fields of an attrs class that are options, by the name under which they are given."""
    if not (isinstance(factory, type) and attrs.has(factory)):
        return {}
    return {field.alias or field.name: field for field in attrs.fields(factory) if field.init}


def _default(field: attrs.Attribute[Any]) -> Any:
    made: Any = field.default
    if not isinstance(made, _FACTORY):
        return made
    return None if made.takes_self else made.factory()


def _annotation(factory: Callable[..., object], name: str, annotation: Any) -> Any:
    """The annotation as a type; text that cannot be evaluated stands for any type."""
    holder = inspect.unwrap(factory)
    if isinstance(factory, type):
        # A field that is inherited was written in its own class's module; only there is one with a converter typed.
        owners = [one for one in factory.__mro__ if name in inspect.get_annotations(one)]
        if owners:
            holder, annotation = owners[0], inspect.get_annotations(owners[0])[name]
    if annotation is inspect.Parameter.empty:
        return Any
    module = sys.modules.get(getattr(holder, "__module__", ""))
    # One at a time: a field of state beside it may well name what is imported for type checkers only.
    single = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(single, globalns=vars(module) if module else {})[name]
    except Exception:
        return Any


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _literals(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for one in get_args(annotation) for word in _literals(one)] if _is_union(annotation) else []


@functools.cache
def _converter() -> cattrs.Converter:
    """Structures values as they are written in TOML, and refuses to guess: no "5" for 5, no true for 1."""
    # Imported here: it is slow to import, and a script that makes its plugins itself needs none of it.
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(int, lambda value, kind: _instance(value, int))
    converter.register_structure_hook(float, lambda value, kind: float(_instance(value, int, float)))
    converter.register_structure_hook(str, lambda value, kind: _instance(value, str))
    converter.register_structure_hook(bool, lambda value, kind: _instance(value, bool))
    converter.register_structure_hook(Path, lambda value, kind: Path(_instance(value, str, Path)))
    converter.register_structure_hook_func(lambda kind: _plain(kind) is Literal, _literal)
    converter.register_structure_hook_func(_is_union, functools.partial(_union, converter))
    converter.register_structure_hook_func(
        lambda kind: _plain(kind) in _SEQUENCES, functools.partial(_sequence, converter)
    )
    converter.register_structure_hook_func(lambda kind: _plain(kind) is dict, functools.partial(_dict, converter))
    return converter


def _plain(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def _instance(value: Any, *kinds: type) -> Any:
    # bool is a subclass of int, and nobody means 1 by true.
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return value
    raise TypeError


def _literal(value: Any, kind: Any) -> Any:
    for word in get_args(kind):
        if type(word) is type(value) and word == value:
            return word
    raise ValueError


def _union(converter: cattrs.Converter, value: Any, kind: Any) -> Any:
    if value is None and type(None) in get_args(kind):
        return None
    for one in get_args(kind):
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
