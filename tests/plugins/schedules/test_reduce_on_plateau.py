"""Reduction on a plateau: the epochs of the reductions, their size, and other scales of the learning rate."""

import math

import pytest

from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError, RunStateError
from rnncallbacks.plugins import ExponentialDecay, LossAveraging, ReduceOnPlateau

WATCH_TRAIN = {"monitor": "train_loss"}


def rates(run):
    return run.history["learning_rate"]


def test_it_reduces_every_patience_epochs_without_improvement(play):
    run = play([LossAveraging(), ReduceOnPlateau(**WATCH_TRAIN, patience=2, factor=0.5)], [[1.0]] * 8)
    assert rates(run) == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_an_improvement_starts_the_patience_again(play):
    losses = [[3.0], [3.0], [2.0], [2.0], [2.0], [2.0]]
    run = play([LossAveraging(), ReduceOnPlateau(**WATCH_TRAIN, patience=2, factor=0.5)], losses)
    assert rates(run) == [1.0, 1.0, 1.0, 1.0, 1.0, 0.5]


def test_a_reduction_keeps_the_best_value(play):
    # 1.5 is better than what came before it, but not than the best.
    losses = [[1.0], [2.0], [1.5], [1.4], [0.5], [0.4]]
    run = play([LossAveraging(), ReduceOnPlateau(**WATCH_TRAIN, patience=1, factor=0.5)], losses)
    assert rates(run) == [1.0, 1.0, 0.5, 0.25, 0.125, 0.125]


def test_epochs_of_the_cooldown_do_not_count(play):
    plugin = ReduceOnPlateau(**WATCH_TRAIN, patience=2, factor=0.5, cooldown=2)
    run = play([LossAveraging(), plugin], [[1.0]] * 9)
    # Reduced after epoch 3; epochs 4 and 5 do not count, 6 and 7 do.
    assert rates(run) == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_a_value_in_the_cooldown_may_be_the_best_one(play):
    plugin = ReduceOnPlateau(**WATCH_TRAIN, patience=1, factor=0.5, cooldown=1)
    play([LossAveraging(), plugin], [[2.0], [2.0], [1.0], [1.5]])
    assert (plugin.best, plugin.best_epoch) == (1.0, 3)


def test_each_reduction_is_logged_with_what_led_to_it(play, caplog):
    caplog.set_level("INFO", "rnncallbacks")
    plugins = {
        "averages": LossAveraging(),
        "cut": ReduceOnPlateau(**WATCH_TRAIN, patience=2, factor=0.5, min_scale=0.5),
    }
    play(plugins, [[1.0]] * 6)
    (line,) = [record.getMessage() for record in caplog.records if "scale" in record.getMessage()]
    assert line == "cut: scale 0.5 in place of 1 from the next epoch: train_loss 1 after 2 epochs"


def test_never_below_min_scale(play):
    run = play([LossAveraging(), ReduceOnPlateau(**WATCH_TRAIN, patience=1, factor=0.1, min_scale=0.05)], [[1.0]] * 5)
    assert rates(run) == [1.0, 1.0, 0.1, 0.05, 0.05]


@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ({}, False),
        ({"min_delta": 0.15}, True),
        ({"rtol": 0.05}, True),
        ({"rtol": 0.005}, False),
        ({"mode": "max"}, True),
    ],
)
def test_what_counts_as_an_improvement(play, options, cut):
    plugins = [LossAveraging(), ReduceOnPlateau(**WATCH_TRAIN, patience=1, factor=0.5, **options)]
    run = play(plugins, [[10.0], [9.9], [9.8]])
    assert rates(run)[-1] == (0.5 if cut else 1.0)


def test_two_instances_multiply_with_each_other_and_with_a_schedule(play):
    plugins = {
        "averages": LossAveraging(),
        "on_train": ReduceOnPlateau(monitor="train_loss", patience=1, factor=0.5),
        "on_val": ReduceOnPlateau(monitor="val_loss", patience=2, factor=0.1),
        "decay": ExponentialDecay(factor=0.9),
    }
    run = play(plugins, [[1.0]] * 4, val=[[1.0]] * 4)
    expected = [1.0, 0.9, 0.81 * 0.5, 0.729 * 0.25 * 0.1]
    assert rates(run) == pytest.approx(expected, rel=1e-12)
    assert run.scales == pytest.approx({"on_train": 0.25, "on_val": 0.1, "decay": 0.729})


def test_nan_is_reported_and_is_no_improvement(play):
    plugins = [LossAveraging(), ReduceOnPlateau(**WATCH_TRAIN, patience=2, factor=0.5)]
    run = play(plugins, [[math.nan]] * 4)
    assert [(alarm.code, alarm.epoch) for alarm in run.alarms] == [("RNN403", 1)]
    assert rates(run) == [1.0, 1.0, 0.5, 0.5]


def test_a_second_run_with_the_same_object_starts_at_scale_one(play):
    plugins = [LossAveraging(), ReduceOnPlateau(**WATCH_TRAIN, patience=1, factor=0.5)]
    first, second = play(plugins, [[1.0]] * 4), play(plugins, [[1.0]] * 4)
    assert rates(first) == rates(second) == [1.0, 1.0, 0.5, 0.25]


def test_a_run_without_a_learning_rate_is_an_error():
    run = Run(plugins=[ReduceOnPlateau()])
    with pytest.raises(RunStateError, match="'reduce_on_plateau' scales the learning rate, but the run has none"), run:
        next(run.epochs(1))


def test_in_a_trainer(make_trainer):
    trainer, train, val = make_trainer(
        [LossAveraging(), ReduceOnPlateau(patience=1, factor=0.5, min_delta=100.0)], learning_rate=0.01
    )
    history = trainer.fit(train, val, max_epochs=4)
    assert history["learning_rate"] == [0.01, 0.01, 0.005, 0.0025]


@pytest.mark.parametrize("wrong", [{"factor": 0.0}, {"factor": 1.0}, {"min_scale": 1.5}])
def test_an_option_of_its_own_out_of_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"ReduceOnPlateau: {name}: expected .*, got"):
        ReduceOnPlateau(**wrong)
