"""The time that each plugin takes in each hook, measured where it is called."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any


class PluginTimes:
    """The seconds of the plugins of a run.

    If a hook of one plugin calls those of others, as a guard that raises an alarm does, the time of the others is not
    counted for it.

    Attributes
    ----------
    seconds:
        Seconds by plugin name, then by hook.

    Example
    -------
    >>> times = PluginTimes()
    >>> times.measured("slow", "on_epoch_end", sum)([1, 2])
    3
    >>> list(times.seconds["slow"])
    ['on_epoch_end']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}
        self._within = 0.0  # seconds of the calls within the current one

    def measured(self, plugin: str, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of a plugin, with its time counted for this hook."""

        def call(*arguments: object, **named: object) -> Any:
            outside, self._within = self._within, 0.0
            start = perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                passed = perf_counter() - start
                hooks = self.seconds.setdefault(plugin, {})
                hooks[hook] = hooks.get(hook, 0.0) + passed - self._within
                self._within = outside + passed

        return call

    def measured_wrapper(self, plugin: str, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The generator function of a wrapper, with the time of both halves counted."""
        make = self.measured(plugin, hook, function)

        def wrapper(*arguments: object) -> MeasuredGenerator:
            return MeasuredGenerator(make(*arguments), lambda method: self.measured(plugin, hook, method))

        return wrapper


class MeasuredGenerator:
    """A generator whose time is counted while it runs, and not while it waits."""

    def __init__(self, generator: Any, measured: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self.gi_code = generator.gi_code
        self.send = measured(generator.send)
        self.throw = measured(generator.throw)
        self.close = generator.close

    def __next__(self) -> Any:
        return self.send(None)
