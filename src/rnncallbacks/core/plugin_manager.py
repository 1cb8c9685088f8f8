"""The plugins of one run: their order, start and end, calls, and the note on an exception that one of them raised."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import pluggy

from rnncallbacks.core import hookspecs
from rnncallbacks.core.arguments import describe
from rnncallbacks.core.hook_call import HookCall
from rnncallbacks.core.hookspecs import HOOKS, Hook
from rnncallbacks.core.interrupts import InterruptGate
from rnncallbacks.core.plugin_attributes import check_codes, check_repairs, is_admitted
from rnncallbacks.core.plugin_checks import are_equal, check_hook_name, check_hooks, name_for
from rnncallbacks.core.plugin_frames import runs_in
from rnncallbacks.core.plugin_owners import claim, release
from rnncallbacks.core.plugin_state import reset_state
from rnncallbacks.core.plugin_times import PluginTimes
from rnncallbacks.core.resting import BatchHookCall, by_hook
from rnncallbacks.errors import PluginError, closest

if TYPE_CHECKING:
    from rnncallbacks.core.run import Run

PluginsGiven = Mapping[str, object] | Iterable[object]
Where = Callable[[], str]


class HookManager(pluggy.PluginManager):
    """pluggy's manager, which reads only the attributes that are known to specify or to implement hooks.

    Each run has a manager. It registers all plugins again whenever one is added or taken out, and pluggy would read
    every attribute of each. ``implementing`` names, by the ``id`` of a plugin, its attributes that implement hooks.
    """

    def __init__(self, implementing: Mapping[int, frozenset[str]]) -> None:
        super().__init__(hookspecs.PROJECT)
        self._implementing = implementing
        self.add_hookspecs(hookspecs)

    def parse_hookspec_opts(self, module_or_class: object, name: str) -> pluggy.HookspecOpts | None:
        return super().parse_hookspec_opts(module_or_class, name) if name in HOOKS else None  # type: ignore[arg-type]

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        return super().parse_hookimpl_opts(plugin, name) if name in self._implementing[id(plugin)] else None


class Plugins(Mapping[str, object]):
    """The plugins registered on one run, by name, in the order in which they are called.

    It is a mapping; change it with ``run.register`` and ``run.unregister``.

    Parameters
    ----------
    plugins:
        An iterable of plugins, or a mapping from name to plugin.
    where:
        A function that returns the position of the run, for the note on an exception.
    times:
        Measures the plugins; None to measure nothing.

    Raises
    ------
    PluginError
        An object cannot serve as a plugin, or two have one name.
    """

    def __init__(
        self, plugins: PluginsGiven, where: Where = lambda: "outside a run", times: PluginTimes | None = None
    ) -> None:
        self._where = where
        self.times = times
        self._plugins: dict[str, object] = {}
        self._implementing: dict[int, frozenset[str]] = {}
        self._run: Run | None = None
        self._ended_plugins: list[object] = []
        # By hook: None where no plugin implements the hook, so that such a call costs next to nothing.
        self._calls: dict[str, HookCall | BatchHookCall | None] = {}
        if not isinstance(plugins, Iterable) or isinstance(plugins, str):
            hint = "call it: plugins=recommended()" if inspect.isfunction(plugins) else "write plugins=[...]"
            raise PluginError(f"expected a list or a mapping of plugins, got {plugins!r}", hint=hint)
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

    def implementations(self, hook: Hook) -> list[pluggy.HookImpl]:
        """The implementations of a hook, in the order in which they are called."""
        call = self._calls[hook]
        return [] if call is None else call.implementations

    def register(self, plugin: object, name: str | None = None) -> str:
        """Add a plugin after the others and return its name: ``name``, or its class's name in snake_case.

        Once the plugins were started, the new one is started at once.

        Raises
        ------
        PluginError
            The object cannot serve as a plugin; the message says which hook is wrong and why.
        """
        if self._run is not None:
            claim({name or name_for(plugin): plugin}, self)
        name = self._add(plugin, name)
        self._rebuild()
        if self._run is not None:
            reset_state(plugin)
            raise_first(self.call_each("on_fit_start", only=plugin, run=self._run))
        return name

    def unregister(self, name: str) -> object:
        """Take a plugin out and return it; once the plugins were started, its ``on_fit_end`` is called first.

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
        plugin, run = self._plugins[name], self._run
        has_ended = any(one is plugin for one in self._ended_plugins)
        errors = [] if run is None or has_ended else self.call_each("on_fit_end", only=plugin, run=run)
        self._ended_plugins = [one for one in self._ended_plugins if one is not plugin]
        self._plugins.pop(name, None)  # its on_fit_end may have taken it out
        release({name: plugin}, self)
        self._rebuild()
        raise_first(errors)
        return plugin

    def check_usable(self) -> None:
        """Refuse plugins that cannot be used in this run, and keep them from other runs.

        Raises
        ------
        PluginError, OptionError
            Names the plugin.
        """
        check_codes(self)
        check_repairs(self)
        claim(self, self)

    def start(self, run: Run) -> None:
        """Reset the state of the plugins, except what a checkpoint restored, and call ``on_fit_start``."""
        self._run = run
        for plugin in self.values():
            reset_state(plugin, keep_saved=run.epoch > 0)
        self.call("on_fit_start", run=run)

    def end(self, run: Run, error: BaseException | None) -> list[BaseException]:
        """Call ``on_exception`` if there is an error, then ``on_fit_end``; return what the plugins raised.

        An interrupt ends the call of one plugin, and not those of the others.
        """
        with InterruptGate() as gate:
            errors = [] if error is None else self.call_each("on_exception", gate=gate, run=run, error=error)
            errors += self.call_each("on_fit_end", gate=gate, run=run)
        release(self, self)
        return [*errors, KeyboardInterrupt()] if gate.kept else errors

    def call(self, hook: Hook, **arguments: object) -> None:
        """Call a hook of every plugin. The first exception ends the call; its note names plugin, hook and place.

        Raises
        ------
        PluginError
            There is no such hook.
        """
        try:
            call = self._calls[hook]
        except KeyError:
            check_hook_name(hook, "Plugins.call")
            raise
        if call is None:
            return
        try:
            returned = call(arguments)
        except BaseException as error:
            culprit = self._culprit(call, error)
            _add_note(error, f"in {culprit}, hook {hook}, {self._where()}")
            if isinstance(error, StopIteration):  # the loop's generators would turn it into a RuntimeError
                raise PluginError(f"{culprit}, hook {hook}, raised StopIteration") from error
            raise
        # The results of a call leave out None, and a wrapper may replace their list by anything.
        results = returned if isinstance(returned, list) else [returned]
        if results and results[0] is not None:
            names = ", ".join(repr(one.plugin_name) for one in call.implementations)
            raise PluginError(
                f"hook {hook} of one of the plugins {names} returned {describe(results[0])}, expected None",
                hint="change arrays in place, for example grads['w'][...] = value, and return nothing",
            )

    def call_each(
        self, hook: Hook, only: object = None, gate: InterruptGate | None = None, **arguments: object
    ) -> list[BaseException]:
        """Call a hook of every plugin, or of the plugin ``only``, and return the exceptions that they raised.

        ``gate`` controls when an interrupt may be raised.

        Raises
        ------
        PluginError
            There is no such hook.
        """
        check_hook_name(hook, "Plugins.call_each")
        call, gate = self._calls[hook], gate or InterruptGate()
        errors: list[BaseException] = []
        if call is None:
            return errors
        for name in dict.fromkeys(one.plugin_name for one in call.implementations):
            plugin = self._plugins.get(name)  # None if a plugin that was just called unregistered it
            if plugin is None or (only is not None and plugin is not only):
                continue
            others = [other for other in self._plugins.values() if other is not plugin]
            if hook == "on_fit_end":
                self._ended_plugins.append(plugin)
            try:
                caller = self._manager.subset_hook_caller(hook, others)
                measured = caller if self.times is None else self.times.measured(name, hook, caller)
                gate.call(measured, **arguments)
            except BaseException as error:
                errors.append(error)
                _add_note(error, f"in plugin {name!r}, hook {hook}, {self._where()}")
        return errors

    def _add(self, plugin: object, name: str | None) -> str:
        if name is None:
            name = name_for(plugin)
        if not isinstance(name, str) or not name:
            raise PluginError(f"expected a plugin's name as a non-empty string, got {name!r}")
        implementing = check_hooks(plugin, name)
        if name in self._plugins:
            raise PluginError(
                f"two plugins are called {name!r}",
                hint="give each its own name: plugins={'first': ..., 'second': ...} or register(plugin, name)",
            )
        for other_name, other in self._plugins.items():
            if other is plugin:
                raise PluginError(f"plugin {name!r} is registered already, as {other_name!r}")
            if are_equal(other, plugin, name):
                raise PluginError(
                    f"plugin {name!r} compares equal to {other_name!r}, and only one of the two would be called",
                    hint="define the class with @attrs.define(eq=False), or without __eq__",
                )
        self._plugins[name] = plugin
        self._implementing[id(plugin)] = implementing
        return name

    def _rebuild(self) -> None:
        manager = HookManager(self._implementing)
        admitted = {name: plugin for name, plugin in self._plugins.items() if is_admitted(plugin, self.values())}
        for name, plugin in reversed(admitted.items()):  # pluggy calls the last registered first
            manager.register(plugin, name=name)
        self._manager = manager
        calls = {hook: HookCall(getattr(manager.hook, hook), self.times) for hook in HOOKS}
        self._calls = by_hook(calls, admitted.values())

    def _culprit(self, call: HookCall | BatchHookCall, error: BaseException) -> str:
        """The plugin in whose frame the error was raised; pluggy does not report it.

        The innermost frame counts, since wrappers of other plugins surround it. Frames beyond a nested call of a hook
        do not count: that call adds its own note.
        """
        implementations = call.implementations
        suspects = implementations
        trace = error.__traceback__ and error.__traceback__.tb_next
        while trace is not None and trace.tb_frame.f_code is not Plugins.call.__code__:
            frame = trace.tb_frame
            suspects = [one for one in implementations if runs_in(one.function, frame)] or suspects
            trace = trace.tb_next
        names = list(dict.fromkeys(repr(one.plugin_name) for one in suspects))
        return f"plugin {names[0]}" if len(names) == 1 else f"one of the plugins {', '.join(names)}"


def raise_first(errors: list[BaseException], *, unless: BaseException | None = None) -> None:
    """Raise the first error, with a note for each of the others; ``unless`` is an error that is being raised already.

    Example
    -------
    >>> raise_first([])
    """
    if not errors:
        return
    first, *others = errors
    for other in others:
        _add_note(first, f"then {_in_words(other)}")
    if first is not unless:
        raise first


def _add_note(error: BaseException, note: str) -> None:
    """Add the note. An exception whose class refuses notes is left unchanged."""
    with contextlib.suppress(Exception):
        error.add_note(note)


def _in_words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}, {'; '.join(getattr(error, '__notes__', []))}"
    except Exception:  # its __str__ fails
        return type(error).__name__
