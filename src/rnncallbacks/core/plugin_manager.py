"""The plugins of one run: their order, what is refused, and what an exception in one of them says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from types import FrameType
from typing import Any

import pluggy

from rnncallbacks.core import hookspecs
from rnncallbacks.errors import PluginError, closest

HOOKS: Mapping[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if name.startswith("on_")
}
"""Every hook and its arguments."""

PluginsGiven = Mapping[str, object] | Iterable[object]


class Plugins(Mapping[str, object]):
    """The plugins registered on one run, by name, in the order in which they are called.

    Read it as a mapping; ``run.register`` and ``run.unregister`` change it.

    ``where`` says where the run stands, for the note on an exception.
    """

    def __init__(self, plugins: PluginsGiven, where: Callable[[], str] = lambda: "outside a run") -> None:
        self._where = where
        self._plugins: dict[str, object] = {}
        self._active: dict[str, pluggy.HookCaller] = {}
        if not isinstance(plugins, Iterable) or isinstance(plugins, str):
            raise PluginError(f"expected a list or a mapping of plugins, got {plugins!r}", hint="write plugins=[...]")
        named = plugins.items() if isinstance(plugins, Mapping) else ((None, plugin) for plugin in plugins)
        for name, plugin in named:
            self._add(plugin, name)
        self._rebuild()

    def __getitem__(self, name: str) -> object:
        return self._plugins[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plugins)

    def __len__(self) -> int:
        return len(self._plugins)

    def name_of(self, plugin: object) -> str:
        """The name under which ``plugin`` is registered.

        Raises
        ------
        PluginError
            It is not registered.
        """
        for name, registered in self._plugins.items():
            if registered is plugin:
                return name
        raise PluginError(f"{plugin!r} is not registered", hint="register it before it is used")

    def register(self, plugin: object, name: str | None = None) -> str:
        """Add a plugin behind the others and return its name: ``name``, or its class's name in snake_case.

        Raises
        ------
        PluginError
            The object cannot serve as a plugin; the message says what is wrong with which hook.
        """
        name = self._add(plugin, name)
        self._rebuild()
        return name

    def unregister(self, name: str) -> object:
        """Take a plugin out and return it.

        Raises
        ------
        PluginError
            No plugin has this name.
        """
        if name not in self._plugins:
            raise PluginError(
                f"no plugin is registered as {name!r}; registered: {', '.join(self._plugins) or 'none'}",
                hint=closest(name, self._plugins),
            )
        plugin = self._plugins.pop(name)
        self._rebuild()
        return plugin

    def call(self, hook: str, **arguments: object) -> None:
        """Call a hook of every plugin; an exception carries a note that names the plugin, and stops the rest."""
        caller = self._active.get(hook)
        if caller is None:
            return
        try:
            caller(**arguments)
        except BaseException as error:
            error.add_note(f"in {self._culprit(caller, error)}, hook {hook}, {self._where()}")
            raise

    def call_each(self, hook: str, only: object = None, **arguments: object) -> list[BaseException]:
        """Call a hook of every plugin (or of the one in ``only``), even if others fail, and return what they raised."""
        caller = self._active.get(hook)
        failures: list[BaseException] = []
        if caller is None:
            return failures
        # pluggy keeps implementations in the reverse of the order in which it calls them.
        for name in dict.fromkeys(one.plugin_name for one in reversed(caller.get_hookimpls())):
            plugin = self._plugins.get(name)  # None if another plugin took it out just now
            if plugin is None or (only is not None and plugin is not only):
                continue
            others = [other for other in self._plugins.values() if other is not plugin]
            try:
                self._manager.subset_hook_caller(hook, others)(**arguments)
            except BaseException as error:
                error.add_note(f"in plugin {name!r}, hook {hook}, {self._where()}")
                failures.append(error)
        return failures

    def _add(self, plugin: object, name: str | None) -> str:
        if name is None:
            named = plugin if inspect.ismodule(plugin) or inspect.isclass(plugin) else type(plugin)
            name = named.__name__.rpartition(".")[2]
            name = snake_case(name)
        if not isinstance(name, str) or not name:
            raise PluginError(f"expected a plugin's name to be a word, got {name!r}")
        _check_plugin(plugin, name)
        if name in self._plugins:
            raise PluginError(
                f"two plugins are called {name!r}",
                hint="give each a name of its own: plugins={'first': ..., 'second': ...} or register(plugin, name)",
            )
        for other_name, other in self._plugins.items():
            if other is plugin:
                raise PluginError(f"plugin {name!r} is registered already, as {other_name!r}")
            if other == plugin:
                raise PluginError(
                    f"plugin {name!r} compares equal to {other_name!r}, and only one of the two would be called",
                    hint="define the class with @attrs.define(eq=False), or without __eq__",
                )
        self._plugins[name] = plugin
        return name

    def _rebuild(self) -> None:
        # pluggy calls the last registered first; lists of plugins read first to last.
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        for name, plugin in reversed(self._plugins.items()):
            manager.register(plugin, name=name)
        self._manager = manager
        callers = {name: getattr(manager.hook, name) for name in HOOKS}
        self._active = {name: caller for name, caller in callers.items() if caller.get_hookimpls()}

    def _culprit(self, caller: pluggy.HookCaller, error: BaseException) -> str:
        """The plugin in whose frame the error arose: pluggy itself does not say.

        The innermost frame counts, as wrappers of other plugins stand around it; but not beyond the next call of a
        hook, which has its own note.
        """
        implementations = caller.get_hookimpls()[::-1]
        suspects = implementations
        trace = error.__traceback__ and error.__traceback__.tb_next
        while trace is not None and trace.tb_frame.f_code is not Plugins.call.__code__:
            frame = trace.tb_frame
            suspects = [one for one in implementations if _runs_in(one.function, frame)] or suspects
            trace = trace.tb_next
        names = list(dict.fromkeys(repr(one.plugin_name) for one in suspects))
        return f"plugin {names[0]}" if len(names) == 1 else f"one of the plugins {', '.join(names)}"


def _runs_in(function: Callable[..., object], frame: FrameType) -> bool:
    """Whether the frame is a call of ``function``, and of this instance's if it is a method."""
    inner = inspect.unwrap(function)
    if frame.f_code is getattr(inner, "__code__", None):
        owner = getattr(function, "__self__", None)
        return owner is None or frame.f_locals.get(frame.f_code.co_varnames[0]) is owner
    return frame.f_code is getattr(function, "__code__", None)


def snake_case(name: str) -> str:
    """The name in lower case with underscores.

    >>> snake_case("HiddenStateReset")
    'hidden_state_reset'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def hooks_of(plugin: object) -> dict[str, Callable[..., object]]:
    """The hook implementations of a plugin (an object or a class), by the hook that each implements."""
    return {
        options.get("specname") or attribute: value
        for attribute, value, options in _members(plugin)
        if options is not None and callable(value)
    }


def _members(plugin: object) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """Each attribute's name, its value, and the options of its ``@hookimpl`` if any; properties are not computed."""
    for attribute in dir(plugin):
        if isinstance(inspect.getattr_static(plugin, attribute, None), property | cached_property):
            continue
        value = getattr(plugin, attribute, None)
        options = getattr(value, f"{hookspecs.PROJECT}_impl", None)
        yield attribute, value, options if isinstance(options, dict) else None


def _check_plugin(plugin: object, name: str) -> None:
    """Refuse what pluggy would take without a word and then never call, or call wrongly."""
    if inspect.isclass(plugin):
        raise PluginError(
            f"plugin {name!r}: expected an instance, got the class {plugin.__name__}", hint=f"write {plugin.__name__}()"
        )
    try:
        hash(plugin)
    except TypeError:
        raise PluginError(
            f"plugin {name!r}: {type(plugin).__name__} objects are not hashable",
            hint="define the class with @attrs.define(eq=False), or without __eq__",
        ) from None
    implements_any = False
    for attribute, value, options in _members(plugin):
        if options is not None:
            _check_implementation(name, options.get("specname") or attribute, value, options)
            implements_any = True
        elif attribute.startswith("on_") and callable(value):
            raise PluginError(
                f"plugin {name!r}: {attribute} has no @hookimpl, and would never be called",
                hint="decorate it with @hookimpl from rnncallbacks, or give it a name that does not begin with on_",
            )
    if not implements_any:
        raise PluginError(
            f"plugin {name!r}: {type(plugin).__name__} implements no hook",
            hint=f"decorate at least one method with @hookimpl; the hooks are {', '.join(HOOKS)}",
        )


def _check_implementation(name: str, hook: str, function: Any, options: Mapping[str, Any]) -> None:
    if hook not in HOOKS:
        raise PluginError(
            f"plugin {name!r}: there is no hook {hook!r}",
            hint=closest(hook, HOOKS) or f"the hooks are {', '.join(HOOKS)}",
        )
    if not inspect.isroutine(function):
        raise PluginError(
            f"plugin {name!r}: {hook} is a {type(function).__name__}, and only functions and methods are called",
            hint="write it with def",
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PluginError(f"plugin {name!r}: {hook} is async, and would never be awaited", hint="write a plain def")
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
                hint=closest(parameter.name, HOOKS[hook]) or "take the argument out; the others are given by name",
            )
