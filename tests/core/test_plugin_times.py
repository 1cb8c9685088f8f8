"""The time of plugins: what is counted, for whom, and that nothing is measured unless it is asked for."""

import pytest

from rnncallbacks import Run, hookimpl, on
from rnncallbacks.core import plugin_times
from rnncallbacks.testing import play


class Clock:
    """Time that passes where a plugin says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(plugin_times, "perf_counter", clock)
    return clock


def takes(clock, seconds):
    def function():
        clock.now += seconds

    return function


def test_each_plugin_and_hook_has_its_seconds(clock):
    class Two:
        @hookimpl
        def on_batch_end(self):
            clock.now += 1.0

        @hookimpl
        def on_fit_end(self):
            clock.now += 5.0

    other = on("batch_end", takes(clock, 0.25))
    run = play({"two": Two(), "other": other}, losses=[1.0] * 3, profile_plugins=True)
    assert run.plugin_seconds == {
        "two": {"on_batch_end": 3.0, "on_fit_end": 5.0},
        "other": {"on_batch_end": 0.75},
    }


def test_the_script_between_the_halves_of_a_wrapper_is_not_counted(clock):
    class Around:
        @hookimpl(wrapper=True)
        def on_backward(self):
            clock.now += 1.0
            result = yield
            clock.now += 2.0
            return result

    class OldAround:
        @hookimpl(hookwrapper=True)
        def on_backward(self):
            clock.now += 4.0
            yield
            clock.now += 8.0

    inner = on("backward", takes(clock, 100.0))
    run = play({"inner": inner, "around": Around(), "old": OldAround()}, losses=[1.0] * 2, profile_plugins=True)
    assert run.plugin_seconds == {
        "inner": {"on_backward": 200.0},
        "around": {"on_backward": 6.0},
        "old": {"on_backward": 24.0},
    }


def test_plugins_that_another_calls_have_their_own_time(clock):
    def fire(run):
        clock.now += 1.0
        run.raise_alarm("X1", "it fired", cause="a cause", remedy="a remedy", severity="info")
        clock.now += 2.0

    plugins = {"guard": on("epoch_end", fire), "listener": on("alarm", takes(clock, 10.0))}
    run = play(plugins, losses=[1.0], profile_plugins=True)
    assert run.plugin_seconds == {"guard": {"on_epoch_end": 3.0}, "listener": {"on_alarm": 10.0}}


def test_what_fails_is_counted(clock):
    def fail():
        clock.now += 1.0
        raise ValueError("a fault")

    with (
        pytest.raises(ValueError, match="a fault"),
        Run(plugins=[on("epoch_start", fail)], profile_plugins=True) as run,
    ):
        next(run.epochs(1))
    assert run.plugin_seconds == {"on_epoch_start": {"on_epoch_start": 1.0}}


def test_without_it_functions_are_called_as_they_are():
    run = play([on("epoch_end", lambda: None)], losses=[1.0])
    assert run.plugin_seconds == {}
    (function, _, _) = run.plugins._calls["on_epoch_end"]._steps[0]
    assert function is run.plugins.implementations("on_epoch_end")[0].function
