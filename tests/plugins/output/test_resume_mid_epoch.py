"""Runs that end after any batch, and resume, are the run that did not end: bit for bit."""

import logging
import random

import numpy as np
import pytest

from rnncallbacks.core.checkpoint_file import save_checkpoint
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import CheckpointError, DataError, RunStateError
from rnncallbacks.plugins import (
    Checkpoint,
    CosineDecay,
    DivergenceAlarm,
    EarlyStopping,
    GradientClipping,
    HiddenStateReset,
    LossAveraging,
    ReduceOnPlateau,
    StepDecay,
    Warmup,
)
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.training.trainer import Trainer

EPOCHS, BATCHES = 3, 4


class SaveEverywhere:
    """Saves a file after each batch that is inside no other, and stops after a number of batches."""

    def __init__(self, folder=None, stop_after=None):
        self.folder, self.stop_after, self.count = folder, stop_after, 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]

    @hookimpl(wrapper=True)
    def on_batch_end(self, run, batch):
        yield
        self.count += 1
        if self.folder is not None and batch is run.outermost_batch:
            save_checkpoint(run, None, self.folder / f"{self.count}")
        if self.count == self.stop_after:
            run.stop("time is up")


class FailedError(Exception):
    """What a script fails with."""


def outcome(run, *more):
    """The results of a run, as text and bytes."""
    return {
        "history": repr(run.history.untimed()),
        "alarms": [str(alarm) for alarm in run.alarms],
        "stopped": run.stop_reason,
        "scales": run.scales,
        "position": (run.epoch, run.step),
        "arrays": [array.tobytes() for array in more],
    }


def fit(path, save=None, stream=False):
    plugins = {
        "save": save or SaveEverywhere(),
        "reset": HiddenStateReset(),
        "divergence": DivergenceAlarm(),
        "clip": GradientClipping(max_norm=0.5),
        "averages": LossAveraging(weight="token"),
        "warmup": Warmup(steps=3),
        "cosine": CosineDecay(steps=12, min_scale=0.3),
        "steps": StepDecay(every=2, factor=0.5, interval="epoch"),
        "plateau": ReduceOnPlateau(patience=1, factor=0.5),
        "early": EarlyStopping(patience=1, min_delta=0.2),
        "checkpoint": Checkpoint(path=path, fsync=False, on_exception=False),
    }
    model = RecurrentModel(3, vocab_size=4, seed=3, num_layers=2, dropout=0.3)
    trainer = Trainer(model, Adam(), plugins=plugins, learning_rate=0.05, micro_batch_size=2)
    if stream:
        tokens = np.random.default_rng(1).integers(4, size=37)
        train, val = StreamLoader(tokens, batch_size=3, seq_len=3), StreamLoader(tokens[:13], batch_size=2, seq_len=3)
    else:
        train = SequenceLoader(anbn(14, max_n=3, seed=1), batch_size=4, seed=5)
        val = SequenceLoader(anbn(5, max_n=3, seed=2), batch_size=3, shuffle=False)
    assert (len(train), len(val)) == (BATCHES, 2)
    trainer.fit(train, val, max_epochs=EPOCHS, progress=False)
    return outcome(trainer.run, model.parameters.flat, *trainer.optimizer.state.values(), model.passes)


@pytest.mark.parametrize("stream", [False, True], ids=["sequences", "stream"])
def test_a_trainer_resumes_after_any_batch_bit_for_bit(tmp_path, caplog, stream):
    whole = fit(tmp_path / "whole", SaveEverywhere(tmp_path), stream)
    # Without these, the comparison would prove less: early stopping and the schedules acted.
    assert whole["stopped"].startswith("RNN601 val_loss")
    assert set(whole["scales"]) == {"warmup", "cosine", "steps", "plateau"}
    count = 2 * (BATCHES + 2)
    for batches in range(1, count + 1):
        assert fit(tmp_path / f"{batches}", stream=stream) == whole, batches
    for batches in (2, BATCHES, BATCHES + 1, BATCHES + 2):
        path = tmp_path / f"stopped{batches}"
        cut = fit(path, SaveEverywhere(stop_after=batches), stream)
        done = batches % (BATCHES + 2)
        assert (f"'stopped_after': {min(BATCHES, done)}" in cut["history"]) == (done > 0)
        assert fit(path, stream=stream) == whole, batches
    assert "random" not in caplog.text
    assert "dropping" not in caplog.text


# A script's own loop --------------------------------------------------------------------------------------------------


class Scripted:
    """What the loops below share: the plugins, and the place where the script fails."""

    def __init__(self, path, save=None, fail_after=None):
        self.fail_after, self.batches = fail_after, 0
        self.plugins = {
            "save": save or SaveEverywhere(),
            "averages": LossAveraging(),
            "checkpoint": Checkpoint(path=path, fsync=False),
        }

    def may_fail(self):
        self.batches += 1
        if self.batches == self.fail_after:
            raise FailedError


def carried_stream(script):
    """Momentum, accumulated gradients and a state in arrays of the script, its own shuffling, and noise."""
    rng = np.random.default_rng(7)
    params, velocity = {"w": rng.normal(size=(2, 2))}, {"w": np.zeros((2, 2))}
    hidden, pending = np.zeros((2, 3)), np.zeros((2, 2))
    data = np.random.default_rng(1).normal(size=(BATCHES, 2, 3))
    options = {"optimizer_state": velocity, "rng": rng, "state": {"hidden": hidden, "pending": pending}}
    with Run(params, plugins=script.plugins, learning_rate=0.1, **options) as run:
        for _ in run.epochs(2):
            hidden[...] = rng.normal(size=hidden.shape)
            for index in run.batches(rng.permutation(BATCHES)):
                after = np.tanh(params["w"] @ hidden + data[index] + 0.1 * rng.normal(size=hidden.shape))
                pending += run.backward(float((after**2).mean()), (after * (1 - after**2)) @ hidden.T)
                script.may_fail()
                hidden[...] = after
                if run.step % 2 == 0:
                    velocity["w"][...] = 0.9 * velocity["w"] + pending
                    params["w"] -= run.learning_rate * velocity["w"]
                    pending[...] = 0.0
            order = rng.permutation(3)
            for index in run.batches((int(one) for one in order), phase="val"):
                run.record(float(np.abs(params["w"] @ data[index]).mean() + rng.normal()))
            run.log(noise=float(rng.normal()))
    return outcome(run, params["w"], velocity["w"], hidden, pending, np.array(rng.random()))


def descend(run, params, item, noise):
    grads = run.backward(float((params["w"] ** 2).sum()), {"w": params["w"] * noise + item})
    params["w"] -= run.learning_rate * grads["w"]


def global_generators(script):
    np.random.seed(0)  # noqa: NPY002  (what many scripts do)
    random.seed(1)
    params = {"w": np.ones(3)}
    with Run(params, plugins=script.plugins, learning_rate=0.1, rng=[np.random, random]) as run:
        for _ in run.epochs(2):
            for item in run.batches(np.random.permutation(BATCHES)):  # noqa: NPY002
                script.may_fail()
                descend(run, params, item, np.random.randn(3) + random.random())  # noqa: NPY002
    return outcome(run, params["w"], np.random.rand(2), np.array(random.random()))  # noqa: NPY002


def generator_function(script):
    """Batches that are drawn from the generator that the body draws from too."""
    rng = np.random.RandomState(3)

    def load():
        for _ in range(BATCHES):
            yield rng.standard_normal(3)

    params = {"w": np.ones(3)}
    with Run(params, plugins=script.plugins, learning_rate=0.1, rng={"all": rng}) as run:
        for _ in run.epochs(2):
            for item in run.batches(load()):
                script.may_fail()
                descend(run, params, item, rng.standard_normal(3))
    return outcome(run, params["w"], rng.standard_normal(2))


def passes_left_early(script):
    """break ends the passes, and a validation runs inside of training batches."""
    rng = np.random.default_rng(3)
    params = {"w": np.ones(3)}
    with Run(params, plugins=script.plugins, learning_rate=0.1, rng=rng) as run:
        for _ in run.epochs(2):
            for item in run.batches(rng.normal(size=(9, 3))):
                script.may_fail()
                descend(run, params, item, rng.normal(size=3))
                if run.step % 2 == 0:
                    for inner in run.batches(rng.normal(size=(2, 3)), phase="inner"):
                        run.record(float(inner.sum() + rng.normal()))
                if run.batch.index == BATCHES:
                    break
            for item in run.batches(rng.normal(size=(5, 3)), phase="val"):
                run.record(float(item.sum() + rng.normal()))
                if run.batch.index == 2:
                    break
            run.log(noise=float(rng.normal()))
    return outcome(run, params["w"], rng.normal(size=2))


class StatefulLoader:
    """Shuffles by a generator of its own, and says where it is."""

    def __init__(self):
        self.rng, self.order, self.at = np.random.default_rng(5), None, 0

    def state_dict(self):
        return {"rng": self.rng.bit_generator.state, "order": self.order, "at": self.at}

    def load_state_dict(self, state):
        self.rng.bit_generator.state, self.order, self.at = state["rng"], state["order"], state["at"]

    def __len__(self):
        return BATCHES

    def __iter__(self):
        if self.order is None:
            self.order, self.at = self.rng.permutation(BATCHES), 0
        while self.at < BATCHES:
            self.at += 1
            yield int(self.order[self.at - 1])
        self.order = None


def stateful_loader(script):
    params, loader = {"w": np.ones(3)}, StatefulLoader()
    with Run(params, plugins=script.plugins, learning_rate=0.1, state={}) as run:
        for _ in run.epochs(2):
            for item in run.batches(loader):
                script.may_fail()
                descend(run, params, item, run.step)
    return outcome(run, params["w"], loader.rng.random(2))


def data_in_place(script):
    """Data that are shuffled in place, as state, in an endless run that break ends."""
    rng, data, params = np.random.default_rng(3), np.arange(12.0).reshape(BATCHES, 3), {"w": np.ones(3)}
    with Run(params, plugins=script.plugins, learning_rate=0.1, rng=rng, state=data) as run:
        for epoch in run.epochs(None):
            rng.shuffle(data)
            for item in run.batches(data):
                script.may_fail()
                descend(run, params, item, rng.normal(size=3))
            if epoch >= 2:
                break
    return outcome(run, params["w"], rng.random(2))


LOOPS = [carried_stream, global_generators, generator_function, passes_left_early, stateful_loader, data_in_place]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_loop_of_ones_own_resumes_after_any_batch_bit_for_bit(tmp_path, loop):
    whole = loop(Scripted(tmp_path / "whole", SaveEverywhere(tmp_path)))
    saved = [path for path in tmp_path.iterdir() if path.name.isdigit()]
    assert len(saved) >= 2 * BATCHES
    for path in saved:
        assert loop(Scripted(path)) == whole, path.name
    for batches in (1, 6, 7):
        path = tmp_path / f"stopped{batches}"
        loop(Scripted(path, SaveEverywhere(stop_after=batches)))
        assert loop(Scripted(path)) == whole, batches
    for batches in (BATCHES,) if loop is stateful_loader else ():  # the end of the first epoch
        path = tmp_path / f"stopped{batches}"
        loop(Scripted(path, SaveEverywhere(stop_after=batches)))
        assert loop(Scripted(path)) == whole, batches
    for batches in (1, 2, 7):
        path = tmp_path / f"failed{batches}"
        with pytest.raises(FailedError):
            loop(Scripted(path, fail_after=batches))
        assert loop(Scripted(path)) == whole, batches


# What a cut epoch is --------------------------------------------------------------------------------------------------


def count_up(path, *, stop=None, leave=None, epochs=2, numbers=range(5), **options):
    """One parameter that counts the batches; returns the run and the batches of each epoch."""
    params, seen = {"w": np.zeros(1)}, []
    plugins = [Checkpoint(path=path, **options), LossAveraging()]
    with Run(params, plugins=plugins, learning_rate=1.0, state={}) as run:
        for epoch in run.epochs(epochs):
            for number in run.batches(numbers):
                run.backward(float(number), {"w": np.ones(1)})
                params["w"] += 1
                seen.append((epoch, number))
                if run.step == stop:
                    run.stop("time is up")
                if run.step == leave:
                    break
            if run.step == leave:
                break
    assert params["w"] == run.step
    return run, seen


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_an_epoch_that_was_cut_is_not_done(tmp_path, how):
    run, seen = count_up(tmp_path / "run", **{how: 2})
    assert seen == [(1, 0), (1, 1)]
    assert run.epoch_was_cut
    assert run.history.untimed() == [
        {"epoch": 1, "learning_rate": 1.0, "train_loss": 0.5, "stopped_after": 2, "train_batches": 2}
    ]
    run, seen = count_up(tmp_path / "run")
    assert seen == [(1, 2), (1, 3), (1, 4), *((2, number) for number in range(5))]
    assert not run.epoch_was_cut
    assert run.history["train_loss"] == [2.0, 2.0]
    assert "stopped_after" not in run.history


def test_an_epoch_whose_passes_were_whole_is_done_when_break_ends_the_run(tmp_path):
    run, _ = count_up(tmp_path / "run", leave=5)
    assert not run.epoch_was_cut
    assert count_up(tmp_path / "run")[1] == [(2, number) for number in range(5)]
    params = {"w": np.zeros(1)}
    with Run(params, plugins=[Checkpoint(path=tmp_path / "other"), LossAveraging()], state={}) as run:
        for _ in run.epochs(None):
            for _ in run.batches([1.0]):
                run.record(1.0)
            break
    assert not run.epoch_was_cut


def test_a_total_below_the_open_epoch_leaves_it_open(tmp_path):
    count_up(tmp_path / "run", stop=7)
    run, seen = count_up(tmp_path / "run", epochs=1)
    assert (seen, len(run.history)) == ([], 1)
    assert len(count_up(tmp_path / "run")[1]) == 3


def test_max_steps_ends_a_run_that_later_goes_on(tmp_path):
    def train(max_steps):
        params, seen = {"w": np.zeros(1)}, []
        with Run(params, plugins=[Checkpoint(path=tmp_path / "run"), LossAveraging()], state={}) as run:
            for epoch in run.epochs(3, max_steps=max_steps):
                for _ in run.batches([1.0, 2.0]):
                    run.record(1.0)
                    seen.append(epoch)
                for _ in run.batches([1.0], phase="val"):
                    run.record(1.0)
                    seen.append("val")
        return run, seen

    run, seen = train(3)
    assert (seen, run.stop_reason, run.epoch_was_cut) == ([1, 1, "val", 2], "max_steps: 3 training batches", True)
    assert train(3)[1] == []
    run, seen = train(4)  # the last batch of an epoch: the epoch is ended
    assert (seen, run.epoch_was_cut, len(run.history)) == ([2, "val"], False, 2)
    assert train(4)[1] == []
    assert train(None)[1] == [3, 3, "val"]


# What is said, and what is refused ------------------------------------------------------------------------------------


def test_a_script_that_gives_no_generators_is_told(tmp_path, caplog):
    def train(epochs, **options):
        with Run({"w": np.zeros(1)}, plugins=[Checkpoint(path=tmp_path / "run"), LossAveraging()], **options) as run:
            for _ in run.epochs(epochs):
                for _ in run.batches([1]):
                    run.record(1.0)

    train(1)
    assert caplog.text == ""
    train(2)
    assert "comes again from the beginning. Pass rng= to Run, or state={}" in caplog.text
    caplog.clear()
    train(3, state={})
    assert caplog.text == ""


def test_other_generators_are_refused_and_nothing_is_changed(tmp_path):
    def train(epochs, **options):
        params = {"w": np.zeros(1)}
        with Run(params, plugins=[Checkpoint(path=tmp_path / "run"), LossAveraging()], **options) as run:
            for _ in run.epochs(epochs):
                for _ in run.batches([1]):
                    run.record(1.0)
                params["w"] += 1

    rng = np.random.default_rng(1)
    train(1, rng=rng)
    other = np.random.RandomState(0)
    with pytest.raises(CheckpointError, match="rng does not accept the state in the file"):
        train(2, rng=other)
    assert other.random() == np.random.RandomState(0).random()
    with pytest.raises(CheckpointError, match=r"this run have rng\['a'\], the file has rng"):
        train(2, rng={"a": rng})


def test_batches_that_are_taken_and_dropped_are_noted(tmp_path, caplog):
    count_up(tmp_path / "run", stop=3, numbers=dict.fromkeys(range(5)))
    with caplog.at_level(logging.INFO, logger="rnncallbacks"):
        count_up(tmp_path / "run", numbers=dict.fromkeys(range(5)))
    assert "resumed after batch 3 of the phase 'train'; the batches up to it were loaded and dropped" in caplog.text


def test_fewer_batches_than_were_done(tmp_path):
    count_up(tmp_path / "run", stop=3)
    with pytest.raises(DataError, match=r"was at batch 3 of the phase 'train' .* the loader has 2 batches now"):
        count_up(tmp_path / "run", numbers=range(2))


def test_another_loop_is_refused(tmp_path):
    count_up(tmp_path / "run", stop=3)

    def validate():
        plugins = [Checkpoint(path=tmp_path / "run"), LossAveraging()]
        with Run({"w": np.zeros(1)}, plugins=plugins, state={}) as run:
            for _ in run.epochs(1):
                for _ in run.batches([1], phase="val"):
                    run.record(1.0)

    with pytest.raises(RunStateError, match=r"pass 1 of epoch 1 had the phase 'train' .* has 'val' now"):
        validate()


def test_the_state_of_a_loader_that_cannot_be_written_is_noted_and_its_batches_are_dropped(tmp_path, caplog):
    class Loader:
        def state_dict(self):
            return {"worker": object()}

        def load_state_dict(self, state):
            raise AssertionError

        def __iter__(self):
            return iter(range(5))

    count_up(tmp_path / "run", stop=3, numbers=Loader())
    assert "the loader of train" in caplog.text
    assert count_up(tmp_path / "run", numbers=Loader())[1][0] == (1, 3)
