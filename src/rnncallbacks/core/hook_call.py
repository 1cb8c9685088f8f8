"""Calls the implementations of a hook as pluggy does, those that are ahead before the others.

A hook is called two or three times in each batch, with a dozen implementations. pluggy collects the arguments of each
by name, and its call passes through four functions; here, the order and the arguments are known in advance.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any

import pluggy

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.plugin_attributes import is_of_first_rank
from rnncallbacks.core.plugin_times import PluginTimes

Taking = Callable[[Mapping[str, Any]], tuple[Any, ...]]


class HookCall:
    """One hook of all plugins.

    Parameters
    ----------
    caller:
        pluggy's caller of the hook.
    times:
        Measures the implementations; None to measure nothing.

    Attributes
    ----------
    implementations:
        Those of the hook, in the order in which they are called.

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

    def __init__(self, caller: pluggy.HookCaller, times: PluginTimes | None = None) -> None:
        in_order = caller.get_hookimpls()[::-1]  # pluggy keeps them in reverse
        self.implementations = sorted(in_order, key=lambda one: not is_ahead(one))
        self._has_wrappers = any(map(is_wrapper, self.implementations))
        self._steps: list[tuple[Callable[..., Any], Taking, bool]] = []
        for one in self.implementations:
            function: Callable[..., Any] = _new_style(one.function) if one.hookwrapper else one.function
            if "grads" in one.argnames and not is_of_first_rank(one.plugin):
                function = _noting_change(function, one.argnames.index("grads"))
            if times is not None:
                measured = times.measured_wrapper if is_wrapper(one) else times.measured
                function = measured(one.plugin_name, caller.name, function)
            self._steps.append((function, _taking(one.argnames), is_wrapper(one)))

    def __call__(self, arguments: Mapping[str, object]) -> Any:
        """Call the implementations in turn; return what they returned, except for None.

        Raises
        ------
        BaseException
            What an implementation raised; the implementations after it are not called.
        """
        returned: list[object] = []
        if not self._has_wrappers:
            for function, take, _ in self._steps:
                result: Any = function(*take(arguments))
                if result is not None:
                    returned.append(result)
            return returned
        wrappers: list[Generator[None, object, object]] = []
        failed: BaseException | None = None
        try:
            for function, take, wraps in self._steps:
                result = function(*take(arguments))
                if wraps:
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

    def without(self, plugins: Collection[object]) -> HookCall | None:
        """The call of the other plugins; None if they do not implement the hook."""
        left_out = set(map(id, plugins))
        kept = [id(one.plugin) not in left_out for one in self.implementations]
        return self._selected(kept) if True in kept else None

    def only_ahead(self, then: Callable[[Mapping[str, object]], Any]) -> HookCall:
        """The call of the implementations that are ahead, and of ``then`` after them, with the arguments by name."""

        def call(arguments: Mapping[str, object]) -> object:
            returned = then(arguments)
            return next(iter(returned), None) if isinstance(returned, list) else returned

        ahead = self._selected([is_ahead(one) for one in self.implementations])
        ahead._steps.append((call, lambda arguments: (arguments,), False))
        return ahead

    def _selected(self, kept: Sequence[bool]) -> HookCall:
        others = HookCall.__new__(HookCall)  # not copy.copy, which takes longer than most of the hook's calls
        others.implementations = list(compress(self.implementations, kept))
        others._steps = list(compress(self._steps, kept))
        others._has_wrappers = any(wraps for _, _, wraps in others._steps)
        return others


def is_ahead(implementation: pluggy.HookImpl) -> bool:
    """Whether an implementation has the option ``ahead``."""
    return bool(implementation.opts.get("ahead"))


def is_wrapper(implementation: pluggy.HookImpl) -> bool:
    """Whether an implementation is called around others, in either of pluggy's styles."""
    return implementation.wrapper or implementation.hookwrapper


def _new_style(function: Any) -> Callable[..., Generator[None, object, object]]:
    """A wrapper in pluggy's old style, which gets the outcome as an object, as one in the new style."""

    @functools.wraps(function)
    def wrapper(*arguments: object) -> Generator[None, object, object]:
        generator = function(*arguments)
        _begin(generator)
        try:
            outcome = pluggy.Result((yield), None)
        except BaseException as error:
            outcome = pluggy.Result(None, error)
        try:
            generator.send(outcome)
        except StopIteration:
            return outcome.get_result()
        generator.close()
        raise RuntimeError(f"{_called(generator)} has a second yield")

    return wrapper


def _noting_change(function: Callable[..., Any], place: int) -> Callable[..., Any]:
    """An implementation that may change the gradients, its argument at ``place``."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        returned = function(*arguments)
        if isinstance(arguments[place], Gradients):  # a wrapper has returned a generator, which begins after this
            arguments[place].note_change()
        return returned

    return call


def _taking(names: tuple[str, ...]) -> Taking:
    """A function from all arguments by name to those of these names."""
    if len(names) > 1:
        return itemgetter(*names)
    if not names:
        return lambda arguments: ()
    (name,) = names
    return lambda arguments: (arguments[name],)


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
