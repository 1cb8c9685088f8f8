"""Functions that a script gives to guards: undone, repeatable, or rejected with a reason."""

import contextvars
import io
import itertools
import logging
import sys
from unittest.mock import Mock

import attrs
import numpy as np
import pytest

from rnncallbacks import Run, hookimpl, load_plugins
from rnncallbacks.core.closure import ClosureError
from rnncallbacks.core.script_function import ClosureTrust, ObservedFunction, PureFunction, ScriptFunction


@attrs.define(eq=False)
class Asks:
    """A plugin of somebody else that calls the closure itself, in some hooks."""

    hooks: tuple[str, ...] = ("on_backward",)
    answers: list = attrs.field(factory=list)
    reasons: list = attrs.field(factory=list)

    def _ask(self, batch):
        if batch.closure is None:
            self.reasons.append(batch.no_closure)
            return
        try:
            self.answers.append(batch.closure())
        except ClosureError as error:
            self.answers.append(str(error))

    @hookimpl
    def on_backward(self, batch):
        if "on_backward" in self.hooks:
            self._ask(batch)

    @hookimpl
    def on_batch_end(self, batch):
        if "on_batch_end" in self.hooks:
            self._ask(batch)


def train(plugin, closure, batches=3, params=None, then=lambda: None):
    params = {"w": np.ones(2)} if params is None else params
    with Run(params, plugins=[plugin]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(batches)):
                run.backward(0.5, {"w": np.zeros(2)}, closure=closure)
                then()
    return run


def test_the_first_call_evaluates_twice_and_the_others_once():
    closure, plugin = Mock(return_value=0.5), Asks()
    train(plugin, closure)
    assert (plugin.answers, closure.call_count) == ([0.5] * 3, 4)


def test_a_pure_function_is_called_as_it_is():
    calls, plugin = [], Asks()
    train(plugin, PureFunction(lambda: calls.append(1) or 0.5))
    assert (plugin.answers, len(calls)) == ([0.5] * 3, 3)


@pytest.mark.parametrize("losses", [[0.5, 0.6], [np.nan, 0.5], [0.5, np.nan]])
def test_a_closure_that_is_not_repeatable_is_told_and_not_called_again(losses, caplog):
    closure, plugin = Mock(side_effect=losses), Asks()
    train(plugin, closure)
    assert closure.call_count == 2
    assert "gives another loss at each call" in plugin.answers[0]
    assert plugin.reasons == plugin.answers * 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert plugin.reasons[0] in caplog.text


def test_losses_that_are_no_numbers_are_repeatable():
    plugin = Asks()
    train(plugin, Mock(return_value=np.nan), batches=1)
    assert np.isnan(plugin.answers).all()


def writing():
    log = io.StringIO()
    return lambda: log.write("loss") / 8.0, "the StringIO object 'log' (CannotRestoreError: it has moved on)"


def generating():
    def draw():
        for number in range(10):
            yield float(number > 100)

    noise = draw()
    return lambda: next(noise), "the generator object 'noise' (CannotRestoreError: it has moved on)"


@pytest.mark.parametrize("make", [writing, generating])
def test_a_closure_that_cannot_be_undone_is_told_with_what_it_changed(make):
    closure, words = make()
    plugin = Asks()
    train(plugin, closure)
    assert words in plugin.answers[0]
    assert "pass a function that reads the parameters and the batch" in plugin.answers[0]
    assert plugin.reasons == plugin.answers * 2


def test_a_closure_that_reaches_too_much_is_not_called():
    huge = np.lib.stride_tricks.as_strided(np.zeros(1), (2**26,), (0,))  # as many bytes, which nobody allocates
    closure = Mock(return_value=0.5)
    plugin = Asks()
    train(plugin, lambda huge=huge: closure())
    assert closure.call_count == 0
    assert "it reaches more than 50,000 objects or 256 MB of arrays" in plugin.answers[0]


def test_a_closure_that_fails_at_once_is_not_called_again():
    closure, plugin = Mock(side_effect=KeyError("gone")), Asks()
    train(plugin, closure)
    assert closure.call_count == 1
    assert plugin.answers == ["the closure failed: KeyError: 'gone'"]
    assert plugin.reasons == plugin.answers * 2


def test_a_closure_that_fails_after_the_script_cleared_things_ends_no_training(caplog):
    cleared, buffers = [], {"dW": np.zeros(2)}

    def loss():
        buffers["dW"] += 1.0
        assert not cleared, "the model was cleared"
        return 0.5

    plugin = Asks(hooks=("on_backward", "on_batch_end"))
    train(plugin, loss, then=lambda: cleared.append(1), batches=1)
    train(plugin, loss, then=cleared.clear, batches=1)
    assert plugin.answers[0] == 0.5
    assert plugin.answers[1].startswith("the closure failed: AssertionError: the model was cleared")
    assert plugin.answers[2].startswith("the closure failed: AssertionError: the model was cleared")
    assert buffers["dW"].tolist() == [0.0, 0.0]
    assert len(caplog.records) == 2  # once in each run


def test_an_interruption_passes_and_everything_is_restored():
    buffers = {"dW": np.zeros(2)}

    def loss():
        buffers["dW"] += 1.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Asks(), loss)
    assert buffers["dW"].tolist() == [0.0, 0.0]


def test_parameters_and_gradients_that_the_closure_does_not_name_are_restored():
    params, grads = {"w": np.ones(2)}, {"w": np.zeros(2)}
    ends = [params["w"][:], grads["w"][:]]  # views, of which the closure knows only these

    def loss():
        for array in ends:
            array += 1.0
        return float(ends[0].sum())

    plugin = Asks()
    with Run(params, plugins=[plugin]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(2)):
                run.backward(0.5, grads, closure=loss)
    assert plugin.answers == [4.0, 4.0]
    assert (params["w"].tolist(), grads["w"].tolist()) == ([1.0, 1.0], [0.0, 0.0])


def test_what_a_closure_does_to_the_run_is_undone():
    params = {"w": np.ones(2)}
    with Run(params, plugins=[Asks(hooks=("on_backward", "on_batch_end"))], learning_rate=0.5) as run:

        def loss():
            run.stop("from the closure")
            run.scale_learning_rate("closure", 0.5)
            run.params = {"w": params["w"].copy()}
            run.log(loss=1.0)
            run.skip_batch()
            return 0.5

        for _ in run.epochs(2):
            for _ in run.batches(range(2)):
                run.backward(0.5, {"w": np.zeros(2)}, closure=loss)
                assert not run.skipped
    assert (run.step, run.stop_reason, run.learning_rate) == (4, None, 0.5)
    assert run.params is params
    assert "loss" not in run.history.columns


def test_guards_tell_why_a_closure_is_not_used_and_judge_without_it():
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=4)}
    with Run(params, plugins=load_plugins({"preset": "guards"}), learning_rate=0.1) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(12)):
                closure = Mock(side_effect=[1.0, 2.0])
                grads = run.backward(float(params["w"] @ params["w"]), {"w": 2.0 * params["w"]}, closure=closure)
                params["w"] -= run.learning_rate * grads["w"]
    assert "gives another loss at each call" in run.diagnosis.not_checked["RNN404"]
    assert run.alarms == []


# --- observed values ---------------------------------------------------------------------------------------------


def test_what_an_observed_function_changes_is_restored_and_its_result_is_kept():
    buffer = np.zeros(2)

    def gradients():
        buffer[...] += 1.0
        return [buffer, {"norm": 2.0}]

    observed = ObservedFunction("hidden_gradients", gradients, list, ClosureTrust())
    (array, rest) = observed()
    assert (array.tolist(), rest, buffer.tolist()) == ([1.0, 1.0], {"norm": 2.0}, [0.0, 0.0])


def test_an_observed_function_that_cannot_be_undone_is_not_called_again(caplog):
    noise = (number for number in range(10))
    seen = []

    class Looks:
        @hookimpl
        def on_batch_end(self, batch):
            seen.append(batch.observed.get("logits"))

    with Run(plugins=[Looks()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(3)):
                run.observe(logits=lambda: next(noise))
    assert seen == [None] * 3
    assert next(noise) == (0 if sys.version_info < (3, 12) else 1)  # before 3.12, the range inside it can be set back
    assert len(caplog.records) == 1
    assert "it changes the generator object 'noise'" in caplog.text


def test_a_function_that_is_called_alone_leaves_generators_where_they_were():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    function = ScriptFunction(rng.normal, list)
    assert function.call(float) == function.call(float)
    assert rng.bit_generator.state == before


def test_context_variables_print_options_and_counters_are_as_before_each_call():
    class Unit:
        numbers = itertools.count(5, 2)

        def __init__(self):
            self.calls = itertools.count()

    unset, was_set, unit = contextvars.ContextVar("unset"), contextvars.ContextVar("set"), Unit()
    held, options = [itertools.count(0.5), unit], np.get_printoptions()
    was_set.set(1)

    def loss():
        was_set.set(was_set.get() + 1)
        unset.set(unset.get(0) + 1)
        np.set_printoptions(precision=2)
        return unset.get() + was_set.get() + next(held[0]) + next(unit.calls) + next(Unit.numbers)

    function = ScriptFunction(loss, tuple)
    assert [function.call(float) for _ in range(3)] == [1 + 2 + 0.5 + 0 + 5] * 3
    assert (unset.get(None), was_set.get()) == (None, 1)
    if hasattr(getattr(np, "_core", None), "printoptions"):  # a context variable since NumPy 2.2
        assert np.get_printoptions() == options
    np.set_printoptions(**options)
    assert [next(one) for one in (held[0], unit.calls, Unit.numbers)] == [0.5, 0, 5]
