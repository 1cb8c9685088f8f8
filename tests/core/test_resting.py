"""Plugins that rest: which batches they see, and the losses of the others."""

import math

import attrs
import numpy as np
import pytest

from rnncallbacks import Run, hookimpl
from rnncallbacks.bases import state_field
from rnncallbacks.errors import PluginError
from rnncallbacks.plugins import Checkpoint
from rnncallbacks.testing import play


@attrs.define(eq=False)
class Sleeper:
    """Notes the steps at which its hooks are called, and rests after each batch."""

    rest: float = 4
    due_step: float = state_field(0.0)
    missed_losses: list[float] = state_field(factory=list)
    seen: list[tuple[str, int]] = state_field(factory=list)
    missed: list[list[float]] = state_field(factory=list)

    @hookimpl
    def on_batch_start(self, run, batch):
        self.seen.append(("start", run.step if batch.phase == "train" else batch.phase))

    @hookimpl(wrapper=True)
    def on_backward(self, run):
        self.seen.append(("backward", run.step))
        return (yield)

    @hookimpl
    def on_batch_end(self, run, batch):
        self.seen.append(("end", run.step if batch.phase == "train" else batch.phase))
        if self.missed_losses:
            self.missed.append(self.missed_losses[:])
            self.missed_losses.clear()
        if batch.phase == "train":
            self.due_step = run.step + self.rest

    def steps(self, hook):
        return [step for name, step in self.seen if name == hook]


class Witness:
    """A plugin of somebody else, which never rests."""

    def __init__(self):
        self.steps = []

    @hookimpl
    def on_backward(self, run):
        self.steps.append(run.step)


def train(plugins, *, losses, validate_after=None):
    """An epoch over the losses, None for a skipped batch; ``validate_after`` is a batch with a validation inside."""
    with Run({"w": np.ones(2)}, plugins=plugins) as run:
        for _ in run.epochs(1):
            for index, loss in enumerate(run.batches(losses), start=1):
                if loss is None:
                    run.skip_batch()
                run.backward(1.0 if loss is None else loss, {"w": np.ones(2)})
                if index == validate_after:
                    for value in run.batches([0.5], phase="val"):
                        run.record(value)


def test_a_resting_plugin_sees_the_batch_that_is_due_and_both_ends_of_each_pass():
    sleeper, witness = Sleeper(), Witness()
    play([witness, sleeper], losses=[1.0] * 11, epochs=2)
    assert sleeper.steps("start") == sleeper.steps("backward") == sleeper.steps("end") == [1, 5, 9, 11, 12, 16, 20, 22]
    assert witness.steps == list(range(1, 23))


def test_a_pass_of_unknown_length_has_no_last_batch_that_is_seen():
    sleeper = Sleeper(rest=math.inf)
    with Run({"w": np.ones(2)}, plugins=[sleeper]) as run:
        for _ in run.epochs(1):
            for loss in run.batches(iter([1.0] * 5)):
                run.backward(loss, {"w": np.ones(2)})
    assert sleeper.steps("start") == [1]


def test_missed_losses_are_those_of_finite_batches_that_were_not_skipped():
    sleeper = Sleeper(rest=10)
    train([sleeper], losses=[1.0, 2.0, None, 4.0, 5.0])
    assert sleeper.missed == [[2.0, 4.0]]


def test_a_validation_within_a_batch_is_seen_and_leaves_the_rest_as_it_is():
    sleeper = Sleeper(rest=10)
    train([sleeper], losses=[1.0] * 6, validate_after=3)
    assert sleeper.steps("start") == sleeper.steps("end") == [1, "val", 6]


@pytest.mark.parametrize(("loss", "gradient"), [(math.nan, 1.0), (2.0, math.inf)])
def test_a_loss_or_a_gradient_that_is_not_finite_ends_the_rest_of_its_batch(loss, gradient):
    sleeper = Sleeper(rest=10)
    with Run({"w": np.ones(2)}, plugins=[sleeper]) as run:
        for _ in run.epochs(1):
            for index in run.batches([1, 2, 3, 4, 5]):
                run.backward(loss if index == 3 else 1.0, {"w": np.full(2, gradient if index == 3 else 1.0)})
    assert sleeper.steps("backward") == sleeper.steps("end") == [1, 3, 5]
    assert sleeper.steps("start") == [1, 5]


def test_a_recorded_loss_that_is_not_finite_ends_the_rest_of_its_batch():
    sleeper = Sleeper(rest=10)
    with Run({"w": np.ones(2)}, plugins=[sleeper]) as run:
        for _ in run.epochs(1):
            for index in run.batches([1, 2, 3, 4, 5]):
                if index == 3:
                    run.record(math.nan)
                else:
                    run.backward(1.0, {"w": np.ones(2)})
    assert sleeper.steps("end") == [1, 3, 5]


def test_it_depends_on_the_loss_of_all_processes_who_rests():
    """Plugins that are ahead replace the loss and the gradients of this process by them."""

    class Replacing:
        @hookimpl(wrapper=True, ahead=True)
        def on_backward(self, batch, grads):
            batch.loss = math.nan if batch.index == 3 else 7.0
            grads.forget_norm()
            yield

    sleeper, witness = Sleeper(rest=10), Witness()
    train([witness, sleeper, Replacing()], losses=[1.0, 1.0, 1.0, math.nan, 1.0])
    assert sleeper.steps("backward") == [1, 3, 5]
    assert sleeper.missed == [[7.0], [7.0]]
    assert witness.steps == [1, 2, 3, 4, 5]


def test_a_plugin_that_is_woken_up_sees_the_next_batch():
    sleeper = Sleeper(rest=math.inf)
    with Run({"w": np.ones(2)}, plugins=[sleeper]) as run:
        for _ in run.epochs(1):
            for index in run.batches(range(1, 7)):
                if index == 3:
                    sleeper.due_step = 0
                run.backward(1.0, {"w": np.ones(2)})
    assert sleeper.steps("backward") == [1, 4, 6]


def test_several_plugins_rest_for_times_of_their_own():
    sleepers = [Sleeper(rest=2), Sleeper(rest=3)]
    play(dict(zip("ab", sleepers, strict=True)), losses=[1.0] * 8)
    assert [one.steps("end") for one in sleepers] == [[1, 3, 5, 7, 8], [1, 4, 7, 8]]


def test_a_resumed_run_goes_on_with_the_rest_and_the_losses_before_it(tmp_path):
    for max_steps in (4, None):
        sleeper = Sleeper(rest=6)
        plugins = {"checkpoint": Checkpoint(path=tmp_path / "run.ckpt"), "sleeper": sleeper}
        with Run({"w": np.ones(2)}, plugins=plugins, state={}) as run:
            for _ in run.epochs(1, max_steps=max_steps):
                for loss in run.batches([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]):
                    run.backward(loss, {"w": np.ones(2)})
    assert sleeper.steps("end") == [1, 7, 8]
    assert sleeper.missed == [[2.0, 3.0, 4.0, 5.0, 6.0]]


@pytest.mark.parametrize("step", [None, "50"])
def test_a_step_that_is_no_number_is_an_error_that_names_the_plugin(step):
    witness = Witness()
    witness.due_step = step
    with pytest.raises(PluginError, match=r"Witness.due_step: expected a number, got"):
        train([Sleeper(), witness], losses=[1.0, 1.0, 1.0])


def test_times_of_plugins_are_measured_in_the_batches_that_they_see():
    run = play({"sleeper": Sleeper(rest=math.inf)}, losses=[1.0] * 4, profile_plugins=True)
    assert set(run.plugin_seconds["sleeper"]) == {"on_batch_start", "on_backward", "on_batch_end"}
