"""The plugins of one run: the order of calls, names, and whom the note on an exception names."""

import ast
import functools
import itertools
import re
import types
from pathlib import Path

import attrs
import numpy as np
import pytest

import rnncallbacks
from rnncallbacks.core.hookspecs import HOOKS, HOOKS_VERSION, hookimpl
from rnncallbacks.core.plugin_manager import Plugins, raise_first
from rnncallbacks.errors import PluginError


class Recorder:
    """Writes its word into a list that it shares with others."""

    def __init__(self, calls, word):
        self.calls, self.word = calls, word

    @hookimpl
    def on_epoch_start(self):
        self.calls.append(self.word)

    @hookimpl
    def on_fit_end(self):
        self.calls.append(f"{self.word} ends")


class First(Recorder):
    @hookimpl(tryfirst=True)
    def on_epoch_start(self):
        super().on_epoch_start()

    @hookimpl(tryfirst=True)
    def on_fit_end(self):
        super().on_fit_end()


class Last(Recorder):
    @hookimpl(trylast=True)
    def on_epoch_start(self):
        super().on_epoch_start()

    @hookimpl(trylast=True)
    def on_fit_end(self):
        super().on_fit_end()


class Around(Recorder):
    @hookimpl(wrapper=True)
    def on_epoch_start(self):
        self.calls.append(f"{self.word} before")
        yield
        self.calls.append(f"{self.word} after")


class Failing:
    def __init__(self, error):
        self.error = error

    def fail(self):
        raise self.error

    @hookimpl
    def on_epoch_start(self, run):
        self.fail()

    @hookimpl
    def on_fit_end(self):
        self.fail()


def test_plugins_are_called_in_the_order_in_which_they_are_listed():
    calls = []
    plugins = Plugins({word: Recorder(calls, word) for word in "cab"})
    plugins.call("on_epoch_start", run=None)
    assert calls == ["c", "a", "b"]
    assert list(plugins) == ["c", "a", "b"]


def test_tryfirst_and_trylast_move_a_plugin_and_wrappers_stand_around_all():
    calls = []
    plugins = Plugins([Last(calls, "last"), Recorder(calls, "one"), Around(calls, "around"), First(calls, "first")])
    plugins.register(Recorder(calls, "two"), "two")
    plugins.call("on_epoch_start", run=None)
    assert calls == ["around before", "first", "one", "two", "last", "around after"]


class Reduces(Recorder):
    """Adds up what several processes have: the gradients first of all, the averages once they are computed."""

    @hookimpl(ahead=True)
    def on_backward(self):
        self.calls.append(f"{self.word} gradients")

    @hookimpl(ahead=True, trylast=True)
    def on_epoch_end(self):
        self.calls.append(f"{self.word} averages")


class Averages(Recorder):
    @hookimpl(ahead=True)
    def on_epoch_end(self):
        self.calls.append(self.word)


@pytest.mark.parametrize("names", list(itertools.permutations(["reduces", "averages", "around", "inspects"])))
def test_a_plugin_can_be_first_in_one_hook_and_behind_another_in_the_next_wherever_it_is_listed(names):
    calls = []

    class Inspects:
        @hookimpl(tryfirst=True)
        def on_backward(self):
            calls.append("inspects")

        @hookimpl(tryfirst=True)
        def on_epoch_end(self):
            calls.append("inspects")

    class Surrounds:
        @hookimpl(wrapper=True, tryfirst=True)
        def on_backward(self):
            calls.append("around before")
            yield

        @hookimpl(wrapper=True, tryfirst=True)
        def on_epoch_end(self):
            calls.append("around before")
            yield

    made = {
        "reduces": Reduces(calls, "reduces"),
        "averages": Averages(calls, "averages"),
        "around": Surrounds(),
        "inspects": Inspects(),
    }
    plugins = Plugins({name: made[name] for name in names})
    plugins.call("on_backward", run=None, batch=None, grads=None)
    assert calls == ["reduces gradients", "around before", "inspects"]
    calls.clear()
    plugins.call("on_epoch_end", run=None, summary=None)
    assert calls == ["averages", "reduces averages", "around before", "inspects"]


def test_a_wrapper_that_is_ahead_surrounds_what_is_not():
    calls = []

    class Outermost(Recorder):
        @hookimpl(wrapper=True, ahead=True)
        def on_epoch_start(self):
            self.calls.append("ahead before")
            yield
            self.calls.append("ahead after")

    Plugins([Around(calls, "around"), First(calls, "first"), Outermost(calls, "")]).call("on_epoch_start", run=None)
    assert calls == ["ahead before", "around before", "first", "around after", "ahead after"]


@pytest.mark.parametrize(
    ("required", "message"),
    [
        (
            HOOKS_VERSION + 1,
            rf"needs version {HOOKS_VERSION + 1} of the hooks, .* has version {HOOKS_VERSION}\n.*--upgrade",
        ),
        ("1", r"requires_hooks: expected a whole number, got '1'"),
    ],
)
def test_a_plugin_can_require_a_version_of_the_hooks(required, message):
    class Future(Recorder):
        requires_hooks = required

    class Present(Recorder):
        requires_hooks = rnncallbacks.__hooks_version__

    Plugins([Present([], "")])
    with pytest.raises(PluginError, match=message):
        Plugins([Future([], "")])


def test_what_is_no_function_cannot_be_marked():
    with pytest.raises(TypeError, match=r"expected a function, got 'on_epoch_end'; .*specname"):
        hookimpl("on_epoch_end")


def test_call_each_follows_the_same_order():
    calls = []
    plugins = Plugins([Last(calls, "last"), Recorder(calls, "one"), First(calls, "first")])
    assert plugins.call_each("on_fit_end", run=None) == []
    assert calls == ["first ends", "one ends", "last ends"]


def test_call_each_goes_on_past_failures_and_returns_them_with_the_plugins_name():
    calls, errors = [], [ValueError("a"), KeyboardInterrupt()]
    plugins = Plugins(
        {"a": Failing(errors[0]), "sound": Recorder(calls, "sound"), "b": Failing(errors[1])}, lambda: "epoch 7"
    )
    assert plugins.call_each("on_fit_end", run=None) == errors
    assert calls == ["sound ends"]
    assert errors[0].__notes__ == ["in plugin 'a', hook on_fit_end, epoch 7"]
    assert errors[1].__notes__ == ["in plugin 'b', hook on_fit_end, epoch 7"]


def test_call_each_can_call_one_plugin_only():
    calls = []
    plugins = Plugins({word: Recorder(calls, word) for word in "ab"})
    plugins.call_each("on_fit_end", only=plugins["b"], run=None)
    assert calls == ["b ends"]


def test_a_plugin_that_another_takes_out_at_the_end_is_not_called_any_more():
    calls = []

    class TakesOut:
        @hookimpl
        def on_fit_end(self):
            plugins.unregister("b")

    plugins = Plugins({"a": TakesOut(), "b": Recorder(calls, "b"), "c": Recorder(calls, "c")})
    plugins.call_each("on_fit_end", run=None)
    assert calls == ["c ends"]


def test_an_implementation_gets_just_the_arguments_that_it_names():
    seen = []

    class Subset:
        @hookimpl
        def on_batch_end(self, batch):
            seen.append(batch)

        @hookimpl
        def on_epoch_end(self, summary, run):
            seen.append((run, summary))

        @staticmethod
        @hookimpl
        def on_fit_start(run):
            seen.append(run)

        @classmethod
        @hookimpl
        def on_fit_end(cls):
            seen.append(cls)

    plugins = Plugins([Subset()])
    plugins.call("on_batch_end", run="run", batch="batch")
    plugins.call("on_epoch_end", run="run", summary="summary")
    plugins.call("on_fit_start", run="run")
    plugins.call("on_fit_end", run="run")
    assert seen == ["batch", ("run", "summary"), "run", Subset]


def test_specname_lets_a_plugin_implement_one_hook_twice():
    calls = []

    class Twice:
        @hookimpl(tryfirst=True, specname="on_epoch_end")
        def before_anyone(self):
            calls.append("before")

        @hookimpl(trylast=True)
        def on_epoch_end(self):
            calls.append("after")

    plugins = Plugins({"twice": Twice(), "other": EpochEnd(calls)})
    plugins.call("on_epoch_end", run=None, summary=None)
    assert calls == ["before", "epoch end", "after"]
    calls.clear()
    plugins.call_each("on_epoch_end", run=None, summary=None)
    assert sorted(calls) == ["after", "before", "epoch end"]


class EpochEnd:
    def __init__(self, calls):
        self.calls = calls

    @hookimpl
    def on_epoch_end(self):
        self.calls.append("epoch end")


def a_module(name, calls):
    module = types.ModuleType(name)

    @hookimpl
    def on_epoch_start(run):
        calls.append((name, run))

    module.on_epoch_start = on_epoch_start
    return module


def test_a_module_is_a_plugin_named_by_its_last_part():
    calls = []
    plugins = Plugins([a_module("acme.quiet", calls), a_module("acme.Loud", calls)])
    assert list(plugins) == ["quiet", "loud"]
    plugins.call("on_epoch_start", run=1)
    assert calls == [("acme.quiet", 1), ("acme.Loud", 1)]


def test_two_instances_of_one_class_live_side_by_side_under_two_names():
    calls = []
    first, second = Recorder(calls, "first"), Recorder(calls, "second")
    plugins = Plugins({"first": first, "second": second})
    plugins.call("on_epoch_start", run=None)
    assert calls == ["first", "second"]
    assert plugins.name_of(second) == "second"
    assert plugins["first"] is first
    assert plugins.unregister("first") is first
    plugins.call("on_epoch_start", run=None)
    assert calls[2:] == ["second"]


def test_a_plugin_is_named_after_its_class():
    plugins = Plugins([Recorder([], "")])
    assert list(plugins) == ["recorder"]
    assert plugins.register(Recorder([], ""), "other") == "other"
    assert len(plugins) == 2


@pytest.mark.parametrize("plugins", [[], [Recorder([], "")]])
@pytest.mark.parametrize("call", [Plugins.call, Plugins.call_each])
def test_a_misspelled_hook_is_an_error_in_the_core_too(call, plugins):
    with pytest.raises(PluginError, match=r"there is no hook 'on_bacward'\n.*did you mean 'on_backward'"):
        call(Plugins(plugins), "on_bacward", run=None, batch=None, grads=None)


def test_every_call_of_a_hook_in_the_library_gives_its_arguments():
    """pluggy drops an argument that the hook does not have, and misses one only where a plugin names it."""
    calls = [
        (node.args[0].value, {keyword.arg for keyword in node.keywords} - {"only", "gate"})
        for path in Path(rnncallbacks.__file__).parent.rglob("*.py")
        if re.search(r"\.call(_each)?\(", text := path.read_text("utf-8"))  # parsing all modules takes a second
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("call", "call_each")
        if re.fullmatch(r"self\.(plugins\.)?call(_each)?", ast.unparse(node.func))
    ]
    assert {hook for hook, _ in calls} == set(HOOKS)
    assert [(hook, given) for hook, given in calls if given != set(HOOKS[hook])] == []


def test_an_empty_hook_has_nothing_to_call_and_one_that_lost_its_plugins_neither():
    calls = []
    plugins = Plugins([Recorder(calls, "one")])
    plugins.call("on_batch_start", run=None, batch=None)
    plugins.unregister("recorder")
    plugins.call("on_epoch_start", run=None)
    assert plugins.call_each("on_fit_end", run=None) == []
    assert calls == []


# Names and doubles ------------------------------------------------------------------------------------------------


@attrs.frozen
class Equal:
    patience: int = 3

    @hookimpl
    def on_epoch_end(self, run):
        """Only one of two equal plugins would be called."""


def test_an_equal_object_is_refused_as_only_one_of_the_two_would_be_called():
    with pytest.raises(PluginError, match=r"'second' compares equal to 'first'.*\n.*eq=False"):
        Plugins({"first": Equal(), "second": Equal()})
    assert list(Plugins({"first": Equal(), "second": Equal(patience=5)})) == ["first", "second"]


def test_one_object_under_two_names_is_refused():
    plugin = Recorder([], "")
    with pytest.raises(PluginError, match="'second' is registered already, as 'first'"):
        Plugins({"first": plugin, "second": plugin})


def test_an_object_that_cannot_serve_is_not_registered():
    plugins = Plugins([])
    with pytest.raises(PluginError, match="'recorder': expected an instance"):
        plugins.register(Recorder)
    assert dict(plugins) == {}


def test_two_of_one_name_are_refused_with_the_way_out():
    with pytest.raises(PluginError, match=r"two plugins are called 'recorder'\n.*register\(plugin, name\)"):
        Plugins([Recorder([], ""), Recorder([], "")])


@pytest.mark.parametrize("name", ["", 3])
def test_a_name_is_a_non_empty_string(name):
    with pytest.raises(PluginError, match="name as a non-empty string, got"):
        Plugins([]).register(Recorder([], ""), name)


@pytest.mark.parametrize("given", [Recorder([], ""), "loss_averaging", Recorder, None])
def test_one_plugin_in_place_of_a_list_is_refused(given):
    with pytest.raises(PluginError, match=r"a list or a mapping of plugins.*\n.*plugins=\[\.\.\.\]"):
        Plugins(given)


def test_an_unknown_name_is_an_error_with_the_closest_match():
    plugins = Plugins([Recorder([], "")])
    with pytest.raises(PluginError, match=r"as 'recoder'; registered: recorder\n.*did you mean 'recorder'"):
        plugins.unregister("recoder")
    with pytest.raises(PluginError, match="is not registered"):
        plugins.name_of(Recorder([], ""))


# Notes on exceptions -------------------------------------------------------------------------------------------------


def note_on_failure(plugins, hook="on_epoch_start", **arguments):
    with pytest.raises(ValueError, match="broken") as caught:
        plugins.call(hook, run=None, **arguments)
    return caught.value.__notes__


def test_the_note_names_plugin_hook_and_place():
    plugins = Plugins([Failing(ValueError("broken"))], where=lambda: "epoch 3, batch 7 of train")
    assert note_on_failure(plugins) == ["in plugin 'failing', hook on_epoch_start, epoch 3, batch 7 of train"]


def test_an_error_stops_the_plugins_behind_it():
    calls = []
    plugins = Plugins([Recorder(calls, "one"), Failing(ValueError("broken")), Last(calls, "last")])
    note_on_failure(plugins)
    assert calls == ["one"]


class Sometimes:
    def __init__(self, fails):
        self.fails = fails

    @hookimpl
    def on_epoch_start(self, run):
        if self.fails:
            raise ValueError("broken")


@pytest.mark.parametrize("culprit", ["a", "b", "c"])
def test_of_three_instances_of_one_class_the_note_names_the_one_that_failed(culprit):
    plugins = Plugins({name: Sometimes(name == culprit) for name in "abc"})
    assert note_on_failure(plugins)[0].startswith(f"in plugin '{culprit}', hook")


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class SometimesDecorated:
    def __init__(self, fails):
        self.fails = fails

    @hookimpl
    @decorated
    def on_epoch_start(self, run):
        if self.fails:
            raise ValueError("broken")


@pytest.mark.parametrize("culprit", ["a", "b"])
def test_a_decorated_method_is_traced_to_its_instance_too(culprit):
    plugins = Plugins({name: SometimesDecorated(name == culprit) for name in "ab"})
    assert note_on_failure(plugins)[0].startswith(f"in plugin '{culprit}', hook")


@pytest.mark.parametrize("kind", [Around, First, Last])
def test_a_wrapper_around_the_culprit_is_not_blamed(kind):
    plugins = Plugins({"other": kind([], ""), "culprit": Failing(ValueError("broken"))})
    assert note_on_failure(plugins)[0].startswith("in plugin 'culprit'")


class FailsAround:
    @hookimpl(wrapper=True)
    def on_epoch_start(self):
        yield
        raise ValueError("broken")


def test_a_wrapper_that_fails_itself_is_blamed():
    plugins = Plugins({"sound": Sometimes(False), "wrapper": FailsAround(), "other": Recorder([], "")})
    assert note_on_failure(plugins)[0].startswith("in plugin 'wrapper'")


def test_a_module_is_blamed_by_its_name():
    module = types.ModuleType("acme.broken")

    @hookimpl
    def on_epoch_start():
        raise ValueError("broken")

    module.on_epoch_start = on_epoch_start
    assert note_on_failure(Plugins([Sometimes(False), module]))[0].startswith("in plugin 'broken'")


class Static:
    @staticmethod
    @hookimpl
    def on_epoch_start():
        raise ValueError("broken")


def test_where_two_cannot_be_told_apart_both_are_named():
    assert note_on_failure(Plugins({"a": Static(), "b": Static(), "c": Sometimes(False)})) == [
        "in one of the plugins 'a', 'b', hook on_epoch_start, outside a run"
    ]


class CallsAnotherHook:
    def __init__(self):
        self.plugins = None

    @hookimpl
    def on_epoch_start(self):
        self.plugins.call("on_alarm", run=None, alarm=None)


class FailsOnAlarm:
    @hookimpl
    def on_alarm(self):
        raise ValueError("broken")

    @hookimpl
    def on_epoch_start(self):
        """Is no culprit there."""


def test_a_hook_called_inside_a_hook_leaves_a_note_of_each():
    outer = CallsAnotherHook()
    outer.plugins = Plugins({"inner": FailsOnAlarm(), "outer": outer})
    assert note_on_failure(outer.plugins) == [
        "in plugin 'inner', hook on_alarm, outside a run",
        "in plugin 'outer', hook on_epoch_start, outside a run",
    ]


class FailsTheSecondTime:
    def __init__(self):
        self.called = 0

    @hookimpl
    def on_alarm(self):
        self.called += 1
        if self.called == 2:
            raise ValueError("broken")


class AlarmsAgain:
    def __init__(self):
        self.plugins = None

    @hookimpl
    def on_alarm(self):
        self.plugins.call("on_alarm", run=None, alarm=None)


def test_a_hook_called_inside_itself_leaves_a_note_of_each_call():
    outer = AlarmsAgain()
    outer.plugins = Plugins({"inner": FailsTheSecondTime(), "outer": outer})
    assert note_on_failure(outer.plugins, "on_alarm", alarm=None) == [
        "in plugin 'inner', hook on_alarm, outside a run",
        "in plugin 'outer', hook on_alarm, outside a run",
    ]


# Several errors at the end of a run -----------------------------------------------------------------------------------


def test_the_first_error_is_raised_with_the_others_in_its_notes():
    later = KeyError("k")
    later.add_note("in plugin 'b'")
    with pytest.raises(OSError, match="full") as caught:
        raise_first([OSError("full"), later])
    assert caught.value.__notes__ == ["then KeyError: 'k', in plugin 'b'"]


def test_an_error_that_is_being_raised_already_gets_the_notes_only():
    error = OSError("full")
    raise_first([error, ValueError("late")], unless=error)
    assert error.__notes__ == ["then ValueError: late, "]
    raise_first([])


def test_a_plugin_whose_comparison_is_no_truth_value_is_refused():
    class Comparing:
        __hash__ = object.__hash__

        def __eq__(self, other):
            return np.array([True, False])

        @hookimpl
        def on_fit_end(self):
            """Is never called."""

    with pytest.raises(PluginError, match=r"plugin 'b' cannot be compared with others: .*\n.*eq=False"):
        Plugins({"a": Comparing(), "b": Comparing()})


def test_what_a_hook_returns_is_refused_with_the_type():
    class Returning:
        @hookimpl
        def on_backward(self, grads):
            return {"w": 2 * grads["w"]}

    plugins = Plugins({"scaling": Returning(), "sound": Recorder([], "sound")})
    with pytest.raises(PluginError, match=r"hook on_backward of .*'scaling' returned dict.*\n.*in place"):
        plugins.call("on_backward", run=None, batch=None, grads={"w": 1.0})


def test_a_stop_iteration_names_plugin_and_hook():
    plugins = Plugins({"a": Recorder([], "a"), "b": Failing(StopIteration())})
    with pytest.raises(PluginError, match="plugin 'b', hook on_epoch_start, raised StopIteration"):
        plugins.call("on_epoch_start", run=None)


@pytest.mark.parametrize("options", [{"wrapper": True}, {"hookwrapper": True}])
@pytest.mark.parametrize("value", [0.5, np.ones(2)])
def test_what_a_wrapper_returns_in_place_of_the_results_is_refused(options, value):
    class Replacing:
        @hookimpl(**options)
        def on_epoch_start(self):
            outcome = yield
            if outcome is not None and "hookwrapper" in options:
                outcome.force_result(value)
            return value

    with pytest.raises(PluginError, match="one of the plugins 'replacing' returned"):
        Plugins([Replacing()]).call("on_epoch_start", run=None)
