"""Runs for the tests of plugins: one that plays given losses, and a small network to train."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_manager import PluginsGiven
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import HiddenStateReset
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.training.trainer import Trainer

Play = Callable[..., Run]
MakeTrainer = Callable[..., tuple[Trainer, SequenceLoader, SequenceLoader]]


class Rates:
    """The learning rate with which each training batch is updated."""

    def __init__(self) -> None:
        self.train: list[float] = []

    @hookimpl
    def on_backward(self, run: Run) -> None:
        self.train.append(run.learning_rate)


@pytest.fixture
def rates() -> Rates:
    return Rates()


@pytest.fixture
def play() -> Play:
    """Plays losses, one sequence of them an epoch; the parameter is the number of updates done."""

    def play(
        plugins: PluginsGiven,
        train: Iterable[Sequence[float]],
        val: Iterable[Sequence[float]] | None = None,
        **options: object,
    ) -> Run:
        params = {"w": np.zeros(2)}
        epochs = list(train)
        validations = iter(val) if val is not None else None
        with Run(params, plugins=plugins, learning_rate=1.0, **options) as run:
            for epoch in run.epochs(len(epochs)):
                for loss in run.batches(epochs[epoch - 1]):
                    run.backward(loss, {"w": np.ones(2)})
                    if not run.skipped:
                        params["w"] += 1.0
                for loss in run.batches(next(validations), phase="val") if validations is not None else ():
                    run.record(loss)
        return run

    return play


@pytest.fixture
def make_trainer() -> MakeTrainer:
    """A trainer of a small network on a^n b^n with its state reset, a shuffled loader, and one for validation."""

    def make(plugins: Iterable[object], *, seed: int = 0, learning_rate: float = 0.01) -> tuple:
        model = RecurrentModel(8, vocab_size=4, seed=seed)
        train = SequenceLoader(anbn(24, max_n=5, seed=seed), batch_size=5, shuffle=True, seed=seed)
        val = SequenceLoader(anbn(8, max_n=5, seed=seed + 1), batch_size=3, shuffle=False)
        return Trainer(model, Adam(), plugins=[HiddenStateReset(), *plugins], learning_rate=learning_rate), train, val

    return make
