"""Runs that were stopped after any batch, and resumed, end as the run that was not: bit for bit."""

import numpy as np
import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
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
from rnncallbacks.trainer import Trainer

EPOCHS, BATCHES = 3, 4


class StopAfter:
    """Stops the run after a number of batches of all phases; None lets it run."""

    def __init__(self, batches):
        self.batches = batches

    @hookimpl
    def on_batch_end(self, run):
        if self.batches is not None:
            self.batches -= 1
            if self.batches == 0:
                run.stop("time is up")


class FailedError(Exception):
    """What a script fails with."""


def outcome(run, *more):
    """The results of a run, as text and bytes."""
    return {
        "history": repr(run.history.rows),
        "alarms": [str(alarm) for alarm in run.alarms],
        "scales": run.scales,
        "position": (run.epoch, run.step),
        "arrays": [array.tobytes() for array in more],
    }


def fit(path, *, stop_after=None, stream=False, cell="lstm"):
    plugins = {
        "stop": StopAfter(stop_after),
        "reset": HiddenStateReset(),
        "divergence": DivergenceAlarm(),
        "clip": GradientClipping(max_norm=0.5),
        "averages": LossAveraging(weight="token"),
        "warmup": Warmup(steps=3),
        "cosine": CosineDecay(steps=12, min_scale=0.3),
        "steps": StepDecay(every=2, factor=0.5, interval="epoch"),
        "plateau": ReduceOnPlateau(patience=1, factor=0.5),
        "early": EarlyStopping(patience=2),
        "checkpoint": Checkpoint(path=path, fsync=False),
    }
    model = RecurrentModel(3, vocab_size=4, seed=3, cell=cell, num_layers=2, dropout=0.3)
    trainer = Trainer(model, Adam(), plugins=plugins, learning_rate=0.05, micro_batch_size=2)
    if stream:
        tokens = np.random.default_rng(1).integers(4, size=61)
        train, val = StreamLoader(tokens, batch_size=3, seq_len=5), StreamLoader(tokens[:21], batch_size=2, seq_len=5)
    else:
        train = SequenceLoader(anbn(14, max_n=4, seed=1), batch_size=4, seed=5)
        val = SequenceLoader(anbn(5, max_n=4, seed=2), batch_size=3, shuffle=False)
    assert len(train) == BATCHES
    trainer.fit(train, val, max_epochs=EPOCHS, progress=False)
    return outcome(trainer.run, model.parameters.flat, *trainer.optimizer.state.values(), model.passes)


@pytest.mark.parametrize("stream", [False, True], ids=["sequences", "stream"])
def test_a_trainer_stopped_after_any_batch_resumes_bit_for_bit(tmp_path, stream):
    whole = fit(tmp_path / "whole", stream=stream)
    for stop in range(1, EPOCHS * (BATCHES + 2)):
        path = tmp_path / f"run{stop}"
        fit(path, stop_after=stop, stream=stream)
        assert fit(path, stream=stream) == whole, stop


def own_loop(path, *, stop_after=None, stop=None, fail_in=None, rngs=None):
    """A loop with momentum, its own shuffling, noise and accumulated gradients, and a state that it carries itself."""
    rng = np.random.default_rng(7)
    params, velocity = {"w": rng.normal(size=(2, 2))}, {"w": np.zeros((2, 2))}
    hidden, pending = np.zeros((2, 3)), np.zeros((2, 2))
    data = np.random.default_rng(1).normal(size=(BATCHES, 2, 3))
    seen = []
    plugins = {
        "averages": LossAveraging(),
        "stop": StopAfter(stop_after),
        "early": EarlyStopping(monitor="val_loss", patience=2),
        "checkpoint": Checkpoint(path=path, every_steps=1, fsync=False),
    }
    state = {"hidden": hidden, "pending": pending}
    with Run(params, plugins=plugins, learning_rate=0.1, optimizer_state=velocity, rng=rng, state=state) as run:
        for epoch in run.epochs(EPOCHS):
            hidden[...] = rng.normal(size=hidden.shape)
            for index in run.batches(rng.permutation(BATCHES)):
                seen.append((epoch, int(index)))
                entering = params["w"] @ hidden + data[index] + 0.1 * rng.normal(size=hidden.shape)
                after = np.tanh(entering)
                slope = after * (1 - after**2)
                pending += run.backward(float((after**2).mean()), slope @ hidden.T)
                hidden[...] = after
                if (epoch, len(seen)) == fail_in:
                    raise FailedError
                if run.step % 2 == 0:
                    velocity["w"][...] = 0.9 * velocity["w"] + pending
                    params["w"] -= run.learning_rate * velocity["w"]
                    pending[...] = 0.0
            order = rng.permutation(3)
            for index in run.batches((int(one) for one in order), phase="val"):
                run.record(float(np.abs(params["w"] @ data[index]).mean() + rng.normal()))
            run.log(noise=float(rng.normal()))
    return outcome(run, params["w"], velocity["w"], hidden, pending, np.array(rng.random())), seen


def test_a_loop_of_ones_own_stopped_after_any_batch_resumes_bit_for_bit(tmp_path):
    whole, seen = own_loop(tmp_path / "whole")
    for stop in range(1, EPOCHS * (BATCHES + 3)):
        path = tmp_path / f"run{stop}"
        _, first = own_loop(path, stop_after=stop)
        resumed, rest = own_loop(path)
        assert resumed == whole, stop
        assert first + rest == seen


def test_a_loop_that_failed_resumes_at_the_last_batch_that_was_saved(tmp_path):
    whole, seen = own_loop(tmp_path / "whole")
    for fail in range(1, EPOCHS * BATCHES + 1):
        path = tmp_path / f"run{fail}"
        epoch = (fail - 1) // BATCHES + 1
        with pytest.raises(FailedError):
            own_loop(path, fail_in=(epoch, fail))
        resumed, rest = own_loop(path)
        assert resumed == whole
        assert rest == seen[fail - 1 :]
