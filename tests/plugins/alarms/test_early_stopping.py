"""Early stopping: the epoch in which it stops, and the parameters that it restores for each kind of update."""

import numpy as np
import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError, RunStateError
from rnncallbacks.plugins import EarlyStopping, LossAveraging, PlateauAlarm

# The best value is that of epoch 3; with patience 2, the run stops after epoch 5.
VAL = [3.0, 2.0, 1.0, 1.5, 1.25, 0.5]


def stopping(**options):
    return [LossAveraging(), EarlyStopping(patience=2, **options)]


def test_it_is_a_plateau_alarm_with_other_defaults():
    assert isinstance(EarlyStopping(), PlateauAlarm)
    plugin = EarlyStopping()
    assert (plugin.monitor, plugin.action, plugin.restore_best) == ("val_loss", "stop", True)


def test_stops_and_restores_in_place(play):
    run = play(stopping(), [[9.0, 9.0]] * 6, val=[[value] for value in VAL])
    assert len(run.history) == 5
    assert run.stop_reason.startswith("RNN601 val_loss has not improved for 2 epochs: 1.25, best 1 in epoch 3")
    # The parameter counts updates: two an epoch, three epochs until the best one.
    np.testing.assert_array_equal(run.params["w"], [6.0, 6.0])


def test_without_restore_best_the_last_parameters_stay(play):
    run = play(stopping(restore_best=False), [[9.0, 9.0]] * 6, val=[[value] for value in VAL])
    np.testing.assert_array_equal(run.params["w"], [10.0, 10.0])


def test_restores_at_the_end_of_a_run_that_was_not_stopped(play):
    run = play([LossAveraging(), EarlyStopping(patience=50)], [[9.0]] * 5, val=[[value] for value in VAL])
    assert run.stop_reason is None
    np.testing.assert_array_equal(run.params["w"], [3.0, 3.0])


def test_an_error_in_the_script_still_leaves_the_best_parameters():
    params = {"w": np.zeros(1)}

    def script():
        with Run(params, plugins=stopping()) as run:
            for epoch in run.epochs(6):
                params["w"] += 1.0
                for loss in run.batches([VAL[epoch - 1]], phase="val"):
                    run.record(loss)
                if epoch == 4:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        script()
    np.testing.assert_array_equal(params["w"], [3.0])


def test_validation_before_training_restores_the_parameters_that_were_validated():
    params = {"w": np.zeros(1)}
    validated = []
    with Run(params, plugins=stopping()) as run:
        for epoch in run.epochs(6):
            validated.append(params["w"].copy())
            for loss in run.batches([VAL[epoch - 1], VAL[epoch - 1]], phase="val"):
                run.record(loss)
            for _ in run.batches([0]):
                run.backward(1.0, {"w": np.ones(1)})
                params["w"] += 1.0
    np.testing.assert_array_equal(params["w"], validated[2])


def rebinding_script(*, tell_run, val, epochs):
    """Trains with an update that returns new arrays, as in scripts from scratch and in functional libraries."""
    params = [np.zeros((2, 2)), {"b": np.zeros(2)}]
    with Run(params, plugins=stopping()) as run:
        for epoch in run.epochs(epochs):
            for _ in run.batches([0]):
                run.backward(1.0, [np.ones((2, 2)), {"b": np.ones(2)}])
                params = [params[0] - 1.0, {"b": params[1]["b"] - 1.0}]
                if tell_run:
                    run.params = params
            for _ in run.batches([0], phase="val"):
                run.record(val[epoch - 1])
    return params


def test_new_arrays_that_are_assigned_to_the_run():
    params = rebinding_script(tell_run=True, val=VAL, epochs=6)
    np.testing.assert_array_equal(params[0], np.full((2, 2), -3.0))
    np.testing.assert_array_equal(params[1]["b"], [-3.0, -3.0])


def test_new_arrays_that_are_not_assigned_are_an_error_at_the_second_improvement():
    with pytest.raises(
        RunStateError, match="val_loss improved, but run\\.params still equals the initial parameters"
    ) as failed:
        rebinding_script(tell_run=False, val=VAL, epochs=6)
    assert "run.params = params" in str(failed.value)


def test_new_arrays_that_are_not_assigned_are_a_warning_if_nothing_improved_again(caplog):
    rebinding_script(tell_run=False, val=[1.0] * 6, epochs=6)
    assert "run.params never changed in this run" in caplog.text
    assert "run.params = params" in caplog.text


@pytest.mark.parametrize("rate", [lambda epoch: 0.0 if epoch > 2 else 0.5, lambda epoch: 0.5])
def test_parameters_that_no_longer_move_are_no_error(rate, caplog):
    """A learning rate that has decayed to 0, and a loop that has converged exactly."""
    params = {"w": np.array([4.0])}
    with Run(params, plugins=stopping()) as run:
        for epoch in run.epochs(20):
            for target in run.batches([1.0]):
                grads = run.backward(0.0, {"w": 2 * (params["w"] - target)})
                params["w"] -= rate(epoch) * grads["w"]
            for target in run.batches([1.0], phase="val"):
                run.record(((params["w"] - target) ** 2).item() + 1.0 / (1 + min(epoch, 3)))
    assert run.stop_reason.startswith("RNN601")
    assert "never changed" not in caplog.text


def test_new_arrays_in_the_same_container_need_no_assignment():
    params = {"w": np.zeros(1)}
    with Run(params, plugins=stopping()) as run:
        for epoch in run.epochs(6):
            for _ in run.batches([0]):
                run.backward(1.0, {"w": np.ones(1)})
                params["w"] = params["w"] + 1.0
            for _ in run.batches([0], phase="val"):
                run.record(VAL[epoch - 1])
    np.testing.assert_array_equal(params["w"], [3.0])


def test_of_two_instances_the_first_to_exhaust_its_patience_stops_the_run(play):
    plugins = {
        "averages": LossAveraging(),
        "val": EarlyStopping(patience=4),
        "train": EarlyStopping(monitor="train_loss", patience=2, restore_best=False),
    }
    run = play(plugins, [[1.0]] * 9, val=[[9.0 - epoch] for epoch in range(9)])
    assert run.stop_reason.startswith("RNN601 train_loss")
    assert len(run.history) == 3


def test_a_second_run_with_the_same_object_starts_from_the_beginning(play):
    plugins = stopping()
    runs = [play(plugins, [[9.0, 9.0]] * 6, val=[[value] for value in VAL]) for _ in range(2)]
    assert [len(run.history) for run in runs] == [5, 5]
    np.testing.assert_array_equal(runs[1].params["w"], [6.0, 6.0])


def test_in_a_trainer_the_network_scores_its_best_again(make_trainer):
    trainer, train, val = make_trainer(stopping(), learning_rate=0.5)
    history = trainer.fit(train, val, max_epochs=20)
    assert trainer.run.stop_reason is not None
    losses, positions = 0.0, 0
    for batch in val:
        loss, _ = trainer.model.forward(batch, trainer.model.zero_state(batch.size))
        losses, positions = losses + loss, positions + 1
    assert losses / positions == pytest.approx(min(history["val_loss"]), rel=1e-6)
    assert history["val_loss"][-1] > min(history["val_loss"])


@pytest.mark.parametrize("wrong", [{"action": "restore"}, {"restore_best": "yes"}])
def test_an_option_of_its_own_out_of_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"EarlyStopping: {name}: expected .*, got"):
        EarlyStopping(**wrong)


def test_epochs_before_the_first_one_that_counts_are_left_out(play):
    plugin = EarlyStopping(patience=2, start_from_epoch=4, restore_best=False)
    run = play([LossAveraging(), plugin], [[9.0]] * 6, val=[[value] for value in VAL])
    assert len(run.history) == 6
    assert (plugin.best, plugin.best_epoch) == (0.5, 6)


@pytest.mark.parametrize(
    ("mode", "baseline", "epochs", "best", "best_epoch"),
    [("min", 1.0, 3, 1.0, 3), ("min", 1.5, 6, 0.5, 6), ("max", 3.5, 3, 3.0, 1)],
)
def test_until_the_baseline_is_beaten_no_epoch_is_an_improvement(play, mode, baseline, epochs, best, best_epoch):
    plugin = EarlyStopping(patience=3, baseline=baseline, mode=mode)
    run = play([LossAveraging(), plugin], [[9.0, 9.0]] * 6, val=[[value] for value in VAL])
    assert (len(run.history), plugin.best, plugin.best_epoch) == (epochs, best, best_epoch)
    np.testing.assert_array_equal(run.params["w"], [2.0 * best_epoch] * 2)


@pytest.mark.parametrize(("mode", "threshold", "epochs"), [("min", 1.0, 3), ("min", 0.1, 6), ("max", 2.5, 1)])
def test_a_value_that_is_good_enough_ends_the_run(play, mode, threshold, epochs):
    plugins = {"averages": LossAveraging(), "stop": EarlyStopping(patience=50, stopping_threshold=threshold, mode=mode)}
    run = play(plugins, [[9.0]] * 6, val=[[value] for value in VAL])
    assert len(run.history) == epochs
    if epochs < 6:
        assert run.stop_reason == f"stop: val_loss {VAL[epochs - 1]:g} reached the threshold {threshold:g}"
        assert not run.alarms


class GoesBack:
    """Repairs in the third epoch: the parameters are the initial ones again."""

    @hookimpl
    def on_backward(self, run, batch):
        if (run.epoch, batch.index) == (3, 2):
            run.raise_alarm("RNN501", "too high", action="repair")

    @hookimpl
    def on_alarm(self, run, alarm):
        if alarm.code != "RNN501":
            return
        run.params["w"][...] = 0.0
        run.report_repair(alarm, "the parameters were restored from step 0")


def test_a_repair_that_goes_back_to_the_start_is_no_error_and_starts_the_patience_again(play):
    params = {"w": np.zeros(1)}
    plugins = [*stopping(), GoesBack()]
    values = [2.0, 3.0, 3.1, 1.5, 1.6, 1.7, 1.0]
    with Run(params, plugins=plugins) as run:
        for epoch in run.epochs(7):
            for _ in run.batches([0, 1]):
                params["w"] += epoch != 4
                run.backward(1.0, {"w": np.zeros(1)})
            for _ in run.batches([0], phase="val"):
                run.record(values[epoch - 1])
    assert run.epoch == 6
    assert run.stop_reason.startswith("RNN601 val_loss has not improved for 2 epochs: 1.7, best 1.5 in epoch 4")


def test_best_parameters_of_another_model_are_refused_before_anything_is_restored():
    plugin, params = EarlyStopping(), {"w": np.zeros(2)}
    plugin.check_state({"_best_params": {}}, params)
    plugin.check_state({"_best_params": {"w": np.ones(2)}}, params)
    for other in ({"v": np.ones(2)}, {"w": np.ones(3)}):
        with pytest.raises(ValueError, match=r"the best parameters are .*, those of the run"):
            plugin.check_state({"_best_params": other}, params)
