"""Plugins made from functions: what they are called with, what they may return, and what is refused."""

import functools

import numpy as np
import pytest

from rnncallbacks import Run, on
from rnncallbacks.core.function_plugin import NAMES
from rnncallbacks.core.hookspecs import HOOKS
from rnncallbacks.errors import PluginError


def run_with(*plugins, grads=None):
    with Run({"w": np.zeros(1)}, plugins=plugins) as run:
        for _ in run.epochs(2):
            for _ in run.batches([1.0]):
                run.backward(0.5, {"w": np.ones(1)} if grads is None else grads)
    return run


def test_every_hook_is_called_with_the_arguments_that_the_function_names():
    seen = []

    def noting(name):
        return lambda run: seen.append((name, run.epoch))

    run_with(*(on(name, noting(name)) for name in NAMES))
    called = [name for name, _ in seen]
    assert called[:4] == ["fit_start", "epoch_start", "batch_start", "backward"]
    assert set(called) == {hook.removeprefix("on_") for hook in HOOKS} - {"alarm", "exception"}


def test_methods_and_callable_objects_are_functions_too():
    class Summing:
        def __init__(self):
            self.total = 0.0

        def add(self, batch):
            self.total += batch.loss

        def __call__(self, summary):
            self.total += 10 * summary.epoch

    summing = Summing()
    run_with(on("batch_end", summing.add), on("epoch_end", summing))
    assert summing.total == 31.0


def test_one_function_may_serve_two_hooks():
    steps = []

    def note(run):
        steps.append(run.step)

    run_with(on("batch_start", note), on("batch_end", note))
    assert steps == [1, 1, 2, 2]


def test_a_function_changes_gradients_in_place_and_may_not_return_others():
    def halve(grads):
        grads["w"][...] *= 0.5

    given = {"w": np.ones(1)}
    run_with(on("backward", halve), grads=given)
    assert given["w"] == 0.25
    with pytest.raises(PluginError, match="change arrays in place"):
        run_with(on("backward", lambda grads: {"w": grads["w"] * 0.5}))


def test_what_a_function_returns_elsewhere_is_dropped():
    assert len(run_with(on("epoch_end", lambda summary: summary.epoch)).history) == 2


@pytest.mark.parametrize(
    ("hook", "function", "message"),
    [
        ("epochend", print, r"on: there is no hook 'epochend'\n  hint: did you mean 'epoch_end'\?"),
        ("on_epoch_end", print, "did you mean 'epoch_end'"),
        (3, print, "there is no hook 3\n  hint: the hooks are fit_start, "),
        ("epoch_end", functools.partial(print), "the parameters of .* are not known\n  hint: put it in a function"),
        ("epoch_end", print, "the parameters of .* are not known"),
        ("epoch_end", None, r"on\('epoch_end', ...\): expected a function, got None"),
    ],
)
def test_mistakes_are_named(hook, function, message):
    with pytest.raises(PluginError, match=message):
        on(hook, function)


def test_an_argument_that_the_hook_does_not_have_is_refused_when_the_plugin_is_registered():
    with pytest.raises(PluginError, match="on_epoch_end takes 'grads', which is not among run, summary"):
        Run(plugins=[on("epoch_end", lambda grads: None)])
