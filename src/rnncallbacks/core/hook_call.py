"""Calls the implementations of a hook as pluggy does, without what pluggy looks up again in each call.

A hook is called two or three times in each batch, with a dozen implementations. pluggy collects the arguments of each
by name, and its call passes through four functions; here, the order and the arguments are known in advance.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from operator import itemgetter
from typing import Any

import pluggy


class HookCall:
    """One hook of all plugins.

    Parameters
    ----------
    caller:
        pluggy's caller of the hook. It is used for wrappers in pluggy's old style.

    Example
    -------
    >>> from rnncallbacks.core.hookspecs import hookimpl
    >>> class Printing:
    ...     @hookimpl
    ...     def on_epoch_start(self, run):
    ...         print(run)
    >>> manager = pluggy.PluginManager("rnncallbacks")
    >>> _ = manager.register(Printing())
    >>> HookCall(manager.hook.on_epoch_start)({"run": "a run"})
    a run
    []
    """

    def __init__(self, caller: pluggy.HookCaller) -> None:
        self.implementations = caller.get_hookimpls()[::-1]  # pluggy keeps them in reverse
        self._old_style = caller if any(one.hookwrapper for one in self.implementations) else None
        self._steps = [(one, _taking(one.argnames), one.wrapper) for one in self.implementations]

    def __call__(self, arguments: Mapping[str, object]) -> Any:
        """Call the implementations in turn; return what they returned, except for None.

        Raises
        ------
        BaseException
            What an implementation raised; the implementations after it are not called.
        """
        if self._old_style is not None:
            return self._old_style(**arguments)
        wrappers: list[Generator[None, object, object]] = []
        returned: list[object] = []
        failed: BaseException | None = None
        try:
            for implementation, take, is_wrapper in self._steps:
                result: Any = implementation.function(*take(arguments))
                if is_wrapper:
                    _begin(result)
                    wrappers.append(result)
                elif result is not None:
                    returned.append(result)
        except BaseException as error:
            failed = error
        if wrappers:
            return _end(wrappers, returned, failed)
        if failed is not None:
            raise failed
        return returned


def _taking(names: tuple[str, ...]) -> Callable[[Mapping[str, object]], tuple[object, ...]]:
    """A function from all arguments by name to those of these names."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda arguments: tuple(arguments[name] for name in names)


def _begin(wrapper: Generator[None, object, object]) -> None:
    try:
        next(wrapper)
    except StopIteration:
        raise RuntimeError(f"{_called(wrapper)} did not yield") from None


def _end(wrappers: list[Generator[None, object, object]], returned: object, failed: BaseException | None) -> object:
    """Let the wrappers continue, the innermost first: each may replace the result, or the error."""
    for wrapper in reversed(wrappers):
        try:
            if failed is None:
                wrapper.send(returned)
            else:
                wrapper.throw(failed)
        except StopIteration as end:
            returned, failed = end.value, None
        except BaseException as error:
            # A generator turns a StopIteration that passes through it into a RuntimeError.
            if not (isinstance(failed, StopIteration) and error.__cause__ is failed):
                failed = error
        else:
            wrapper.close()
            failed = RuntimeError(f"{_called(wrapper)} has a second yield")
    if failed is not None:
        raise failed
    return returned


def _called(wrapper: Any) -> str:
    code = wrapper.gi_code
    return f"the wrapper {code.co_name!r} at {code.co_filename}:{code.co_firstlineno}"
