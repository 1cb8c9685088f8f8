"""The options of a plugin: the parameters of its class or function, and the check of their values."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from rnncallbacks.config.option_types import literals_of, structured, type_text
from rnncallbacks.errors import closest, one_line, short_repr

NAMED_PARAMETERS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
MOST_OPTIONS = 1000
"""More options than any plugin has; messages about each of them would take seconds."""
_FACTORY: Any = attrs.Factory  # typed as a function, but a class


@attrs.frozen
class Option:
    """One option of a plugin.

    Attributes
    ----------
    name:
        Its name.
    annotation:
        Its type; ``Any`` if it has none.
    default:
        Its default value, or None if it is required.
    required:
        Whether it has no default.
    """

    name: str
    annotation: Any
    default: Any
    required: bool

    @property
    def type(self) -> str:
        """The type as text: ``float``, ``int | None``, ``Literal['global', 'value']``."""
        return type_text(self.annotation)


_OPTIONS: WeakKeyDictionary[type, dict[str, Option]] = WeakKeyDictionary()
"""Of attrs classes: reading signature and annotations takes longer than making a plugin."""


def options_of(factory: Callable[..., object]) -> dict[str, Option]:
    """The options that a plugin's class or function takes, by name, in the order of its signature.

    For an attrs class these are the fields with ``init=True``.

    Example
    -------
    >>> def make(max_norm: float = 5.0, mode: typing.Literal["global", "value"] = "global"): ...
    >>> for option in options_of(make).values():
    ...     print(option.name, option.type, option.default)
    max_norm float 5.0
    mode Literal['global', 'value'] global
    """
    if not (isinstance(factory, type) and attrs.has(factory)):
        return _read_options(factory)
    if factory not in _OPTIONS:
        _OPTIONS[factory] = _read_options(factory)
    return dict(_OPTIONS[factory])


def _read_options(factory: Callable[..., object]) -> dict[str, Option]:
    fields = _fields(factory)
    found = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind not in NAMED_PARAMETERS:
            continue
        field = fields.get(parameter.name)
        default = parameter.default if field is None else _default(field)
        required = parameter.default is parameter.empty
        annotation = _annotation(factory, parameter.name if field is None else field.name, parameter.annotation)
        found[parameter.name] = Option(parameter.name, annotation, None if required else default, required)
    return found


def options_in(made: object) -> dict[str, Any]:
    """The options of a plugin or another object by name, with the values that its attributes of these names have.

    Example
    -------
    >>> class Clipping:
    ...     def __init__(self, max_norm: float = 5.0) -> None:
    ...         self.max_norm = max_norm
    >>> options_in(Clipping(max_norm=1.0))
    {'max_norm': 1.0}
    """
    kind = type(made)
    if attrs.has(kind):
        return {(one.alias or one.name): getattr(made, one.name) for one in attrs.fields(kind) if one.init}
    try:
        names = list(inspect.signature(kind).parameters)
    except (TypeError, ValueError):
        return {}
    return {name: getattr(made, name) for name in names if hasattr(made, name)}


def make_plugin(factory: Callable[..., object], given: Mapping[str, Any]) -> tuple[object, list[tuple[str, str]]]:
    """The plugin with the given options, and the problems as pairs of an option's name and a message.

    The plugin is None if there are problems. The name is empty for a problem that belongs to no single option.

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
    values, problems = _typed_values(factory, options, given)
    problems += [
        (option.name, f"is required: expected {option.type}, got nothing")
        for option in options.values()
        if option.required and option.name not in given
    ]
    problems += _refused_by_validators(factory, values)
    if problems:
        return None, problems
    try:
        return factory(**values), []
    except (Exception, SystemExit) as error:
        return None, [("", one_line(error))]


def _typed_values(
    factory: Callable[..., object], options: Mapping[str, Option], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The values of the options' types, and the problems with the others."""
    if len(given) > MOST_OPTIONS:
        return {}, [("", f"expected at most {MOST_OPTIONS} options, got {len(given)}")]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(factory).parameters.values())
    values: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, value in given.items():
        option = options.get(name)
        if option is not None:
            try:
                values[name] = structured(value, option.annotation)
            except Exception:
                problems.append((name, _mismatch(option, value)))
        elif takes_any:
            values[name] = value
        else:
            known = ", ".join(options) or "none"
            hint = closest(name, options) or f"the options are: {known}"
            problems.append((name, f"there is no such option; {hint}"))
    return values, problems


def _mismatch(option: Option, value: Any) -> str:
    words = [word for word in literals_of(option.annotation) if isinstance(word, str)]
    if words:
        near = closest(value, words) if isinstance(value, str) else ""
        expected = " or ".join(map(repr, literals_of(option.annotation)))
        return f"expected {expected}, got {short_repr(value)}" + (f"; {near}" if near else "")
    # With the type, because the quotes of "got '5'" are easily overlooked.
    return f"expected {option.type}, got {short_repr(value)} ({type(value).__name__})"


def _refused_by_validators(factory: Callable[..., object], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The errors of the converters and validators of all fields; attrs itself stops at the first."""
    fields = _fields(factory)
    if not fields or not isinstance(factory, type):
        return
    # Validators receive the object, which cannot be made before all of them pass: use one with the given fields.
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
            continue  # it reads a field that was not given; making the plugin will run it again
        except Exception as error:
            yield name, _without_place(one_line(error), factory, field.name)


def _without_place(message: str, factory: type, name: str) -> str:
    """The message without the class and field at its beginning: the configuration's table and key replace them."""
    return message.removeprefix(f"{factory.__name__}: ").removeprefix(f"{name}: ")


def _fields(factory: Callable[..., object]) -> dict[str, attrs.Attribute[Any]]:
    """The fields of an attrs class that are options, by the name of the argument."""
    if not (isinstance(factory, type) and attrs.has(factory)):
        return {}
    return {field.alias or field.name: field for field in attrs.fields(factory) if field.init}


def _default(field: attrs.Attribute[Any]) -> Any:
    made: Any = field.default
    if not isinstance(made, _FACTORY):
        return made
    return None if made.takes_self else made.factory()


def _annotation(factory: Callable[..., object], name: str, annotation: Any) -> Any:
    """The annotation as a type; ``Any`` for text that cannot be evaluated."""
    holder = inspect.unwrap(factory)
    if isinstance(factory, type):
        # Text refers to names of the module of the class that wrote it, which is a base class for an inherited field.
        # The signature has no annotation for a field with a converter.
        owners = [one for one in factory.__mro__ if name in inspect.get_annotations(one)]
        if owners:
            holder, annotation = owners[0], inspect.get_annotations(owners[0])[name]
    if annotation is inspect.Parameter.empty:
        return Any
    module = sys.modules.get(getattr(holder, "__module__", ""))
    # One at a time, because other annotations may name what is imported for type checkers only.
    single = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(single, globalns=vars(module) if module else {})[name]
    except Exception:
        return Any
