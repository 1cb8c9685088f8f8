"""Training runs with every shipped plugin: a Trainer, a Trainer on a carried stream, and a loop of one's own."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rnncallbacks import Run
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.testing import scratch_rnn
from rnncallbacks.training.trainer import Trainer

EPOCHS = 4
VOCABULARY = 5
RATES = {"usual": 0.02, "too high": 20.0, "diverging": 300.0}
"""Learning rates: at the last two, guards raise alarms and self_repair restores parameters."""
EXTRAS = ("mlflow", "optuna", "tensorboard")
"""Plugins that need an optional package."""
OPTIONS: dict[str, dict[str, Any]] = {
    "cosine_decay": {"steps": 40},
    "cosine_restarts": {"steps": 12},
    "polynomial_decay": {"steps": 40},
    "piecewise_constant": {"boundaries": (4, 11), "scales": (1.0, 0.9, 0.8)},
    "one_cycle": {"steps": 40},
    "exponential_decay": {"factor": 0.9},
    "step_decay": {"every": 3},
    "inverse_sqrt": {"warmup_steps": 5},
    "warmup": {"steps": 5},
    "early_stopping": {"patience": 3},
    "plateau_alarm": {"patience": 2},
    "reduce_on_plateau": {"patience": 1},
    "gradient_clipping": {"max_norm": 1.0},
}


@attrs.frozen
class TrainingRun:
    """How a run trains.

    Attributes
    ----------
    style:
        "trainer", "stream" or "own loop".
    rate:
        A key of :data:`RATES`.
    saving:
        The options of the plugin checkpoint. Its path is in the folder of the run.
    """

    style: str
    rate: str
    saving: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        saving = ", ".join(f"{name}={value}" for name, value in self.saving)
        return f"{self.style}, rate {self.rate}, checkpoint {saving}"

    def train(self, folder: Path, witness: object = None) -> Run:
        """Train to the end, with the run's files in the folder; ``witness`` is one more plugin."""
        plugins = shipped_plugins(folder, dict(self.saving))
        if witness is not None:
            plugins["witness"] = witness
        return STYLES[self.style](plugins, RATES[self.rate])


def warm_up() -> None:
    """Train once in each style, so that forked processes have nothing left to import."""
    for style in STYLES:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            TrainingRun(style, "usual", ()).train(Path(folder))


def shipped_plugins(folder: Path, saving: dict[str, Any]) -> dict[str, object]:
    """Every plugin of the library, by name."""
    path = folder / saving.get("path", "checkpoint.safetensors")
    placed: dict[str, dict[str, Any]] = {
        "checkpoint": {**saving, "path": path},
        "history_log": {"directory": folder},
    }
    options = {**OPTIONS, **placed}
    found = [one for one in find_plugins() if one.distribution == "rnncallbacks" and one.name not in EXTRAS]
    return {one.name: one.load()(**options.get(one.name, {})) for one in found}


def _sequences(generator: np.random.Generator, count: int) -> list[np.ndarray]:
    return [(generator.integers(VOCABULARY) + np.arange(9)) % VOCABULARY for _ in range(count)]


def train_trainer(plugins: dict[str, object], rate: float) -> Run:
    """Sequences of two loaders, the first shuffled; two layers with dropout."""
    generator = np.random.default_rng(1)
    model = RecurrentModel(6, vocab_size=VOCABULARY, cell="gru", num_layers=2, dropout=0.2, seed=0)
    trainer = Trainer(model, Adam(), plugins=plugins, learning_rate=rate)
    train = SequenceLoader(_sequences(generator, 20), 4, seed=3)
    trainer.fit(train, SequenceLoader(_sequences(generator, 4), 4, shuffle=False), max_epochs=EPOCHS, progress=False)
    assert trainer.run is not None
    return trainer.run


def train_stream(plugins: dict[str, object], rate: float) -> Run:
    """A stream whose state is carried from batch to batch."""
    generator = np.random.default_rng(2)
    model = RecurrentModel(6, vocab_size=VOCABULARY, cell="lstm", seed=0)
    trainer = Trainer(model, Adam(), plugins=plugins, learning_rate=rate)
    stream = generator.integers(VOCABULARY, size=170)
    trainer.fit(StreamLoader(stream[:130], 4, 5), StreamLoader(stream[130:], 4, 5), max_epochs=EPOCHS, progress=False)
    assert trainer.run is not None
    return trainer.run


class Shuffled:
    """A loader of one's own, with an order for each epoch."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        order = np.random.default_rng(self.epoch).permutation(len(self.items))
        return iter([self.items[place] for place in order])


def train_own_loop(plugins: dict[str, object], rate: float) -> Run:
    """A network written in NumPy, with momentum and a closure."""
    generator = np.random.default_rng(4)
    params = scratch_rnn.initial_params(VOCABULARY, 6, VOCABULARY, generator)
    velocity = {name: np.zeros_like(array) for name, array in params.items()}
    eye = np.eye(VOCABULARY)
    batches = []
    for _ in range(6):
        tokens = np.stack(_sequences(generator, 4), axis=1)
        one_hot = eye[tokens].transpose(0, 2, 1)
        batches.append((one_hot[:-1], one_hot[1:]))
    train, validation = Shuffled(batches[:5]), batches[5:]
    with Run(params, plugins=plugins, learning_rate=rate, hidden_size=6, optimizer_state=velocity) as run:
        for _ in run.epochs(EPOCHS):
            for x, y in run.batches(train):
                state = run.hidden(x.shape[2])
                logits, hiddens = scratch_rnn.forward(params, x, state)
                loss, errors = scratch_rnn.mean_nll(logits, y)
                grads, _ = scratch_rnn.backward(params, x, hiddens, errors)
                run.observe(inputs=x, targets=y, logits=logits, hidden_states=hiddens[1:])

                def closure(x: Any = x, y: Any = y, state: Any = state) -> float:
                    return scratch_rnn.mean_nll(scratch_rnn.forward(params, x, state)[0], y)[0]

                grads = run.backward(loss, grads, closure=closure)
                if not run.skipped:
                    run.carry(hiddens[-1])
                    for name, grad in grads.items():
                        velocity[name] *= 0.9
                        velocity[name] += grad
                        params[name] -= run.learning_rate * velocity[name]
            for x, y in run.batches(validation, phase="val"):
                logits, hiddens = scratch_rnn.forward(params, x, run.hidden(x.shape[2]))
                run.record(scratch_rnn.mean_nll(logits, y)[0])
                run.carry(hiddens[-1])
    return run


STYLES: dict[str, Callable[[dict[str, object], float], Run]] = {
    "trainer": train_trainer,
    "stream": train_stream,
    "own loop": train_own_loop,
}
