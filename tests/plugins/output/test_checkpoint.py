"""The checkpoint plugin: the epochs in which it saves, and resumed runs that equal runs without interruption."""

import numpy as np
import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import CheckpointError, OptionError
from rnncallbacks.plugins import (
    Checkpoint,
    CosineDecay,
    DivergenceAlarm,
    EarlyStopping,
    GradientClipping,
    HiddenStateReset,
    LossAveraging,
    PlateauAlarm,
    Progress,
    ReduceOnPlateau,
    Warmup,
)
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD, Adam
from rnncallbacks.training.trainer import Trainer

EPOCHS = 12
BEST = 3


class Interrupt:
    """Interrupts the run in the middle of an epoch, as if the process had ended."""

    def __init__(self, epoch):
        self.epoch = epoch

    @hookimpl
    def on_backward(self, run, batch):
        if run.epoch == self.epoch and batch.index == 3:
            raise KeyboardInterrupt


def trainer_with(path, *more, patience=4):
    """Plugins with state: schedules by batch and by metric, early stopping, alarms, averages; and Adam."""
    plugins = {
        "reset": HiddenStateReset(),
        "divergence": DivergenceAlarm(),
        "clip": GradientClipping(max_norm=0.5),
        "averages": LossAveraging(weight="token"),
        "warmup": Warmup(steps=7),
        "cosine": CosineDecay(steps=40, min_scale=0.3),
        "plateau": ReduceOnPlateau(patience=1, factor=0.5),
        "stop_on_val": EarlyStopping(patience=patience, rtol=0.05),
        "stop_on_train": EarlyStopping(monitor="train_loss", patience=50, restore_best=False),
        "progress": Progress(),
        "checkpoint": Checkpoint(path=path),
        **{f"more{index}": plugin for index, plugin in enumerate(more)},
    }
    model = RecurrentModel(8, vocab_size=4, seed=3)
    train = SequenceLoader(anbn(30, max_n=6, seed=1), batch_size=4, shuffle=True, seed=5)
    val = SequenceLoader(anbn(6, max_n=6, seed=2), batch_size=3, shuffle=False)
    return Trainer(model, Adam(), plugins=plugins, learning_rate=0.05), train, val


def everything(trainer):
    """The results of a run, as bytes."""
    run = trainer.run
    return {
        "params": trainer.model.parameters.flat.tobytes(),
        "optimizer": {name: array.tobytes() for name, array in trainer.optimizer.state.items()},
        "history": run.history.untimed(),
        "alarms": [str(alarm) for alarm in run.alarms],
        "scales": run.scales,
        "counts": (run.epoch, run.step),
        "stopped": run.stop_reason,
    }


@pytest.mark.parametrize("interrupted_in", [2, 4, 6])
def test_a_resumed_run_is_bit_for_bit_the_run_that_was_not_stopped(tmp_path, interrupted_in):
    whole, train, val = trainer_with(tmp_path / "whole")
    whole.fit(train, val, max_epochs=EPOCHS)

    first, train, val = trainer_with(tmp_path / "parts", Interrupt(interrupted_in))
    with pytest.raises(KeyboardInterrupt):
        first.fit(train, val, max_epochs=EPOCHS)

    second, train, val = trainer_with(tmp_path / "parts", Interrupt(-1))
    second.fit(train, val, max_epochs=EPOCHS)
    assert everything(second) == everything(whole)
    # Without these, the comparison would prove nothing: early stopping and both schedules acted.
    assert whole.run.stop_reason.startswith("RNN601 val_loss")
    assert whole.run.epoch == 7
    assert whole.run.scales["plateau"] < 1.0
    best, train, val = trainer_with(tmp_path / "best")
    best.fit(train, val, max_epochs=BEST)
    np.testing.assert_array_equal(whole.model.parameters.flat, best.model.parameters.flat)


def test_a_run_that_early_stopping_ended_stays_ended(tmp_path):
    first, train, val = trainer_with(tmp_path / "run")
    first.fit(train, val, max_epochs=50)
    again, train, val = trainer_with(tmp_path / "run")
    again.fit(train, val, max_epochs=50)
    assert again.run.epoch == first.run.epoch < 50
    assert again.run.stop_reason.startswith("RNN601 val_loss had not improved for 4 epochs when the run resumed")
    assert again.run.history == first.run.history
    assert (again.run.outcome.by, again.run.outcome.code) == ("stop_on_val", "RNN601")
    np.testing.assert_array_equal(again.model.parameters.flat, first.model.parameters.flat)


def test_unless_it_is_given_more_patience(tmp_path):
    first, train, val = trainer_with(tmp_path / "run")
    first.fit(train, val, max_epochs=50)
    more, train, val = trainer_with(tmp_path / "run", patience=9)
    more.fit(train, val, max_epochs=first.run.epoch + 2)
    assert more.run.epoch == first.run.epoch + 2


def test_every_epochs_is_the_number_of_epochs_between_two_saves(play, tmp_path):
    path = tmp_path / "run"
    seen = []

    class Look:
        @hookimpl
        def on_epoch_start(self, run):
            seen.append(path.read_bytes() if path.exists() else None)

    play([Checkpoint(path=path, every_epochs=2), Look()], [[1.0]] * 6)
    assert seen[0] is seen[1] is None
    assert seen[2] == seen[3] != seen[4] == seen[5]


def test_the_directory_of_the_file_is_created(play, tmp_path):
    path = tmp_path / "deep" / "er" / "run"
    play([Checkpoint(path=str(path))], [[1.0]])
    assert path.is_file()


def test_resume_false_starts_from_the_beginning_and_replaces_the_file(play, tmp_path):
    path = tmp_path / "run"
    play([Checkpoint(path=path)], [[1.0]] * 3)
    before = path.read_bytes()
    assert len(play([Checkpoint(path=path)], [[1.0]] * 3).history) == 3
    run = play([Checkpoint(path=path, resume=False)], [[1.0]] * 2)
    assert (run.epoch, run.step) == (2, 2)
    assert path.read_bytes() != before


def test_what_other_plugins_log_at_the_end_of_an_epoch_is_saved_whatever_the_order(play, tmp_path):
    class LogLast:
        @hookimpl(trylast=True)
        def on_epoch_end(self, run):
            run.log(last=run.epoch)

    play([Checkpoint(path=tmp_path / "run"), LogLast()], [[1.0]] * 2)
    resumed = play([Checkpoint(path=tmp_path / "run"), LogLast()], [[1.0]] * 2)
    assert resumed.history["last"] == [1, 2]


def test_a_custom_loop_resumes_with_its_state_and_its_own_optimizer(tmp_path):
    """A stream read over epochs with a carried state, and momentum that the script keeps itself."""

    def script(epochs, path):
        rng = np.random.default_rng(0)
        params = {"w": rng.normal(size=(3, 3)), "b": [np.zeros(3)]}
        velocity = {"w": np.zeros((3, 3)), "b": [np.zeros(3)]}
        seen = []
        plugins = [LossAveraging(), Checkpoint(path=path)]
        with Run(params, plugins=plugins, hidden_size=3, learning_rate=0.01, optimizer_state=velocity) as run:
            for epoch in run.epochs(epochs):
                for x in run.batches(list(np.random.default_rng(epoch).normal(size=(5, 3, 2)))):
                    hidden = run.hidden(2)
                    seen.append(hidden.copy())
                    after = np.tanh(params["w"] @ hidden + x + params["b"][0][:, None])
                    slope = after * (1 - after**2)
                    grads = run.backward(float((after**2).mean()), {"w": slope @ hidden.T, "b": [slope.sum(axis=1)]})
                    run.carry(after)
                    for v, g, p in (
                        (velocity["w"], grads["w"], params["w"]),
                        (velocity["b"][0], grads["b"][0], params["b"][0]),
                    ):
                        v[...] = 0.9 * v + g
                        p -= run.learning_rate * v
        return params, run.history, seen

    params, history, seen = script(6, tmp_path / "whole")
    script(2, tmp_path / "parts")
    resumed, resumed_history, resumed_seen = script(6, tmp_path / "parts")
    np.testing.assert_array_equal(resumed["w"], params["w"])
    np.testing.assert_array_equal(resumed["b"][0], params["b"][0])
    assert resumed_history == history
    np.testing.assert_array_equal(resumed_seen, seen[10:])
    assert seen[10].any()


@pytest.mark.parametrize(
    "options",
    [{}, {"cell": "lstm", "num_layers": 2, "dropout": 0.4}, {"cell": "gru", "num_layers": 2, "layer_norm": True}],
    ids=["vanilla", "lstm_with_dropout", "gru"],
)
def test_in_a_trainer_a_carried_stream_resumes(tmp_path, options):
    """States of any structure, and the dropout that the run would have gone on with."""

    def fit(path, epochs):
        model = RecurrentModel(4, vocab_size=5, seed=1, **options)
        trainer = Trainer(model, SGD(momentum=0.9), plugins=[LossAveraging(), Checkpoint(path=path)], learning_rate=0.1)
        history = trainer.fit(StreamLoader(np.arange(61) % 5, batch_size=4, seq_len=5), max_epochs=epochs)
        return history, model.parameters.flat.copy()

    history, parameters = fit(tmp_path / "whole", 4)
    fit(tmp_path / "parts", 1)
    resumed_history, resumed_parameters = fit(tmp_path / "parts", 4)
    assert resumed_history == history
    np.testing.assert_array_equal(resumed_parameters, parameters)


def test_two_instances_of_one_class_keep_their_states_apart(play, tmp_path):
    def plugins():
        return {
            "averages": LossAveraging(),
            "train": PlateauAlarm(patience=4),
            "val": PlateauAlarm(monitor="val_loss", patience=3),
            "checkpoint": Checkpoint(path=tmp_path / "run"),
        }

    play(plugins(), [[1.0]] * 2, val=[[9.0], [8.0]])
    # Resumed after two epochs: the play begins with the third. Each counts on from what it had seen.
    run = play(plugins(), [[1.0]] * 3, val=[[8.0]] * 1)
    assert run.alarms == []
    run = play(plugins(), [[1.0]] * 4, val=[[8.0]] * 1)
    assert run.alarms == []
    run = play(plugins(), [[1.0]] * 8, val=[[8.0]] * 4)
    assert [(alarm.message.split()[0], alarm.epoch, alarm.count) for alarm in run.alarms] == [("train_loss", 5, 2)]


def test_a_file_of_another_model_is_refused(tmp_path):
    trainer, train, val = trainer_with(tmp_path / "run")
    trainer.fit(train, val, max_epochs=1)
    other = Trainer(
        RecurrentModel(9, vocab_size=4),
        Adam(),
        plugins=[HiddenStateReset(), Checkpoint(path=tmp_path / "run")],
        learning_rate=1e-3,
    )
    before = other.model.parameters.flat.copy()
    with pytest.raises(CheckpointError, match="in this run"):
        other.fit(train, max_epochs=2)
    np.testing.assert_array_equal(other.model.parameters.flat, before)


def test_a_run_without_parameters_is_an_error(tmp_path):
    run = Run(plugins=[Checkpoint(path=tmp_path / "run")])
    with pytest.raises(CheckpointError, match="a checkpoint needs the parameters"), run:
        list(run.epochs(1))


def test_a_directory_that_cannot_be_created_is_an_error(play, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"cannot make the directory .*file"):
        play([Checkpoint(path=tmp_path / "file" / "run")], [[1.0]])


@pytest.mark.parametrize(
    "wrong",
    [{"path": 3}, {"every_epochs": 0}, {"every_epochs": 1.0}, {"every_steps": 0}, {"every_minutes": 0}, {"resume": 1}],
)
def test_options_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"Checkpoint: {name}: expected .*, got"):
        Checkpoint(**wrong)


def test_parameters_that_cannot_be_written_to_are_refused_and_nothing_is_overwritten(tmp_path):
    def train(params):
        with Run(params, plugins=[Checkpoint(path=tmp_path / "run")]) as run:
            for _ in run.epochs(1):
                for _ in run.batches([1]):
                    run.record(0.0)

    train({"a": np.ones(1), "b": np.ones(1)})
    params = {"a": np.zeros(1), "b": np.zeros(1)}
    params["b"].flags.writeable = False
    with pytest.raises(CheckpointError, match=r"params\.b cannot be written to"):
        train(params)
    assert params["a"] == 0.0
