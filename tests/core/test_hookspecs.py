"""The contract of the hooks: their names and arguments are public, and each says what it is for."""

import inspect
import re
from typing import get_args

import pytest

from rnncallbacks.core import hookspecs

HOOKS = {
    "on_fit_start": ["run"],
    "on_epoch_start": ["run"],
    "on_batch_start": ["run", "batch"],
    "on_backward": ["run", "batch", "grads"],
    "on_batch_end": ["run", "batch"],
    "on_epoch_end": ["run", "summary"],
    "on_alarm": ["run", "alarm"],
    "on_exception": ["run", "error"],
    "on_fit_end": ["run"],
}


def test_the_hooks_and_their_arguments_are_these_and_no_others():
    found = {name: function for name, function in vars(hookspecs).items() if name.startswith("on_")}
    assert {name: list(inspect.signature(function).parameters) for name, function in found.items()} == HOOKS


def test_the_table_and_the_type_of_hooks_follow_the_specs():
    assert {hook: list(arguments) for hook, arguments in hookspecs.HOOKS.items()} == HOOKS
    assert get_args(hookspecs.Hook) == tuple(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_stands_in_the_loop_with_its_arguments_and_says_what_it_is_for(hook):
    assert f"{hook}({', '.join(HOOKS[hook])})" in inspect.getdoc(hookspecs)
    assert len(inspect.getdoc(getattr(hookspecs, hook)).splitlines()) == 1


def test_the_loop_shows_the_hooks_in_the_order_in_which_they_are_called():
    assert re.findall(r"on_\w+(?=\()", inspect.getdoc(hookspecs)) == [
        "on_fit_start",
        "on_epoch_start",
        "on_batch_start",
        "on_backward",
        "on_batch_end",
        "on_epoch_end",
        "on_fit_end",
        "on_alarm",
        "on_exception",
    ]
