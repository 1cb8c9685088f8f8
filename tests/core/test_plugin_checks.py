"""What a plugin must be: the mistakes that pluggy accepts without a word are refused, each with a hint."""

import functools

import attrs
import pytest

from rnncallbacks.core.hookspecs import HOOKS, hookimpl
from rnncallbacks.core.plugin_checks import check_hook_name, check_hooks, hooks_of, name_for, snake_case
from rnncallbacks.errors import PluginError


class Sound:
    @hookimpl
    def on_epoch_start(self):
        """Is called."""

    @hookimpl
    def on_fit_end(self):
        """Is called."""


class Undecorated(Sound):
    def on_epoch_end(self, run):
        """Would never be called."""


class UnknownHook:
    @hookimpl
    def on_epoch_ends(self, run):
        """Would never be called."""


class UnknownSpecname:
    @hookimpl(specname="on_bacth_end")
    def finish(self):
        """Would never be called."""


class NoPrefix:
    @hookimpl
    def epoch_end(self):
        """Would never be called."""


class NoSelf:
    @hookimpl
    def on_epoch_end(run):  # noqa: N805
        """Would be given the plugin as the run."""


class NoArgument:
    @hookimpl
    def on_epoch_end():
        """Could not be called."""


class TwoWrappers:
    @hookimpl(wrapper=True, hookwrapper=True)
    def on_epoch_end(self):
        yield


class Unreadable:
    @hookimpl
    def on_epoch_end(self):
        """Is called."""

    def __getattribute__(self, name):
        if name == "broken":
            raise ValueError("out of order")
        return super().__getattribute__(name)

    def broken(self):
        """Cannot be read."""


class WrongArgument:
    @hookimpl
    def on_epoch_end(self, sumary):
        """There is no such argument."""


class ArgumentOfAnotherHook:
    @hookimpl
    def on_epoch_end(self, batch):
        """Another hook has it."""


class Default:
    @hookimpl
    def on_epoch_end(self, run=None):
        """Before pluggy 1.7, the default would have been all it got."""


class KeywordOnly:
    @hookimpl
    def on_epoch_end(self, *, run):
        """Would never be given."""


class AnyPositional:
    @hookimpl
    def on_epoch_end(self, *args):
        """Would be empty."""


class AnyKeyword:
    @hookimpl
    def on_epoch_end(self, **kwargs):
        """Would be empty."""


class Async:
    @hookimpl
    async def on_epoch_end(self, run):
        """Would never be awaited."""


class AsyncGenerator:
    @hookimpl
    async def on_epoch_end(self, run):
        yield


class Generator:
    @hookimpl
    def on_epoch_end(self, run):
        yield


class WrapperWithoutYield:
    @hookimpl(wrapper=True)
    def on_epoch_end(self, run):
        """Has nothing to stand around."""


class OldWrapperWithoutYield:
    @hookimpl(hookwrapper=True)
    def on_epoch_end(self, run):
        """Has nothing to stand around."""


class NoFunction:
    def __init__(self):
        self.on_epoch_end = hookimpl(functools.partial(print))


def on_batch_end(batch):
    """A function with the name of a hook."""


class NoHook:
    def reset(self):
        """Is no hook."""


@attrs.define
class Unhashable:
    @hookimpl
    def on_epoch_end(self, run):
        """Two of them would be equal."""


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Sound, r"'sound': expected an instance, got the class Sound\n.*write Sound\(\)"),
        (Undecorated(), "'undecorated': on_epoch_end has no @hookimpl"),
        (UnknownHook(), "'unknown_hook': there is no hook 'on_epoch_ends'\n.*did you mean 'on_epoch_end'"),
        (UnknownSpecname(), "there is no hook 'on_bacth_end'\n.*did you mean 'on_batch_end'"),
        (NoPrefix(), "there is no hook 'epoch_end'\n.*did you mean 'on_epoch_end'"),
        (NoSelf(), r"on_epoch_end is a method, and its first argument is 'run'.*\n.*on_epoch_end\(self, run\)"),
        (NoArgument(), r"on_epoch_end is a method, and it takes no argument.*\n.*on_epoch_end\(self\)"),
        (TwoWrappers(), "on_epoch_end is marked with wrapper and hookwrapper"),
        (Unreadable(), "'unreadable': its attribute 'broken' cannot be read: out of order"),
        (WrongArgument(), "on_epoch_end takes 'sumary', which is not among run, summary\n.*did you mean 'summary'"),
        (ArgumentOfAnotherHook(), "on_epoch_end takes 'batch', which is not among run, summary"),
        (Default(), "on_epoch_end takes run=None, but hook arguments are plain names without a default"),
        (KeywordOnly(), "on_epoch_end takes run, but hook arguments are plain names"),
        (AnyPositional(), r"on_epoch_end takes \*args, but"),
        (AnyKeyword(), r"on_epoch_end takes \*\*kwargs, but"),
        (Async(), "on_epoch_end is async, and would never be awaited"),
        (AsyncGenerator(), "on_epoch_end is async, and would never be awaited"),
        (Generator(), "on_epoch_end must yield if it is a wrapper, and only then"),
        (WrapperWithoutYield(), "on_epoch_end must yield if it is a wrapper"),
        (OldWrapperWithoutYield(), "on_epoch_end must yield if it is a wrapper"),
        (NoFunction(), "on_epoch_end is a partial, and only functions and methods are called"),
        (NoHook(), "NoHook implements no hook\n.*on_fit_start, on_epoch_start"),
        ("loss_averaging", "expected an object, got its name\n.*load_plugins.*'loss_averaging': {}"),
        (len, r"'len': expected an object with hooks, got a function\n.*on\('epoch_end', len\)"),
        (lambda run: None, r"'<lambda>': expected an object with hooks, .*\n.*on\('epoch_end', function\)"),
        (on_batch_end, r"'on_batch_end': expected .*\n.*on\('batch_end', on_batch_end\)"),
        (Unhashable(), r"Unhashable objects are not hashable\n.*eq=False"),
    ],
)
def test_what_pluggy_would_leave_silent_is_refused_with_a_hint(plugin, message):
    with pytest.raises(PluginError, match=message) as caught:
        check_hooks(plugin, name_for(plugin))
    assert caught.value.hint


def test_a_plugin_with_a_hook_is_accepted():
    check_hooks(Sound(), "sound")


def test_properties_are_not_computed_and_other_attributes_are_left_alone():
    class WithProperties(Sound):
        @property
        def on_demand(self):
            raise AssertionError("computed")

        @functools.cached_property
        def on_cached(self):
            raise AssertionError("computed")

        on_screen = True

    check_hooks(WithProperties(), "with_properties")


def test_hooks_of_lists_the_hooks_of_an_object_or_a_class():
    assert list(hooks_of(Sound)) == list(hooks_of(Sound())) == ["on_epoch_start", "on_fit_end"]
    assert list(hooks_of(UnknownSpecname)) == ["on_bacth_end"]
    assert HOOKS["on_backward"] == ("run", "batch", "grads")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("HiddenStateReset", "hidden_state_reset"), ("LSTMReset", "lstm_reset"), ("Top2Loss", "top2_loss"), ("a", "a")],
)
def test_snake_case(name, expected):
    assert snake_case(name) == expected


def test_the_name_of_a_hook_is_checked_with_its_owner():
    check_hook_name("on_backward", "Plugins.call")
    with pytest.raises(PluginError, match=r"Plugins.call: there is no hook 'on_bacward'\n.*did you mean 'on_backward'"):
        check_hook_name("on_bacward", "Plugins.call")
    with pytest.raises(PluginError, match="the hooks are on_fit_start, on_epoch_start"):
        check_hook_name("xyz", "Plugins.call")


def test_a_function_that_passed_is_inspected_again_where_it_is_marked_differently():
    class Changing:
        @hookimpl
        def on_epoch_start(self, run): ...

    check_hooks(Changing(), "changing")
    hookimpl(wrapper=True)(Changing.on_epoch_start)
    with pytest.raises(PluginError, match="on_epoch_start must yield if it is a wrapper"):
        check_hooks(Changing(), "changing")
    hookimpl(specname="on_nothing")(Changing.on_epoch_start)
    with pytest.raises(PluginError, match="there is no hook 'on_nothing'"):
        check_hooks(Changing(), "changing")
