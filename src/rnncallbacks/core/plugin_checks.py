"""Checks of a plugin when it is registered, for mistakes that pluggy accepts silently."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from rnncallbacks.core.hookspecs import HOOKS, HOOKS_VERSION, PROJECT
from rnncallbacks.errors import PluginError, closest, one_line

_CHECKED: WeakKeyDictionary[FunctionType, set[tuple[str, bool, bool]]] = WeakKeyDictionary()
"""Functions that implement hooks as methods should: the hook, ``wrapper`` and ``hookwrapper``. The functions of a class
stay the same, and inspecting those of all plugins would take milliseconds in each run."""


def hooks_of(plugin: object) -> dict[str, Callable[..., object]]:
    """The hook implementations of a plugin (an object or a class), by the hook that each implements."""
    return {
        options.get("specname") or attribute: value
        for attribute, value, options in _members(plugin)
        if options is not None and callable(value)
    }


def name_for(plugin: object) -> str:
    """The default name of a plugin: its class's name, or its module's, in snake_case."""
    named: Any = plugin if inspect.ismodule(plugin) or inspect.isclass(plugin) else type(plugin)
    return snake_case(named.__name__.rpartition(".")[2])


def snake_case(name: str) -> str:
    """The name in lower case with underscores.

    >>> snake_case("HiddenStateReset")
    'hidden_state_reset'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def check_hooks(plugin: object, name: str) -> frozenset[str]:
    """The attributes that implement hooks. An object that pluggy would never call, or call wrongly, is refused.

    Raises
    ------
    PluginError
        The message names the plugin and the fault, the hint the correction.
    """
    if inspect.isclass(plugin):
        raise PluginError(
            f"plugin {name!r}: expected an instance, got the class {plugin.__name__}", hint=f"write {plugin.__name__}()"
        )
    if isinstance(plugin, str):
        raise PluginError(
            f"plugin {plugin!r}: expected an object, got its name",
            hint=f"write plugins=load_plugins({{'plugins': {{{plugin!r}: {{}}}}}}), or import the class and make one",
        )
    if inspect.isroutine(plugin):
        hook = plugin.__name__.removeprefix("on_") if plugin.__name__ in HOOKS else "epoch_end"
        raise PluginError(
            f"plugin {plugin.__name__!r}: expected an object with hooks, got a function",
            hint=f"write on({hook!r}, {plugin.__name__ if plugin.__name__.isidentifier() else 'function'}), "
            "with on from rnncallbacks",
        )
    try:
        hash(plugin)
    except TypeError:
        raise PluginError(
            f"plugin {name!r}: {type(plugin).__name__} objects are not hashable",
            hint="define the class with @attrs.define(eq=False), or without __eq__",
        ) from None
    _check_version(name, getattr(plugin, "requires_hooks", 0))
    implementing = set()
    for attribute, value, options in _members(plugin):
        if options is not None:
            hook = options.get("specname") or attribute
            use = hook, bool(options.get("wrapper")), bool(options.get("hookwrapper"))
            checked = _CHECKED.setdefault(value.__func__, set()) if _is_plain_method(value) else set()
            if use not in checked:
                _check_implementation(name, hook, value, options)
                checked.add(use)
            implementing.add(attribute)
        elif attribute.startswith("on_") and callable(value):
            raise PluginError(
                f"plugin {name!r}: {attribute} has no @hookimpl, and would never be called",
                hint="decorate it with @hookimpl from rnncallbacks, or give it a name that does not begin with on_",
            )
    if not implementing:
        raise PluginError(
            f"plugin {name!r}: {type(plugin).__name__} implements no hook",
            hint=f"decorate at least one method with @hookimpl; the hooks are {', '.join(HOOKS)}",
        )
    return frozenset(implementing)


def check_hook_name(hook: str, owner: str) -> None:
    """Refuse the name of a hook that does not exist; ``owner`` names the caller in the error.

    Raises
    ------
    PluginError
        The hint names the closest hook.
    """
    if hook not in HOOKS:
        raise PluginError(
            f"{owner}: there is no hook {hook!r}", hint=closest(hook, HOOKS) or f"the hooks are {', '.join(HOOKS)}"
        )


def are_equal(one: object, other: object, name: str) -> bool:
    """Whether two plugins compare equal; ``name`` is that of the second.

    Raises
    ------
    PluginError
        They cannot be compared.
    """
    try:
        return bool(one == other)
    except Exception as error:
        raise PluginError(
            f"plugin {name!r} cannot be compared with others: {one_line(error)}",
            hint="define the class with @attrs.define(eq=False), or without __eq__",
        ) from error


def _members(plugin: object) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """The name, the value and the ``@hookimpl`` options of each attribute, without computing properties."""
    of_class: dict[str, Any] = {}
    for base in reversed(inspect.getmro(plugin if inspect.isclass(plugin) else type(plugin))):
        of_class.update(vars(base))
    try:
        attributes = dir(plugin)
    except Exception as error:
        raise PluginError(f"plugin {name_for(plugin)!r}: its attributes cannot be listed: {one_line(error)}") from error
    for attribute in attributes:
        if isinstance(of_class.get(attribute), property | cached_property):
            continue
        try:
            value = getattr(plugin, attribute, None)
            options = getattr(value, f"{PROJECT}_impl", None)
        except Exception as error:
            raise PluginError(
                f"plugin {name_for(plugin)!r}: its attribute {attribute!r} cannot be read: {one_line(error)}",
                hint="an attribute of a plugin is read when the plugin is registered; compute it in a method",
            ) from error
        yield attribute, value, options if isinstance(options, dict) else None


def _is_plain_method(function: object) -> bool:
    """Whether it is a method of a function with a signature of its own."""
    return (
        inspect.ismethod(function)
        and isinstance(function.__func__, FunctionType)
        and not vars(function.__func__).keys() & {"__wrapped__", "__signature__"}
    )


def _check_version(name: str, required: object) -> None:
    """Refuse a plugin that needs hooks which this version of the library does not have."""
    if isinstance(required, bool) or not isinstance(required, int):
        raise PluginError(
            f"plugin {name!r}: requires_hooks: expected a whole number, got {required!r}",
            hint="write requires_hooks: ClassVar[int] = rnncallbacks.__hooks_version__, as a number",
        )
    if required > HOOKS_VERSION:
        raise PluginError(
            f"plugin {name!r} needs version {required} of the hooks, but this rnncallbacks has version {HOOKS_VERSION}",
            hint="update it: pip install --upgrade rnncallbacks",
        )


def _check_self(name: str, hook: str, function: Any) -> None:
    """Refuse a method whose first argument is one of the hook's: Python passes the plugin there."""
    owner = getattr(function, "__self__", None)
    if owner is None or inspect.ismodule(owner):
        return
    parameters = list(inspect.signature(function.__func__).parameters) if inspect.ismethod(function) else ["self"]
    if not parameters or parameters[0] in HOOKS[hook]:
        first = f"its first argument is {parameters[0]!r}" if parameters else "it takes no argument"
        raise PluginError(
            f"plugin {name!r}: {hook} is a method, and {first}, where Python passes the plugin itself",
            hint=f"write def {hook}({', '.join(['self', *parameters])})",
        )


def _check_implementation(name: str, hook: str, function: Any, options: Mapping[str, Any]) -> None:
    check_hook_name(hook, f"plugin {name!r}")
    if not inspect.isroutine(function):
        raise PluginError(
            f"plugin {name!r}: {hook} is a {type(function).__name__}, and only functions and methods are called",
            hint="write it with def",
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PluginError(f"plugin {name!r}: {hook} is async, and would never be awaited", hint="write a plain def")
    if options.get("wrapper") and options.get("hookwrapper"):
        raise PluginError(
            f"plugin {name!r}: {hook} is marked with wrapper and hookwrapper", hint="write @hookimpl(wrapper=True)"
        )
    _check_self(name, hook, function)
    if inspect.isgeneratorfunction(function) != bool(options.get("wrapper") or options.get("hookwrapper")):
        raise PluginError(
            f"plugin {name!r}: {hook} must yield if it is a wrapper, and only then; otherwise its body would never run",
            hint="write @hookimpl(wrapper=True) above a function with one yield, or leave both out",
        )
    for parameter in inspect.signature(function).parameters.values():
        plain = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if not plain or parameter.default is not parameter.empty:
            raise PluginError(
                f"plugin {name!r}: {hook} takes {parameter}, but hook arguments are plain names without a default",
                hint=f"name those of {', '.join(HOOKS[hook])} that it needs",
            )
        if parameter.name not in HOOKS[hook]:
            raise PluginError(
                f"plugin {name!r}: {hook} takes {parameter.name!r}, which is not among {', '.join(HOOKS[hook])}",
                hint=closest(parameter.name, HOOKS[hook]) or "remove the argument",
            )
