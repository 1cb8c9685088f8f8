"""Runs under all guards that stop and resume: nothing differs from the run that was not stopped."""

import shutil

import numpy as np
import pytest

import rnncallbacks
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import saved_state
from rnncallbacks.core.run import Run
from rnncallbacks.core.state_encoding import encode
from rnncallbacks.plugins import Checkpoint, EarlyStopping, LossReportGuard, PlateauAlarm, SelfRepair
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD
from rnncallbacks.testing import scratch_rnn
from rnncallbacks.training.trainer import Trainer

EPOCHS = 3
CLASSES = 5


STOPS = {"within an epoch": (1, 5), "between epochs": (3, 1)}
"""The epoch and the batch before which runs stop."""


class CopyOfCheckpoints:
    """Copies the checkpoint at each of the stops."""

    def __init__(self, path):
        self.path = path

    @hookimpl
    def on_batch_start(self, run, batch):
        for name, place in STOPS.items():
            if batch.phase == "train" and place == (run.epoch, batch.index):
                (self.path.parent / name).mkdir()
                shutil.copy(self.path, self.path.parent / name)


def own_loop(plugins, fault):
    """A script with its own network; rows follow a chain of tokens, or continue from batch to batch as a stream."""
    params = scratch_rnn.initial_params(CLASSES, 8, CLASSES, np.random.default_rng(0))
    kept = {name: np.zeros_like(array) for name, array in params.items()}
    tokens = (np.arange(43)[:, None] * [1, 1, 2, 3] + [0, 2, 1, 4]) % CLASSES
    parts = [tokens[first : first + 7] for first in range(0, 42, 6)]
    run = Run(
        params,
        optimizer_state=kept,
        learning_rate=20.0 if fault == "rate" else 0.5,
        plugins=plugins,
        zeros=lambda rows: np.zeros((8, rows)),
    )
    with run:
        for epoch in run.epochs(EPOCHS):
            order = np.arange(7) if fault == "stream" else np.random.default_rng(epoch).permutation(7)
            for part in run.batches([parts[index] for index in order]):
                inputs, targets = part[:-1], part[1:]
                (x, y), start = (np.eye(CLASSES)[one].transpose(0, 2, 1) for one in (inputs, targets)), run.hidden(4)
                logits, hiddens = scratch_rnn.forward(params, x, start)
                loss, errors = scratch_rnn.mean_nll(logits, y)
                grads, _ = scratch_rnn.backward(params, x, hiddens, errors)
                if fault == "sign":
                    grads["Whh"] *= -1
                if fault == "never zeroed":
                    for name in grads:
                        kept[name] += grads[name]
                        grads[name][...] = kept[name]
                run.observe(inputs=inputs, targets=targets, hidden_states=hiddens)
                closure = lambda x=x, y=y, h=start: scratch_rnn.mean_nll(scratch_rnn.forward(params, x, h)[0], y)[0]  # noqa: E731
                run.backward(loss, grads, closure=closure if fault != "without closure" else None)
                for name in params:
                    params[name] -= run.learning_rate * grads[name]
                if fault == "stream":
                    run.carry(hiddens[-1])
            run.log(train_loss=1.5)
    return run


def trainer(plugins, _):
    data = anbn(16, max_n=8)
    train = SequenceLoader(data, batch_size=2, seed=2)
    trained = Trainer(RecurrentModel(6, vocab_size=4, seed=1), SGD(), plugins=plugins, learning_rate=2.0)
    trained.fit(train, SequenceLoader(data[:3], batch_size=2, shuffle=False), max_epochs=EPOCHS, progress=False)
    return trained.run


CASES = {
    "healthy": (own_loop, "none", None),
    "without a closure": (own_loop, "without closure", None),
    "a stream whose state is reset": (own_loop, "stream", "RNN203"),
    "a wrong sign": (own_loop, "sign", "RNN404"),
    "gradients that are never zeroed": (own_loop, "never zeroed", "RNN406"),
    "a rate that is too high, and repaired": (own_loop, "rate", "RNN501"),
    "a trainer": (trainer, None, None),
}


def facts(run):
    """All that a run ends with, so that NaN equals NaN."""
    arrays = {f"params.{name}": array for name, array in run.params.items()}
    states = {
        f"{plugin_name}.{name}": encode(value, f"{plugin_name}.{name}", arrays)
        for plugin_name, plugin in run.plugins.items()
        for name, value in saved_state(plugin).items()
    }
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in run.history]
    bits = {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items()}
    return {name: repr(value) for name, value in (states | bits).items()} | {
        "diagnosis": repr(run.diagnosis.to_dict()),
        "printed": str(run.diagnosis),
        "history": repr(history),
    }


@pytest.mark.parametrize(("loop", "fault", "code"), CASES.values(), ids=list(CASES))
def test_a_resumed_run_has_the_alarms_the_checks_and_the_state_of_one_that_was_not_stopped(tmp_path, loop, fault, code):
    def plugins(path):
        return {
            **rnncallbacks.recommended(),
            "loss_report": LossReportGuard(),
            **({"self_repair": SelfRepair(snapshot_every=3)} if fault == "rate" else {}),
            "plateau": PlateauAlarm(monitor="train_loss"),
            "stop": EarlyStopping(monitor="train_loss", patience=50),
            "checkpoint": Checkpoint(path=path, fsync=False, every_steps=4, every_epochs=1),
        }

    with np.errstate(all="ignore"):
        path = tmp_path / "checkpoint"
        whole = loop({**plugins(path), "copies": CopyOfCheckpoints(path)}, fault)
        assert code is None or code in [alarm.code for alarm in whole.alarms]
        assert whole.diagnosis.passed
        expected = facts(whole)
        for stop in STOPS:
            resumed = loop(plugins(tmp_path / stop / path.name), fault)
            assert facts(resumed) == expected, f"stopped {stop}"
