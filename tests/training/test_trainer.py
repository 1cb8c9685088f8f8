"""The trainer: the numbers of the same loop written out by hand, the plugins it is given, and how it ends."""

import copy
import tracemalloc

import numpy as np
import pytest

from rnncallbacks.config.configuration import RECOMMENDED
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.errors import DataError, OptionError, RunStateError
from rnncallbacks.plugins import (
    Checkpoint,
    DivergenceAlarm,
    GradientClipping,
    HiddenStateReset,
    LossAveraging,
    Progress,
)
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.loaders import ArrayLoader, SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD, Adam
from rnncallbacks.training.trainer import Trainer


def loader(shuffle=True, seed=0, count=20):
    return SequenceLoader(anbn(count, max_n=5, seed=seed), batch_size=4, shuffle=shuffle, seed=seed)


def model(seed=0, **options):
    return RecurrentModel(6, vocab_size=4, seed=seed, **options)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), Adam()])
def test_it_is_the_loop_one_would_write(optimizer):
    trained, by_hand = model(), model()
    trainer = Trainer(
        trained, copy.deepcopy(optimizer), plugins=[HiddenStateReset(), LossAveraging()], learning_rate=0.01
    )
    history = trainer.fit(loader(), loader(shuffle=False, seed=1), max_epochs=3)

    optimizer.bind(by_hand.parameters)
    batches, val_batches = loader(), loader(shuffle=False, seed=1)
    for epoch in range(3):
        losses = []
        for batch in batches:
            loss, _ = by_hand.forward(batch, by_hand.zero_state(batch.size))
            optimizer.step(by_hand.backward(), 0.01)
            losses.append(loss)
        val_losses = [by_hand.forward(batch, by_hand.zero_state(batch.size))[0] for batch in val_batches]
        assert history["train_loss"][epoch] == pytest.approx(np.mean(losses), rel=1e-12)
        assert history["val_loss"][epoch] == pytest.approx(np.mean(val_losses), rel=1e-12)
    np.testing.assert_array_equal(trained.parameters.flat, by_hand.parameters.flat)


def test_a_stream_carries_its_state_through_training_and_validation_apart():
    trained, by_hand = model(), model()
    tokens = np.random.default_rng(0).integers(0, 4, 101)
    stream, held_out = (
        StreamLoader(tokens, batch_size=5, seq_len=4),
        StreamLoader(tokens[::-1], batch_size=2, seq_len=9),
    )
    trainer = Trainer(trained, SGD(), plugins=[HiddenStateReset(), LossAveraging()], learning_rate=0.1)
    history = trainer.fit(stream, held_out, max_epochs=1)

    optimizer = SGD()
    optimizer.bind(by_hand.parameters)
    means = []
    for part, learning in ((stream, True), (held_out, False)):
        losses, state = [], by_hand.zero_state(part.batch_size)
        for batch in part:
            loss, state = by_hand.forward(batch, state)
            if learning:
                optimizer.step(by_hand.backward(), 0.1)
            losses.append(loss)
        means.append(np.mean(losses))
    assert [history["train_loss"][0], history["val_loss"][0]] == pytest.approx(means, rel=1e-12)
    np.testing.assert_array_equal(trained.parameters.flat, by_hand.parameters.flat)


def test_the_same_seeds_give_the_same_numbers_bit_for_bit():
    def fit():
        trainer = Trainer(model(seed=4), Adam(), learning_rate=0.01)
        return trainer, trainer.fit(loader(seed=2), loader(seed=3), max_epochs=4)

    (one, first), (two, second) = fit(), fit()
    assert first == second
    assert one.model.parameters.flat.tobytes() == two.model.parameters.flat.tobytes()


def test_no_plugins_given_are_the_recommended_ones():
    trainer = Trainer(model(), Adam(), learning_rate=0.01)
    history = trainer.fit(loader(), max_epochs=1, progress=False)
    assert list(trainer.run.plugins) == list(RECOMMENDED)
    assert trainer.run.alarms == []
    assert {"RNN201", "RNN301", "RNN404"} <= set(trainer.run.diagnosis.passed)
    assert {"train_loss", "gradient_norm", "clipped_fraction"} <= set(history.columns)
    assert "val_loss" not in history


def test_an_empty_list_of_plugins_is_no_plugins():
    trainer = Trainer(model(), Adam(), plugins=[], learning_rate=0.01)
    history = trainer.fit(loader(count=4), max_epochs=1, progress=False)
    assert history.untimed() == [{"epoch": 1, "learning_rate": 0.01}]
    assert list(trainer.run.plugins) == []


def test_plugins_may_be_named():
    trainer = Trainer(model(), Adam(), plugins={"mine": HiddenStateReset()}, learning_rate=0.01)
    trainer.fit(loader(), max_epochs=1, progress=False)
    assert list(trainer.run.plugins) == ["mine"]


# Progress, diagnosis and repr -----------------------------------------------------------------------------------------


def test_progress_is_shown_by_default_even_without_plugins(capsys):
    trainer = Trainer(model(), Adam(), plugins=[LossAveraging()], learning_rate=0.01)
    trainer.fit(loader(count=4), max_epochs=2)
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert list(trainer.run.plugins) == ["loss_averaging", "progress"]


def test_progress_can_be_silenced(capsys, monkeypatch):
    trainer = Trainer(model(), Adam(), learning_rate=0.01)
    trainer.fit(loader(count=4), max_epochs=1, progress=False)
    monkeypatch.setenv("RNNCALLBACKS_DISABLE", "progress")
    trainer.fit(loader(count=4), max_epochs=1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("plugins", [[Progress(summary=False)], {"mine": Progress(summary=False)}])
def test_a_progress_plugin_of_ones_own_is_the_only_one(plugins, capsys):
    trainer = Trainer(model(), Adam(), plugins=plugins, learning_rate=0.01)
    trainer.fit(loader(count=4), max_epochs=1)
    assert len(trainer.run.plugins) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_another_plugin_of_that_name_keeps_it():
    trainer = Trainer(model(), Adam(), plugins={"progress": LossAveraging()}, learning_rate=0.01)
    trainer.fit(loader(count=4), max_epochs=1)
    assert [type(plugin) for plugin in trainer.run.plugins.values()] == [LossAveraging]


def test_the_run_knows_its_facts_and_its_directory(tmp_path):
    trainer = Trainer(
        model(cell="gru"),
        SGD(momentum=0.9),
        plugins=[GradientClipping(max_norm=2.0)],
        learning_rate=0.25,
        directory=tmp_path,
        facts={"data": "anbn", "optimizer": "mine"},
    )
    trainer.fit(loader(), max_epochs=0, progress=False)
    assert trainer.run.directory == tmp_path
    facts = dict(trainer.run.facts)
    assert facts.pop("parameters") == trainer.model.parameters.flat.size
    known = {"model": "RecurrentModel", "model.cell": "gru", "model.hidden_size": 6, "optimizer": "mine"}
    known |= {"optimizer.momentum": 0.9, "batch_size": 4, "learning_rate": 0.25, "data": "anbn"}
    known |= {"plugins": "gradient_clipping", "gradient_clipping.max_norm": 2.0}
    assert facts.items() >= known.items()


def test_the_diagnosis_is_that_of_the_last_run():
    trainer = Trainer(model(), Adam(), learning_rate=0.01)
    with pytest.raises(RunStateError, match=r"there was no run yet\n.*call fit first"):
        trainer.diagnosis  # noqa: B018
    trainer.fit(loader(), max_epochs=1, progress=False)
    assert trainer.diagnosis is trainer.run.diagnosis


def test_its_repr_says_what_it_trains_and_how_the_last_run_went():
    trainer = Trainer(model(), Adam(), plugins=[LossAveraging()], learning_rate=0.01)
    assert repr(trainer) == "Trainer(RecurrentModel of 100 parameters, Adam, learning_rate=0.01)"
    trainer.fit(loader(), max_epochs=2, progress=False)
    assert repr(trainer).endswith(f", last run: {trainer.run!r})")
    assert repr(trainer.run).startswith("Run(epoch 2 of 2, step 10, History(2 epochs, train_loss ")


def test_it_learns():
    trainer = Trainer(model(), Adam(), learning_rate=0.02)
    losses = trainer.fit(loader(count=60), max_epochs=20)["train_loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_dense_inputs_with_one_target_a_sequence():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 5, 2)).astype("float32")
    targets = inputs.sum(axis=(1, 2))[:, None]
    network = RecurrentModel(8, input_size=2, output_size=1, output="last", loss="mse")
    trainer = Trainer(network, Adam(), learning_rate=0.02)
    data = ArrayLoader(inputs, targets, batch_size=8)
    losses = trainer.fit(data, data, max_epochs=15)["val_loss"]
    assert losses[-1] < 0.3 * losses[0]


class Count:
    """Counts what a plugin sees of the training batches."""

    def __init__(self):
        self.sizes = []

    @hookimpl
    def on_backward(self, batch, grads):
        assert batch.closure() == pytest.approx(batch.loss, rel=1e-12)
        assert batch.sequences == batch.batch_size == batch.data.size
        self.sizes.append(batch.data.size)


@pytest.mark.parametrize("options", [{}, {"cell": "lstm"}, {"cell": "gru", "num_layers": 2}])
@pytest.mark.parametrize("data", ["sequences", "stream", "documents"])
def test_micro_batches_train_as_whole_batches_do(data, options):
    tokens = np.random.default_rng(0).integers(0, 4, 301)
    batches = {
        "sequences": SequenceLoader(anbn(22, max_n=5), batch_size=8),
        "stream": StreamLoader(tokens, batch_size=8, seq_len=6),
        "documents": StreamLoader(tokens, batch_size=8, seq_len=6, document_starts=range(0, 301, 11)),
    }[data]
    found = []
    for micro_batch_size in (None, 3):
        network, count = model(dtype="float64", **options), Count()
        plugins = [HiddenStateReset(), GradientClipping(max_norm=0.1), LossAveraging(weight="token"), count]
        trainer = Trainer(network, Adam(), plugins=plugins, learning_rate=0.01, micro_batch_size=micro_batch_size)
        history = trainer.fit(batches, batches, max_epochs=3)
        assert len(count.sizes) == 3 * len(batches)
        found.append((history["train_loss"], history["val_loss"], history["gradient_norm"], network.parameters.flat))
    for whole, cut in zip(*found, strict=True):
        np.testing.assert_allclose(cut, whole, rtol=1e-6, atol=1e-9)


def test_micro_batches_that_hold_a_whole_batch_change_no_bit():
    def fit(**options):
        network = model(cell="lstm", num_layers=2, dropout=0.3)
        trainer = Trainer(network, Adam(), learning_rate=0.01, **options)
        return trainer.fit(loader(count=10), loader(count=6), max_epochs=2), network.parameters.flat.tobytes()

    assert fit(micro_batch_size=4) == fit(micro_batch_size=100) == fit()


def test_guards_do_without_the_hidden_states_of_micro_batches():
    trainer = Trainer(model(dropout=0.3, num_layers=2), Adam(), learning_rate=0.01, micro_batch_size=3)
    trainer.fit(loader(), loader(shuffle=False, seed=1), max_epochs=4)
    assert trainer.run.alarms == []
    assert {"RNN201", "RNN202", "RNN301", "RNN404"} <= set(trainer.run.diagnosis.passed)
    assert "hidden_states" in trainer.run.diagnosis.not_checked["RNN407"]


def test_the_memory_of_training_is_that_of_a_micro_batch():
    def peak(rows, micro_batch_size):
        tokens = np.random.default_rng(0).integers(300, size=41 * rows)
        network = RecurrentModel(32, vocab_size=300, cell="lstm")
        batches = SequenceLoader(tokens.reshape(rows, 41), batch_size=rows)
        plugins = [HiddenStateReset(), LossAveraging()]
        trainer = Trainer(network, SGD(), plugins=plugins, learning_rate=0.01, micro_batch_size=micro_batch_size)
        tracemalloc.start()
        try:
            trainer.fit(batches, batches, max_epochs=2)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    slice_alone = peak(4, None)
    assert peak(64, 4) < 1.5 * slice_alone
    assert peak(64, None) > 5 * slice_alone


@pytest.mark.parametrize("micro_batch_size", [0, -1, 2.0, True, "4"])
def test_a_micro_batch_size_out_of_range(micro_batch_size):
    with pytest.raises(OptionError, match="micro_batch_size: expected an integer >= 1, got"):
        Trainer(model(), Adam(), learning_rate=0.01, micro_batch_size=micro_batch_size)


class Skip:
    @hookimpl
    def on_backward(self, run, batch):
        if batch.index == 2:
            run.skip_batch()


def test_a_skipped_batch_is_no_update_not_even_by_momentum():
    trainer = Trainer(model(), Adam(), plugins=[HiddenStateReset(), Skip()], learning_rate=0.01)
    batches = loader()
    trainer.fit(batches, max_epochs=1)
    assert int(trainer.optimizer.state["step"]) == len(batches) - 1


def test_a_skipped_batch_s_state_is_not_carried():
    class Watch:
        def __init__(self):
            self.entered = []

        @hookimpl(trylast=True)
        def on_batch_start(self, run):
            self.entered.append(run.hidden(2))

    tokens = np.random.default_rng(0).integers(0, 4, 41)
    watch = Watch()
    trainer = Trainer(model(), SGD(), plugins=[Skip(), watch], learning_rate=1e-9)
    trainer.fit(StreamLoader(tokens, batch_size=2, seq_len=5), max_epochs=1)
    first, second, third, fourth = watch.entered[:4]
    assert not first.any()
    assert second.any()
    np.testing.assert_array_equal(third, second)
    assert not np.array_equal(fourth, third)


class Spoil:
    """Puts a NaN into one gradient, after some healthy batches."""

    def __init__(self, step):
        self.step, self.before = step, None

    @hookimpl(tryfirst=True)
    def on_backward(self, run, grads):
        if run.step == self.step:
            self.before = copy.deepcopy({"params": run.params.flat, **run.optimizer_state})
            grads["rnn.weight_hh_l0"][0, 0] = np.nan


def test_nan_in_one_gradient_reaches_neither_parameters_nor_optimizer():
    spoil = Spoil(step=7)
    plugins = [HiddenStateReset(), spoil, DivergenceAlarm(), GradientClipping(), LossAveraging()]
    trainer = Trainer(model(), Adam(), plugins=plugins, learning_rate=0.01)
    trainer.fit(loader(), max_epochs=5)
    assert [alarm.code for alarm in trainer.run.alarms] == ["RNN403"]
    assert "'rnn.weight_hh_l0'" in trainer.run.alarms[0].message
    assert trainer.run.step == 7
    after = {"params": trainer.model.parameters.flat, **trainer.optimizer.state}
    assert len(after) > 2
    for name, array in after.items():
        np.testing.assert_array_equal(array, spoil.before[name])


def test_a_second_fit_trains_on_with_the_optimizers_state():
    trainer = Trainer(model(), Adam(), learning_rate=0.01)
    batches = loader(shuffle=False)  # a new run counts its epochs from 1, and the order of a shuffle follows the epoch
    first = trainer.fit(batches, max_epochs=2)
    second = trainer.fit(batches, max_epochs=2)
    assert int(trainer.optimizer.state["step"]) == 4 * len(batches)
    assert second["epoch"] == [1, 2]
    whole = Trainer(model(), Adam(), learning_rate=0.01).fit(loader(shuffle=False), max_epochs=4)
    assert first["train_loss"] + second["train_loss"] == whole["train_loss"]


def test_max_epochs_none_goes_on_until_a_plugin_stops_it():
    class Stop:
        @hookimpl
        def on_epoch_end(self, run):
            if run.epoch == 3:
                run.stop("three")

    trainer = Trainer(model(), Adam(), plugins=[HiddenStateReset(), Stop()], learning_rate=0.01)
    assert len(trainer.fit(loader(), max_epochs=None)) == 3


def test_max_steps_ends_the_run_behind_that_batch_and_at_the_end_of_an_epoch_with_its_validation():
    train, val = loader(count=12), loader(count=4)
    assert len(train) == 3
    trainer = Trainer(model(), Adam(), learning_rate=0.01)
    history = trainer.fit(train, val, max_steps=4, progress=False)
    assert (trainer.run.step, trainer.run.stop_reason) == (4, "max_steps: 4 training batches")
    assert history["stopped_after"] == [None, 1]
    history = trainer.fit(train, val, max_steps=6, progress=False)
    assert (trainer.run.step, trainer.run.epoch) == (6, 2)
    assert None not in history["val_loss"]
    with pytest.raises(OptionError, match="expected max_steps to be an integer >= 1"):
        trainer.fit(train, max_steps=0)


def test_a_loader_of_ones_own_and_its_generator(tmp_path, caplog):
    class Shuffled:
        """Batches in an order that is drawn from the generator of the script."""

        def __init__(self, rng):
            self.batches, self.rng = list(loader(shuffle=False)), rng

        def __iter__(self):
            return (self.batches[position] for position in self.rng.permutation(len(self.batches)))

    def fit(name, max_steps, named):
        rng = np.random.default_rng(4)
        plugins = [HiddenStateReset(), LossAveraging(), Checkpoint(path=tmp_path / name)]
        trainer = Trainer(model(), SGD(), plugins=plugins, learning_rate=0.1, rng=rng if named else None)
        trainer.fit(Shuffled(rng), max_epochs=3, max_steps=max_steps, progress=False)
        return trainer.model.parameters.flat.tobytes(), trainer.run.history

    whole = fit("whole", None, named=True)
    fit("run", 7, named=True)
    assert fit("run", None, named=True) == whole
    assert "random" not in caplog.text
    fit("other", 7, named=False)
    fit("other", None, named=False)
    assert "the run was given none" in caplog.text


@pytest.mark.parametrize("learning_rate", [0.0, -1.0, float("nan"), "fast"])
def test_a_learning_rate_out_of_range(learning_rate):
    with pytest.raises(OptionError, match="expected a finite learning_rate above 0"):
        Trainer(model(), Adam(), learning_rate=learning_rate).fit(loader(), max_epochs=1)


def test_max_epochs_out_of_range():
    with pytest.raises(OptionError, match="expected a number of epochs >= 0 or None, got -1"):
        Trainer(model(), Adam(), learning_rate=0.1).fit(loader(), max_epochs=-1)


@pytest.mark.parametrize("phase", ["train", "val"])
def test_a_loader_without_a_batch(phase):
    parts = {"train": loader(), "val": loader()} | {phase: []}
    with pytest.raises(DataError, match=f"the loader of phase '{phase}' yielded no batch"):
        Trainer(model(), Adam(), learning_rate=0.1).fit(parts["train"], parts["val"], max_epochs=1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"model": RecurrentModel}, "expected model to be an object of the class RecurrentModel, got <class"),
        ({"optimizer": Adam}, "expected optimizer to be an object of the class Optimizer or its name, got <class"),
        ({"optimizer": "adm"}, r"there is no optimizer 'adm'; there are sgd, .*\n.*did you mean 'adam'"),
    ],
)
def test_what_is_no_model_or_optimizer_is_refused(given, says):
    with pytest.raises(OptionError, match=says):
        Trainer(**{"model": model(), "optimizer": Adam(), "learning_rate": 0.01, **given})


@pytest.mark.parametrize("phase", ["train", "validation"])
def test_batches_of_another_class_are_refused_by_name(phase):
    loaders = {"train": loader(), "validation": loader(), phase: [np.zeros((3, 2))]}
    with pytest.raises(
        DataError, match=r"expected batches of the class SequenceBatch or pairs .*, got ndarray"
    ) as caught:
        Trainer(model(), Adam(), learning_rate=0.01).fit(**loaders, max_epochs=1)
    assert "ArrayLoader" in caught.value.hint
    assert "one pair: (inputs, targets)" in caught.value.hint


def test_a_bidirectional_model_is_not_trained_on_a_stream():
    stream = StreamLoader(np.arange(40) % 4, batch_size=2, seq_len=5)
    with pytest.raises(DataError, match=r"row 0 of a batch continues .* which a bidirectional model cannot"):
        Trainer(model(bidirectional=True), Adam(), learning_rate=0.01).fit(stream, max_epochs=1)


# Data of other libraries, evaluation and names of optimizers ----------------------------------------------------------


def sentences(count=20):
    tokens = np.random.default_rng(3).integers(0, 4, (count, 6))
    return tokens[:, :-1], tokens[:, 1:]


def test_arrays_and_pairs_train_as_a_loader_of_the_library_does():
    inputs, targets = sentences()

    def parameters(data, **options):
        trainer = Trainer(model(), "adam", learning_rate=0.01)
        trainer.fit(data, (inputs, targets), max_epochs=2, progress=False, **options)
        return trainer.model.parameters.flat.tobytes()

    expected = parameters(ArrayLoader(inputs, targets, batch_size=8, seed=0))
    assert parameters((inputs, targets), batch_size=8) == expected
    in_order = parameters(ArrayLoader(inputs, targets, batch_size=10, shuffle=False))
    assert parameters([(inputs[:10], targets[:10]), (inputs[10:], targets[10:])]) == in_order


@pytest.mark.parametrize("weight", ["batch", "token"])
def test_evaluate_gives_the_numbers_of_a_validation(weight):
    held_out = SequenceLoader(anbn(10, max_n=5, seed=1), batch_size=4, shuffle=False)
    trainer = Trainer(
        model(),
        Adam(),
        plugins=[HiddenStateReset(), LossAveraging(weight=weight)],
        learning_rate=0.01,
        metrics=["accuracy", "perplexity"],
    )
    history = trainer.fit(loader(), held_out, max_epochs=2, progress=False)
    before = trainer.model.parameters.flat.copy()
    found = trainer.evaluate(held_out)
    expected = {name: history[-1][f"val_{name}"] for name in ("loss", "accuracy", "perplexity")}
    assert found == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(trainer.model.parameters.flat, before)
    assert trainer.run.history is history


def test_evaluate_may_be_called_while_the_trainer_runs():
    inputs, targets = sentences(4)

    class Evaluates:
        @hookimpl
        def on_batch_end(self, batch):
            if batch.phase == "train":
                trainer.evaluate((inputs, targets))

    def history(*plugins):
        nonlocal trainer
        trainer = Trainer(
            model(), Adam(), plugins=[LossAveraging(), *plugins], learning_rate=0.01, metrics=["accuracy"]
        )
        return trainer.fit(loader(), max_epochs=2, progress=False).untimed()

    trainer = None
    assert history(Evaluates()) == history()


@pytest.mark.parametrize("name", ["adam", "AdamW", "sgd", "RMSprop", "adagrad"])
def test_optimizers_have_names(name):
    assert type(Trainer(model(), name, learning_rate=0.01).optimizer).__name__.lower() == name.lower()
