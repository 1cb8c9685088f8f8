"""A sweep with Optuna itself: what trials report, how they are pruned, and that no alarm makes one fail."""

import math

import numpy as np
import pytest

from rnncallbacks import Run, hookimpl, load_plugins
from rnncallbacks.errors import ConfigurationError, OptionError
from rnncallbacks.plugins import Checkpoint, DivergenceAlarm, EarlyStopping, LossAveraging, Optuna
from rnncallbacks.testing import check_plugin

optuna = pytest.importorskip("optuna")
pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore")]
PRUNED, COMPLETE = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.COMPLETE


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def study_of(*runs, others=(), pruner=None, direction="minimize", **options):
    """A study with one trial for each list of validation losses."""

    def objective(trial):
        pruning = Optuna(trial, **options)
        with Run(plugins=[LossAveraging(), *[make() for make in others], pruning]) as run:
            for epoch in run.epochs(len(runs[trial.number])):
                for loss in run.batches([1.0]):
                    run.record(loss)
                for _ in run.batches([None], phase="val"):
                    run.record(runs[trial.number][epoch - 1])
        return pruning.result(run)

    study = optuna.create_study(direction=direction, pruner=pruner or optuna.pruners.NopPruner())
    study.optimize(objective, n_trials=len(runs))
    return study.trials


def test_values_are_reported_by_epoch_and_the_best_is_the_result():
    (trial,) = study_of([3.0, 1.0, 2.0])
    assert (trial.state, trial.value) == (COMPLETE, 1.0)
    assert trial.intermediate_values == {1: 3.0, 2: 1.0, 3: 2.0}
    assert trial.user_attrs == {"outcome": "finished", "alarms": []}
    assert study_of([3.0, 1.0, 2.0], value="last")[0].value == 2.0
    assert study_of([3.0, 1.0, 2.0], mode="max", direction="maximize")[0].value == 3.0


def test_a_trial_that_falls_behind_is_pruned():
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1)
    first, second = study_of([3.0, 1.0], [4.0, 0.0], pruner=pruner)
    assert (first.state, second.state) == (COMPLETE, PRUNED)
    assert second.intermediate_values == {1: 4.0}
    assert second.user_attrs["outcome"].startswith("stopped by optuna: pruned after epoch 1: val_loss 4 is worse")


class Stops:
    """Stops in the training of the second epoch, so that its validation is left out."""

    @hookimpl
    def on_batch_end(self, run, batch):
        if run.epoch == 2 and batch.phase == "train":
            run.raise_alarm("RNN602", "it diverges", action="stop")


class StopsAtOnce(Stops):
    @hookimpl
    def on_batch_end(self, run, batch):
        run.raise_alarm("RNN602", "it diverges", action="stop")


def test_no_trial_fails_because_an_alarm_stopped_it():
    (early,) = study_of([3.0, 2.0, 2.0, 2.0], others=[lambda: EarlyStopping(patience=1, restore_best=False)])
    assert (early.state, early.value, early.user_attrs["alarms"]) == (COMPLETE, 2.0, ["RNN601"])
    (cut,) = study_of([3.0, 2.0], others=[Stops])
    assert (cut.state, cut.value) == (COMPLETE, 3.0)
    (none,) = study_of([3.0, 2.0], others=[StopsAtOnce])
    assert (none.state, none.user_attrs["alarms"]) == (PRUNED, ["RNN602"])
    assert none.user_attrs["outcome"] == "stopped by stops_at_once: RNN602 it diverges"


@pytest.mark.parametrize("losses", [[math.nan, math.inf], [math.nan]])
def test_a_trial_without_a_finite_value_is_pruned(losses):
    (trial,) = study_of(losses, others=[DivergenceAlarm])
    assert trial.state == PRUNED


def test_a_value_that_is_not_finite_does_not_count():
    (trial,) = study_of([2.0, math.nan, math.inf], value="last")
    assert (trial.state, trial.value) == (COMPLETE, 2.0)


def test_the_run_knows_its_trial_and_a_resumed_run_keeps_its_values(tmp_path):
    trial = optuna.create_study().ask()

    def train(epochs):
        pruning = Optuna(trial, monitor="error")
        with Run(np.zeros(1), plugins=[Checkpoint(), pruning], directory=tmp_path, state={}) as run:
            for epoch in run.epochs(epochs):
                run.log(error=epoch)
        return pruning.result(run), run

    assert train(1)[1].facts["trial"] == trial.number
    assert train(3)[0] == 1  # the best value is that of the first process


def test_options_are_checked():
    with pytest.raises(OptionError, match="mode"):
        Optuna(optuna.trial.FixedTrial({}), mode="lowest")
    with pytest.raises(OptionError, match="mode: expected 'min', as the study is to minimize, got 'max'"):
        study_of([1.0], mode="max")
    with pytest.raises(OptionError, match=r"trial: expected the trial of an objective, got None(.|\n)*def objective"):
        Optuna(None)


def test_a_configuration_has_its_options_and_the_program_its_trial():
    source = {"plugins": {"optuna": {"monitor": "val_error", "mode": "max"}}}
    trial = optuna.trial.FixedTrial({})
    plugin = load_plugins(source, override={"optuna.trial": trial})["optuna"]
    assert (plugin.trial, plugin.monitor, plugin.mode) == (trial, "val_error", "max")
    with pytest.raises(ConfigurationError, match=r"optuna.trial: expected ReportingTrial, got 3 \(int\)"):
        load_plugins(source, override={"optuna.trial": 3})


def test_it_passes_the_checks_of_plugins():
    check_plugin(lambda: Optuna(optuna.trial.FixedTrial({}), monitor="train_loss"), budget_us=None, batches=200)
