"""A plugin made from one function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from rnncallbacks.core.hookspecs import HOOKS, hookimpl
from rnncallbacks.errors import PluginError, closest, short_repr

PREFIX = "on_"
NAMES = [hook.removeprefix(PREFIX) for hook in HOOKS]


class FunctionPlugin:
    """A plugin that implements one hook by a function; :func:`on` makes it."""


def on(hook: str, function: Callable[..., object]) -> FunctionPlugin:
    """Make a plugin that calls a function.

    Parameters
    ----------
    hook:
        The hook without ``on_``, such as "epoch_end".
    function:
        A function, a method or a callable object whose parameters are among the hook's arguments. What it returns is
        dropped, except in "backward", where a returned value is an error as it is in every plugin.

    Raises
    ------
    PluginError
        There is no such hook, or the function cannot be called.

    Example
    -------
    >>> from rnncallbacks import Run
    >>> with Run(plugins=[on("epoch_end", lambda summary: print(f"epoch {summary.epoch} ended"))]) as run:
    ...     for epoch in run.epochs(2):
    ...         pass
    epoch 1 ended
    epoch 2 ended
    """
    if hook not in NAMES:
        hint = closest(hook, NAMES) if isinstance(hook, str) else ""
        raise PluginError(f"on: there is no hook {hook!r}", hint=hint or f"the hooks are {', '.join(NAMES)}")
    if not callable(function):
        raise PluginError(
            f"on({hook!r}, ...): expected a function, got {short_repr(function)}",
            hint="leave out the parentheses after it",
        )

    # pluggy reads the names of parameters from the code of a function or a method.
    called: Any = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004
    if not hasattr(inspect.unwrap(called), "__code__"):
        raise PluginError(
            f"on({hook!r}, ...): the parameters of {short_repr(function)} are not known",
            hint="put it in a function: lambda run: ...",
        )

    @functools.wraps(called)
    def call(*arguments: object) -> Any:
        returned = called(*arguments)
        return returned if hook == "backward" else None

    name = PREFIX + hook
    kind = type(f"On{hook.title().replace('_', '')}", (FunctionPlugin,), {name: staticmethod(hookimpl(call))})
    plugin: FunctionPlugin = kind()
    return plugin
