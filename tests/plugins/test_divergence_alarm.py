"""Divergence alarms: what is not finite is seen before the update, rises and spikes soon after, and noise never."""

import math

import numpy as np
import pytest

from rnncallbacks.errors import AlarmRaised, OptionError
from rnncallbacks.plugins import Checkpoint, DivergenceAlarm, LossAveraging
from rnncallbacks.rnn.optimizers import SGD
from rnncallbacks.run import Run

NAN, INF = math.nan, math.inf
BATCHES = 1000


def codes(run):
    return [alarm.code for alarm in run.alarms]


def noisy(level, noise, seed):
    return list(level * (1.0 + noise * np.random.default_rng(seed).normal(size=len(level))))


# --- what is not finite ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
def test_a_loss_that_is_not_finite_stops_before_the_update(play, loss):
    run = play([DivergenceAlarm()], [[1.0, 1.0, loss, 1.0]])
    assert codes(run) == ["RNN403"]
    assert run.alarms[0].message == f"the loss ({loss}) of batch 3 of train is not finite"
    assert run.alarms[0].step == 3
    assert run.stop_reason.startswith("RNN403")
    np.testing.assert_array_equal(run.params["w"], [2.0, 2.0])


def train_with(gradients, plugin, params=None):
    params = {"u": np.zeros(2), "w": np.zeros(3)} if params is None else params
    with Run(params, plugins=[plugin], learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for grads in run.batches(gradients):
                run.backward(1.0, grads)
                for name in params:
                    params[name] -= run.learning_rate * grads[name]
    return run


@pytest.mark.parametrize("bad", [NAN, INF])
def test_one_entry_of_one_gradient_is_found_and_named(bad):
    good = {"u": np.ones(2), "w": np.ones(3)}
    sick = {"u": np.ones(2), "w": np.array([1.0, bad, 1.0])}
    run = train_with([good, sick, good], DivergenceAlarm())
    assert [alarm.message for alarm in run.alarms] == ["the gradient 'w' of batch 2 of train is not finite"]
    # The script does not look at run.skipped: the gradients themselves were made zero.
    np.testing.assert_array_equal(run.params["u"], [-1.0, -1.0])
    np.testing.assert_array_equal(run.params["w"], [-1.0, -1.0, -1.0])


def test_a_gradient_without_a_name():
    params = np.zeros(2)
    with Run(params, plugins=[DivergenceAlarm()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([0]):
                run.backward(1.0, np.array([0.0, NAN]))
    assert run.alarms[0].message == "the gradient of batch 1 of train is not finite"


def test_large_but_finite_gradients_are_finite():
    grads = {"u": np.full(2, 1e30, dtype=np.float32), "w": np.full(3, 1e30, dtype=np.float32)}
    assert train_with([grads], DivergenceAlarm()).alarms == []


def test_action_raise_leaves_the_parameters_as_they_were():
    params = {"u": np.zeros(2), "w": np.zeros(3)}
    sick = {"u": np.ones(2), "w": np.array([1.0, NAN, 1.0])}
    with pytest.raises(AlarmRaised, match="RNN403 the gradient 'w'") as raised:
        train_with([sick], DivergenceAlarm(action="raise"), params)
    assert raised.value.alarm.code == "RNN403"
    np.testing.assert_array_equal(params["w"], np.zeros(3))


def test_action_warn_says_it_once_and_goes_on(play):
    run = play([DivergenceAlarm(action="warn")], [[1.0, NAN, NAN, 1.0]])
    assert codes(run) == ["RNN403"]
    assert run.stop_reason is None
    np.testing.assert_array_equal(run.params["w"], [4.0, 4.0])


def test_a_validation_loss_that_is_not_finite(play):
    run = play([LossAveraging(), DivergenceAlarm()], [[1.0]] * 3, val=[[1.0], [1.0, NAN, 1.0]])
    assert [alarm.message for alarm in run.alarms] == ["the loss (nan) of batch 2 of val is not finite"]
    assert len(run.history) == 2
    with pytest.raises(AlarmRaised):
        play([DivergenceAlarm(action="raise")], [[1.0]], val=[[NAN]])


def test_a_batch_without_a_loss_is_no_alarm():
    with Run(plugins=[DivergenceAlarm()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([0, 0], phase="val"):
                pass
    assert run.alarms == []


# --- rises -------------------------------------------------------------------------------------------------------

T = np.arange(BATCHES)
LEARNING = 0.2 + 1.8 * np.exp(-T / 200)
SICK = {
    "a step of a half": (np.where(T < 500, 1.0, 1.5), 500),
    "a slow rise": (1.0 + np.maximum(T - 500, 0) / 300, 500),
    "an explosion": (1.03 ** np.maximum(T - 500, 0), 500),
    "an explosion from the start": (1.1 ** np.minimum(T, 200), 0),
    "a rise from the start": (1.0 + T / 100, 0),
    "a jump at the second batch": (np.where(T < 1, 4.0, 20.0), 0),
    "learned, then forgotten": (np.where(T < 600, LEARNING, 2.0), 600),
}


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("name", SICK)
def test_a_rise_is_seen_soon_and_not_before_it_is_there(play, name, noise):
    level, begins = SICK[name]
    run = play([DivergenceAlarm()], [noisy(level, noise, seed=1)])
    assert [code for code in codes(run) if code != "RNN605"] == ["RNN602"]
    assert begins < run.alarms[-1].step <= begins + 200
    assert run.stop_reason.startswith("RNN602 ")
    assert run.step == run.alarms[-1].step


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.1, 0.3, 0.5])
@pytest.mark.parametrize(
    "level", [np.ones(BATCHES), LEARNING, 4.0 - 3.0 * T / BATCHES], ids=["flat", "learning", "line"]
)
def test_noise_is_no_alarm(play, level, noise, seed):
    assert codes(play([DivergenceAlarm()], [noisy(level, noise, seed)])) == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", [LEARNING, 1.0], ids=["learning", "flat"])
def test_single_sequences_with_skewed_losses_are_no_divergence(play, level, seed):
    losses = level * (0.3 + np.random.default_rng(seed).exponential(size=BATCHES))
    assert "RNN602" not in codes(play([DivergenceAlarm()], [list(losses)]))


@pytest.mark.parametrize("position", [0, 1, 5])
def test_a_lucky_early_batch_is_no_divergence(play, position):
    losses = noisy(np.ones(300), 0.3, seed=0)
    losses[position] = 0.4
    assert codes(play([DivergenceAlarm()], [losses])) == []


STEP = noisy(np.where(T < 500, 1.0, 1.5), 0.1, seed=2)


def test_a_rise_within_max_rise_is_none(play):
    assert codes(play([DivergenceAlarm(max_rise=0.8)], [STEP])) == []
    assert codes(play([DivergenceAlarm(max_rise=0.4)], [STEP])) == ["RNN602"]


def test_losses_below_zero_are_judged_alike(play):
    assert codes(play([DivergenceAlarm()], [[loss - 2.0 for loss in STEP]])) == ["RNN602"]
    assert codes(play([DivergenceAlarm()], [list(-1.0 - T / 100)])) == []


def test_a_shorter_window_sees_a_rise_sooner(play):
    steps = [play([DivergenceAlarm(window=window)], [STEP]).alarms[0].step for window in (20, 200)]
    assert 500 < steps[0] < steps[1]


# --- spikes ------------------------------------------------------------------------------------------------------


def test_a_spike_is_a_warning_whatever_the_action(play):
    losses = noisy(np.ones(300), 0.05, seed=0)
    losses[200] = 3.0
    run = play([DivergenceAlarm(action="raise")], [losses])
    assert codes(run) == ["RNN605"]
    assert run.alarms[0].step == 201
    assert run.alarms[0].severity == "warning"
    assert run.alarms[0].evidence["loss"] == 3.0
    assert len(run.history) == 1


def test_spikes_are_told_of_once_and_judged_by_spike_and_max_rise(play):
    losses = noisy(np.ones(300), 0.05, seed=0)
    losses[200] = losses[250] = 2.0
    assert codes(play([DivergenceAlarm()], [losses])) == ["RNN605"]
    assert codes(play([DivergenceAlarm(spike=50.0)], [losses])) == []
    assert codes(play([DivergenceAlarm(max_rise=2.0)], [losses])) == []


def test_no_spike_before_the_window_is_full(play):
    losses = noisy(np.ones(300), 0.05, seed=0)
    losses[30] = 3.0
    assert codes(play([DivergenceAlarm(window=50)], [losses])) == []
    assert codes(play([DivergenceAlarm(window=20)], [losses])) == ["RNN605"]


# --- the rest ----------------------------------------------------------------------------------------------------


def test_two_instances_keep_to_themselves(play):
    plugins = {
        "careful": DivergenceAlarm(max_rise=0.1, action="warn"),
        "patient": DivergenceAlarm(max_rise=3.0, action="stop"),
    }
    run = play(plugins, [STEP])
    assert (codes(run), run.stop_reason) == (["RNN602"], None)


def test_a_second_run_with_the_same_object_begins_anew(play):
    plugins = [DivergenceAlarm()]
    first, second = play(plugins, [STEP]), play(plugins, [STEP])
    assert codes(second) == ["RNN602"]
    assert first.alarms == second.alarms


def test_in_a_trainer_a_healthy_run_is_silent_and_a_wild_one_is_stopped(make_trainer):
    trainer, train, val = make_trainer([LossAveraging(), DivergenceAlarm()])
    trainer.fit(train, val, max_epochs=30)
    assert trainer.run.alarms == []
    trainer, train, val = make_trainer([LossAveraging(), DivergenceAlarm()], learning_rate=30.0)
    trainer.optimizer = SGD()
    trainer.fit(train, val, max_epochs=30)
    assert codes(trainer.run) == ["RNN602"]
    assert trainer.run.step == 51
    assert "the lowest of 50 losses is" in trainer.run.stop_reason


@pytest.mark.parametrize(
    "wrong", [{"max_rise": 0.0}, {"spike": -1.0}, {"spike": INF}, {"window": 1}, {"action": "repair"}]
)
def test_options_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"DivergenceAlarm: {name}: expected .*, got"):
        DivergenceAlarm(**wrong)


def test_a_resumed_run_that_meets_nan_again_stops_again(tmp_path):
    def train(epochs):
        params = {"w": np.array([4.0])}
        with Run(params, plugins=[Checkpoint(path=tmp_path / "run"), DivergenceAlarm()], learning_rate=0.1) as run:
            for epoch in run.epochs(epochs):
                for loss in run.batches([1.0, np.nan if epoch > 1 else 1.0, 1.0]):
                    run.backward(loss, {"w": np.ones(1)})
        return run

    assert train(6).stop_reason.startswith("RNN403")
    again = train(6)
    assert again.epoch == 3
    assert again.stop_reason.startswith("RNN403")


def test_a_training_loss_that_is_only_recorded_is_watched_too():
    with Run(plugins=[DivergenceAlarm()]) as run:
        for _ in run.epochs(1):
            for loss in run.batches([1.0, np.nan, 1.0]):
                run.record(loss)
    assert [alarm.code for alarm in run.alarms] == ["RNN403"]
    assert run.step == 2
