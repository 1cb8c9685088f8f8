"""Measures an epoch on the embedded text, with clipping, a plateau schedule and early stopping.

Contenders are frameworks with their own loops. Each trains in its own process and waits for its turn before each epoch.
The first epoch, in which JAX and numba compile, is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import attrs
import numpy as np

from rnncallbacks.rnn.data.splits import split
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text
from speed.task import Task
from speed.turns import DisagreementError, Process, take_turns, threads

FRAMEWORKS = {
    "ours": ("our_epoch", "remedies"),
    "ours, guarded": ("our_epoch", "guarded"),
    "ours, compiled": ("our_epoch", "compiled"),
    "lightning": ("lightning_epoch", "lightning_epochs"),
    "keras": ("keras_epoch", "keras_epochs"),
}
"""Contenders: a module and its function."""

TOLERANCES = {"ours": 0.0, "ours, guarded": 0.02, "ours, compiled": 0.001, "lightning": 0.001, "keras": 0.05}
"""Largest relative difference from our loss. Compiled kernels round differently, which reached 5e-5 after eight epochs.
The guarded run resets the state before each epoch. Keras resets it before each batch, and has one bias where others
have two, so that an update moves their sum half as far."""

PATIENCE = 10
"""Epochs without improvement before the learning rate drops and before training stops. Neither happens here."""

Gate = Callable[[float], None]
"""Function to call before each epoch with the validation loss of the last one. It returns at this contender's turn."""


@attrs.frozen
class Epoch:
    """Sizes of an epoch on the first ``characters`` of the text (None for all). The last tenth is held out."""

    seq_len: int
    batch_size: int
    hidden_size: int
    characters: int | None = None

    def loaders(self) -> tuple[Task, StreamLoader, StreamLoader]:
        """The sizes of the vanilla network, and training and validation batches, all of one shape."""
        text = embedded_text()
        vocabulary = Vocabulary.from_tokens(text)
        parts = split(vocabulary.encode(text)[: self.characters], 0.1)
        train, held_out = (StreamLoader(part, self.batch_size, self.seq_len, drop_last=True) for part in parts)
        return Task("vanilla", self.seq_len, self.batch_size, len(vocabulary), self.hidden_size), train, held_out


def stacked(loader: StreamLoader) -> tuple[np.ndarray, np.ndarray]:
    """All inputs and all targets of a loader, (batches, seq_len, batch_size) each."""
    batches = list(loader)
    return np.stack([batch.inputs for batch in batches]), np.stack([batch.targets for batch in batches])


def serve_epochs(name: str, epoch: Epoch, pipe: Connection) -> None:
    """Trains endlessly in its own process: one epoch for each message, answered with its seconds and its loss."""
    module, function = FRAMEWORKS[name]
    begin = None

    def gate(loss: float) -> None:
        nonlocal begin
        pipe.send(None if begin is None else (time.perf_counter() - begin, loss))
        pipe.recv()
        begin = time.perf_counter()

    getattr(import_module(f"speed.{module}"), function)(*epoch.loaders(), gate)


def measure_epochs(epoch: Epoch, names: Iterable[str], count: int, rounds: int) -> dict[str, Any]:
    """Seconds per epoch of each framework, in rounds, with ``count`` threads."""
    with threads(count):
        processes = {name: Process(serve_epochs, name, epoch) for name in names}
    try:
        for process in processes.values():
            process.pipe.recv()
        answers = take_turns(processes, dict.fromkeys(processes, "go on"), rounds + 1)
    finally:
        for process in processes.values():
            process.close()
    losses = {name: answers[name][-1][1] for name in processes}
    for name, loss in losses.items():
        if not abs(loss - losses["ours"]) <= TOLERANCES[name] * losses["ours"]:
            raise DisagreementError(f"losses after {rounds + 1} epochs: {losses}")
    return {
        "seconds": {name: [answer[0] for answer in answers[name][1:]] for name in processes},
        "losses": losses,
        "batches": [len(loader) for loader in epoch.loaders()[1:]],
    }
