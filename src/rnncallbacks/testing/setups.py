"""A healthy training, in parts that a fault may replace; the custom loop and the trainer are both made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol, TypeAlias

import attrs

from rnncallbacks.arrays import Array
from rnncallbacks.core.run import Run
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.testing.columns import BackThroughTime, transposed
from rnncallbacks.testing.tasks import TASKS, Task

Through: TypeAlias = Literal["trainer", "loop", "plain_loop"]
THROUGH: tuple[Through, ...] = ("trainer", "loop", "plain_loop")
"""The trainer; the custom loop with all evidence; the custom loop with no more than loss, gradients and parameters."""

CELLS = ("tanh", "relu")
GATED = ("lstm", "gru")
"""Cells that only the trainer has."""
OPTIMIZERS = ("sgd", "momentum", "adam", "adagrad", "rmsprop")
ADAPTIVE = ("adam", "adagrad", "rmsprop")
"""Those whose rates suit gated cells too; plain gradient descent needs others there."""

RATES: Mapping[str, Mapping[str, float]] = {
    "characters": {"sgd": 0.5, "momentum": 0.1, "adam": 1e-2, "adagrad": 0.1, "rmsprop": 3e-3},
    "stream": {"sgd": 0.5, "momentum": 0.1, "adam": 1e-2, "adagrad": 0.1, "rmsprop": 3e-3},
    "echo": {"sgd": 0.2, "momentum": 0.03, "adam": 5e-3, "adagrad": 0.03, "rmsprop": 3e-3},
    "anbn": {"sgd": 0.1, "momentum": 0.01, "adam": 3e-3, "adagrad": 0.05, "rmsprop": 3e-3},
    "recall": {"sgd": 0.5, "momentum": 0.05, "adam": 5e-3, "adagrad": 0.09, "rmsprop": 3e-3},
    "anbn_single": {"sgd": 0.1, "momentum": 0.01, "adam": 3e-3, "adagrad": 0.05, "rmsprop": 3e-3},
    "parity": {"sgd": 0.07, "momentum": 0.007, "adam": 1e-3, "adagrad": 0.03, "rmsprop": 1e-3},
    "words": {"sgd": 0.5, "momentum": 0.05, "adam": 5e-3, "adagrad": 0.1, "rmsprop": 3e-3},
    "waves": {"sgd": 0.1, "momentum": 0.01, "adam": 3e-3, "adagrad": 0.03, "rmsprop": 3e-3},
}
"""Good learning rates by task and optimizer, from a sweep over factors of about 3."""

UNLEARNED = frozenset({("echo", "relu", "sgd"), ("recall", "relu", "sgd")})
"""Task, cell and optimizer for which no rate of the sweep gave a network worth the name."""

Arrays = Mapping[str, Array]
"""Arrays by their role: "input", "recurrent" and "output" (the three weight matrices), and the biases behind them."""


def one(batch: SequenceBatch) -> float:
    """The factor of a loss that is the mean over its positions."""
    return 1.0


def unchanged(arrays: Arrays) -> None:
    """Leave weights as they are."""


def unpoisoned(values: Arrays | Array, step: int) -> None:
    """Leave gradients or inputs as they are."""


def same_loss(loss: float, step: int) -> float:
    """Leave the loss as it is."""
    return loss


def mean(losses: list[float], sizes: list[int]) -> float | None:
    """An epoch's loss as it should be reported: the mean over the batches."""
    return sum(losses) / len(losses)


class TrainedNetwork(Protocol):
    """What a training leaves behind."""

    def true_loss(self, batches: Iterable[SequenceBatch]) -> float:
        """The mean negative log-likelihood on these batches, with the state as it should be."""

    def roles(self) -> Arrays:
        """The parameters by their role."""


class TrainingScript(TrainedNetwork, Protocol):
    """A training script made from a setup."""

    def train(self, plugins: Mapping[str, object]) -> Run:
        """Run the script under these plugins, and return its run."""


@attrs.define(eq=False)
class Setup:
    """A training, ready to begin. A fault changes some of its fields.

    Parameters
    ----------
    task, cell, optimizer, seed, through:
        What is trained, with what, and in which loop.
    learning_rate:
        The base learning rate.
    max_norm:
        At which global norm gradients are clipped; None: never. The trainer and the loop with full evidence clip by the
        plugin gradient_clipping, the plain loop by itself.
    train, validation:
        The batches of an epoch.
    epochs:
        How many.
    hidden_size:
        Number of units.
    resets, carries:
        Whether sequences that begin anew get a zero state, and whether the state is carried over to the next batch.
    keeps_state:
        The script keeps the state in a variable of its own, where the run does not see it. Custom loop only.
    weights:
        Changes the initial weights in place.
    inputs:
        Changes the one-hot columns of a training batch in place, given its number from 1. Custom loop only.
    objective:
        "nll"; "mse" is the squared error between softmax and one-hot target (in the trainer, of the outputs as such).
    loss_factor, gradient_factor:
        From a batch to what its mean loss, and its gradient, are multiplied with.
    loss:
        Changes the loss of a batch, given its number from 1.
    recurrence:
        From the recurrent matrix to the one by which gradients go back through time.
    gradients:
        Changes the gradients in place, as a wrong backward pass would, given the batch's number.
    accumulates:
        The gradients of the batches before are not zeroed.
    update:
        "in place" works. "of a copy" changes copies of the parameters, "none" is an update that was forgotten.
    frozen:
        Roles of the weights that are kept as they are on purpose.
    report, report_validation:
        From the batch losses of an epoch and the batch sizes to the number that the script logs; None logs none.
    plugins:
        More plugins by entry point, with their options.
    script:
        The class of the custom loop.
    """

    task: Task
    cell: str
    optimizer: str
    seed: int
    through: Through
    learning_rate: float
    train: Iterable[SequenceBatch]
    validation: Iterable[SequenceBatch]
    epochs: int
    resets: bool
    hidden_size: int = 32
    max_norm: float | None = 5.0
    carries: bool = True
    keeps_state: bool = False
    weights: Callable[[Arrays], None] = unchanged
    inputs: Callable[[Array, int], None] = unpoisoned
    objective: Literal["nll", "mse"] = "nll"
    loss_factor: Callable[[SequenceBatch], float] = one
    gradient_factor: Callable[[SequenceBatch], float] = one
    loss: Callable[[float, int], float] = same_loss
    recurrence: BackThroughTime = transposed
    gradients: Callable[[Arrays, int], None] = unpoisoned
    accumulates: bool = False
    frozen: tuple[str, ...] = ()
    update: Literal["in place", "of a copy", "none"] = "in place"
    report: Callable[[list[float], list[int]], float | None] = mean
    report_validation: Callable[[list[float], list[int]], float | None] = mean
    plugins: dict[str, dict[str, object]] = attrs.field(factory=dict)
    script: Callable[[Setup], TrainingScript] | None = None


def healthy(task: str, cell: str, optimizer: str, seed: int, through: Through) -> Setup:
    """The training that works."""
    chosen = TASKS[task]
    data = chosen.make(seed)
    return Setup(
        chosen,
        cell,
        optimizer,
        seed,
        through,
        learning_rate=RATES[task][optimizer],
        train=data.train,
        validation=data.validation,
        epochs=chosen.epochs,
        resets=True,
    )
