"""The base of the schedules: one scale under the name of the plugin, set by training batch or by epoch."""

import attrs
import numpy as np
import pytest

from rnncallbacks import options
from rnncallbacks.bases.schedule import LearningRateSchedule
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError, RunStateError
from rnncallbacks.plugins import Warmup


@attrs.define(eq=False, kw_only=True)
class Halving(LearningRateSchedule):
    """A schedule as a third party would write it."""

    ratio: float = attrs.field(default=0.5, validator=options.number(above=0, at_most=1))

    def scale(self, t):
        return self.ratio**t


class Look:
    def __init__(self):
        self.seen = []

    @hookimpl
    def on_batch_start(self, run, batch):
        self.seen.append((batch.phase, run.learning_rate))


def seen(plugins, phases=("train", "val"), batches=2, epochs=2):
    look = Look()
    listed = {**plugins, "look": look}
    with Run(plugins=listed, learning_rate=8.0) as run:
        for _ in run.epochs(epochs):
            for phase in phases:
                for _ in run.batches(range(batches), phase=phase):
                    pass
    return [(phase, rate) for phase, rate in look.seen if phase == "train"], run


def test_batches_of_training_are_counted_over_all_epochs():
    rates, run = seen({"halving": Halving()}, phases=("val", "train", "test"))
    assert [rate for _, rate in rates] == [8.0, 4.0, 2.0, 1.0]
    assert run.scales == {"halving": 0.125}


def test_a_validation_before_the_first_training_batch_is_no_step():
    with Run(plugins=[Warmup(steps=2)], learning_rate=8.0) as run:
        for _ in run.epochs(1):
            rates = [run.learning_rate for phase in ("val", "train", "val") for _ in run.batches([0], phase=phase)]
    assert rates == [8.0, 4.0, 4.0]


def test_epochs_are_counted_from_the_first():
    rates, run = seen({"halving": Halving(interval="epoch")}, phases=("val", "train"))
    assert [rate for _, rate in rates] == [8.0, 8.0, 4.0, 4.0]
    assert run.history["learning_rate"] == [8.0, 4.0]


def test_scales_under_different_names_multiply_and_do_not_touch_each_other():
    rates, run = seen({"fast": Halving(ratio=0.25), "slow": Halving(interval="epoch")}, phases=("train",))
    assert [rate for _, rate in rates] == [8.0, 2.0, 0.25, 0.0625]
    assert run.scales == {"fast": 0.25**3, "slow": 0.5}


def test_a_scale_that_the_script_sets_stays():
    with Run(plugins=[Halving(interval="epoch")], learning_rate=8.0) as run:
        run.scale_learning_rate("mine", 0.5)
        rates = [run.learning_rate for _ in run.epochs(2)]
    assert rates == [4.0, 2.0]


def test_an_unregistered_schedule_takes_its_scale_along():
    with Run(plugins=[Halving(interval="epoch")], learning_rate=8.0) as run:
        for epoch in run.epochs(3):
            if epoch == 2:
                run.unregister("halving")
                assert run.learning_rate == 8.0
    assert run.history["learning_rate"] == [8.0, 8.0, 8.0]


def test_the_scale_is_there_before_the_script_asks_in_the_first_batch():
    with Run(np.zeros(1), plugins=[Halving(ratio=0.5)], learning_rate=8.0) as run:
        for _ in run.epochs(1):
            rates = [run.learning_rate for _ in run.batches(range(2))]
    assert rates == [8.0, 4.0]


@pytest.mark.parametrize("interval", ["batch", "epoch"])
def test_a_run_without_a_learning_rate_names_the_schedule(interval):
    run = Run(plugins={"mine": Halving(interval=interval)})
    with pytest.raises(RunStateError, match="'mine' scales the learning rate, but the run has none"), run:
        [list(run.batches([0])) for _ in run.epochs(1)]


def test_a_schedule_without_a_scale_is_refused_when_it_is_made():
    @attrs.define(eq=False, kw_only=True)
    class Forgotten(LearningRateSchedule):
        pass

    with pytest.raises(TypeError, match=r"Forgotten has no method scale\(self, t\)"):
        Forgotten()


def test_options_out_of_range():
    with pytest.raises(OptionError, match="Halving: interval: expected 'batch' or 'epoch', got 'epochs'"):
        Halving(interval="epochs")
    with pytest.raises(OptionError, match="Halving: ratio: expected a number > 0 and <= 1, got 0"):
        Halving(ratio=0)
