"""Plateau alarms: in which epochs they are raised, with which evidence, and what each action does."""

import math

import pytest

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import DataError, OptionError, RunStateError
from rnncallbacks.plugins import LossAveraging, PlateauAlarm

NAN = math.nan
FLAT = [[1.0]] * 12


def codes(run):
    return [(alarm.code, alarm.epoch) for alarm in run.alarms]


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_it_is_raised_after_exactly_patience_epochs_without_improvement(play, patience):
    run = play([LossAveraging(), PlateauAlarm(patience=patience)], FLAT)
    assert codes(run) == [("RNN601", 1 + patience)]


def test_the_message_and_the_evidence(play):
    run = play([LossAveraging(), PlateauAlarm(patience=2)], [[3.0], [2.0], [2.5], [2.25]])
    (alarm,) = run.alarms
    assert alarm.message == "train_loss has not improved for 2 epochs: 2.25, best 2 in epoch 2"
    assert dict(alarm.evidence) == {
        "train_loss": 2.25,
        "epochs_without_improvement": 2,
        "best": 2.0,
        "best_epoch": 2,
    }


class Heard:
    """The epochs in which an alarm was raised, the first time or again."""

    def __init__(self):
        self.epochs = []

    @hookimpl
    def on_alarm(self, run):
        self.epochs.append(run.epoch)


def test_one_plateau_is_one_alarm_and_the_next_plateau_another(play):
    heard = Heard()
    losses = [[2.0], [2.0], [2.0], [2.0], [1.0], [1.0], [1.0], [1.0]]
    run = play([LossAveraging(), heard, PlateauAlarm(patience=2)], losses)
    assert heard.epochs == [3, 7]
    assert [(alarm.code, alarm.epoch, alarm.count) for alarm in run.alarms] == [("RNN601", 3, 2)]


def test_an_improving_metric_gives_no_alarm(play):
    assert play([LossAveraging(), PlateauAlarm(patience=1)], [[10.0 - epoch] for epoch in range(9)]).alarms == []


@pytest.mark.parametrize(
    ("options", "alarms"),
    [
        ({}, []),
        ({"min_delta": 0.05}, []),
        ({"min_delta": 0.35}, [("RNN601", 4)]),
        ({"rtol": 0.005}, []),
        ({"rtol": 0.05}, [("RNN601", 4)]),
        ({"mode": "max"}, [("RNN601", 4)]),
    ],
)
def test_what_counts_as_an_improvement(play, options, alarms):
    # Four epochs that each lose 0.1 of 10.
    plugins = [LossAveraging(), PlateauAlarm(patience=3, **options)]
    assert codes(play(plugins, [[10.0], [9.9], [9.8], [9.7]])) == alarms


def test_more_is_better_in_the_mode_max(play):
    plugins = [LossAveraging(), PlateauAlarm(patience=2, mode="max")]
    assert codes(play(plugins, [[1.0], [2.0], [3.0], [4.0]])) == []
    assert codes(play(plugins, [[4.0], [3.0], [2.0], [1.0]])) == [("RNN601", 3)]


def test_any_column_can_be_watched(play):
    plugins = [LossAveraging(), PlateauAlarm(monitor="val_loss", patience=1)]
    falling = [[3.0], [2.0], [1.0]]
    assert codes(play(plugins, falling, val=[[1.0], [1.0], [1.0]])) == [("RNN601", 2)]


def test_a_column_that_is_not_there_is_named_with_those_that_are(play):
    with pytest.raises(
        DataError, match="has no column 'train_los'; it has epoch, learning_rate, seconds, train_loss"
    ) as failed:
        play([LossAveraging(), PlateauAlarm(monitor="train_los")], FLAT)
    assert "did you mean 'train_loss'?" in str(failed.value)
    with pytest.raises(DataError, match="loss_averaging"):
        play([PlateauAlarm()], FLAT)


def test_a_run_stopped_before_the_column_was_there_ends_without_an_error(play):
    class StopAtOnce:
        @hookimpl
        def on_backward(self, run):
            run.stop("enough")

    plugins = [LossAveraging(), PlateauAlarm(monitor="val_loss", patience=1), StopAtOnce()]
    run = play(plugins, FLAT, val=[[1.0]] * 12)
    assert (run.stop_reason, len(run.history), run.alarms) == ("enough", 1, [])


def test_action_warn_continues_stop_ends_and_raise_fails(play):
    warned = play([LossAveraging(), PlateauAlarm(patience=2, action="warn")], FLAT)
    assert (len(warned.history), warned.stop_reason) == (12, None)
    stopped = play([LossAveraging(), PlateauAlarm(patience=2, action="stop")], FLAT)
    assert len(stopped.history) == 3
    assert stopped.stop_reason == "RNN601 train_loss has not improved for 2 epochs: 1, best 1 in epoch 1"
    with pytest.raises(AlarmRaised, match="RNN601 train_loss has not improved"):
        play([LossAveraging(), PlateauAlarm(patience=2, action="raise")], FLAT)


def test_a_value_that_is_not_finite_is_reported_once(play):
    run = play([LossAveraging(), PlateauAlarm(patience=3)], [[NAN], [math.inf], [3.0], [2.0], [NAN], [1.0]])
    assert codes(run) == [("RNN403", 1)]
    assert run.alarms[0].message == "train_loss is nan"


def test_never_a_finite_value_is_a_plateau_without_a_best(play):
    run = play([LossAveraging(), PlateauAlarm(patience=3, action="stop")], [[NAN]] * 9)
    assert codes(run) == [("RNN403", 1), ("RNN601", 3)]
    assert run.alarms[1].message == "train_loss has not improved for 3 epochs, and has had no finite value"


def test_two_instances_have_separate_states(play):
    heard = Heard()
    plugins = {
        "averages": LossAveraging(),
        "heard": heard,
        "quick": PlateauAlarm(patience=2),
        "slow": PlateauAlarm(monitor="val_loss", patience=5),
    }
    run = play(plugins, [[1.0]] * 9, val=[[9.0], [8.0], [7.0]] + [[7.0]] * 6)
    assert heard.epochs == [3, 8]
    assert [(alarm.message.split()[0], alarm.count) for alarm in run.alarms] == [("train_loss", 2)]


def test_a_second_run_with_the_same_object_starts_from_the_beginning(play):
    plugins = [LossAveraging(), PlateauAlarm(patience=2, action="stop")]
    first, second = play(plugins, FLAT), play(plugins, FLAT)
    assert codes(first) == codes(second) == [("RNN601", 3)]
    assert len(second.history) == 3


def test_in_a_trainer(make_trainer):
    trainer, train, val = make_trainer(
        [LossAveraging(), PlateauAlarm(monitor="val_loss", patience=2, action="stop")], learning_rate=1e-30
    )
    history = trainer.fit(train, val, max_epochs=10)
    assert len(history) == 3
    assert codes(trainer.run) == [("RNN601", 3)]


def test_restoring_needs_the_parameters():
    run = Run(plugins=[PlateauAlarm(restore_best=True)])
    with pytest.raises(RunStateError, match="restore_best: expected a run with parameters"), run:
        next(run.epochs(1))


@pytest.mark.parametrize("wrong", [{"action": "repair"}, {"restore_best": 1}])
def test_an_option_of_its_own_out_of_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"PlateauAlarm: {name}: expected .*, got"):
        PlateauAlarm(**wrong)
