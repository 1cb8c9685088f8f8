"""The call of a hook does what pluggy's does: order, results, errors, wrappers."""

from itertools import product

import pluggy
import pytest

from rnncallbacks.core.hook_call import HookCall
from rnncallbacks.core.hookspecs import PROJECT, hookimpl


def plain(log, name, result=None, error=None):
    class Plain:
        @hookimpl
        def on_backward(self, batch, run):
            log.append((name, batch, run))
            if error is not None:
                raise error
            return result

    return Plain()


def wrapping(log, name, *, error_before=None, error_after=None, swallow=False, yields=1, result=None):
    class Wrapping:
        @hookimpl(wrapper=True)
        def on_backward(self, grads):
            log.append((name, grads))
            if error_before is not None:
                raise error_before
            for _ in range(yields):
                try:
                    got = yield
                except Exception as error:
                    if not swallow:
                        raise
                    got = type(error)
                log.append((name, got))
            if error_after is not None:
                raise error_after
            return got if result is None else result

    return Wrapping()


def old_style(log, name):
    class OldStyle:
        @hookimpl(hookwrapper=True)
        def on_backward(self):
            log.append((name, "before"))
            outcome = yield
            log.append((name, outcome.get_result()))

    return OldStyle()


INNER = [
    lambda log: plain(log, "inner"),
    lambda log: plain(log, "inner", result=3),
    lambda log: plain(log, "inner", error=ValueError("inner")),
    lambda log: plain(log, "inner", error=StopIteration("inner")),
    lambda log: plain(log, "inner", error=KeyboardInterrupt()),
]
OUTER = [
    lambda log: plain(log, "outer", result=1),
    lambda log: wrapping(log, "outer"),
    lambda log: wrapping(log, "outer", result=5),
    lambda log: wrapping(log, "outer", swallow=True),
    lambda log: wrapping(log, "outer", error_before=KeyError("before")),
    lambda log: wrapping(log, "outer", error_after=KeyError("after")),
    lambda log: wrapping(log, "outer", yields=0, result=2),
]


def outcome(call, log):
    log.clear()
    try:
        return call(), None, list(log)
    except BaseException as error:
        return None, type(error), list(log)


@pytest.mark.parametrize("outer", OUTER)
def test_it_does_what_pluggy_does(outer):
    for middle, inner in product(OUTER, INNER):
        manager, log = pluggy.PluginManager(PROJECT), []
        for name, plugin in (("inner", inner), ("middle", middle), ("outer", outer)):
            manager.register(plugin(log), name)
        arguments = {"run": "run", "batch": "batch", "grads": "grads"}
        caller = manager.hook.on_backward
        theirs = outcome(lambda caller=caller, arguments=arguments: caller(**arguments), log)
        call = HookCall(caller)
        ours = outcome(lambda call=call, arguments=arguments: call(arguments), log)
        assert ours == theirs


def test_wrappers_of_the_old_style_get_the_results():
    manager, log = pluggy.PluginManager(PROJECT), []
    manager.register(plain(log, "inner", result=1))
    manager.register(old_style(log, "outer"))
    assert HookCall(manager.hook.on_backward)({"run": "run", "batch": "batch"}) == [1]
    assert log == [("outer", "before"), ("inner", "batch", "run"), ("outer", [1])]


def test_a_wrapper_that_yields_twice_is_an_error_that_the_wrappers_around_it_see():
    manager, log = pluggy.PluginManager(PROJECT), []
    manager.register(wrapping(log, "inner", yields=2))
    manager.register(wrapping(log, "outer", swallow=True))
    assert HookCall(manager.hook.on_backward)({"grads": "grads"}) is RuntimeError
