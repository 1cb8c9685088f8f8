"""The description of a training run: every part that a fault may change, for the custom loop and for the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol, TypeAlias

import attrs

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.run import Run
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.testing.scratch_rnn import BackwardMatrix, transposed
from rnncallbacks.testing.tasks import TASKS, Task

LoopKind: TypeAlias = Literal["trainer", "loop", "plain_loop"]
LOOPS: tuple[LoopKind, ...] = ("trainer", "loop", "plain_loop")
"""Training loops.

"trainer" is ``Trainer``. "loop" is a script written from scratch that also observes hidden states, their gradients and
logits, and passes a closure. "plain_loop" is the same script with only loss, gradients and parameters.
"""

CELLS = ("tanh", "relu")
GATED = ("lstm", "gru")
"""Cells of the trainer only."""
OPTIMIZERS = ("sgd", "momentum", "adam", "adagrad", "rmsprop")
ADAPTIVE = ("adam", "adagrad", "rmsprop")
"""Optimizers whose learning rates in ``LEARNING_RATES`` also suit gated cells."""

LEARNING_RATES: Mapping[str, Mapping[str, float]] = {
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
"""Learning rates that work well, by task and optimizer, from a sweep in factors of about 3."""

UNLEARNED = frozenset({("echo", "relu", "sgd"), ("recall", "relu", "sgd")})
"""(task, cell, optimizer) that hardly learned at any learning rate of the sweep."""

Arrays = Mapping[str, Array]
"""Parameters or gradients by role: "input", "recurrent", "hidden_bias", "output" and "output_bias"."""


def unit_factor(batch: SequenceBatch) -> float:
    """Keeps the mean over the positions of the batch."""
    return 1.0


def keep_weights(arrays: Arrays) -> None:
    """Leaves the initial weights unchanged."""


def keep_arrays(arrays: Arrays | Array, step: int) -> None:
    """Leaves gradients or inputs unchanged."""


def keep_loss(loss: float, step: int) -> float:
    """Leaves the loss unchanged."""
    return loss


def mean_over_batches(losses: list[float], sizes: list[int]) -> float | None:
    """The correct epoch loss."""
    return sum(losses) / len(losses)


class TrainedNetwork(Protocol):
    """The network at the end of a run."""

    def true_loss(self, batches: Iterable[SequenceBatch]) -> float:
        """Mean loss on these batches, with correct initial states."""

    def roles(self) -> Arrays:
        """The parameters by role."""


class TrainingScript(TrainedNetwork, Protocol):
    """A custom loop made from a setup."""

    def train(self, plugins: Mapping[str, object]) -> Run:
        """Trains the network under these plugins, and returns the run."""


@attrs.define(eq=False)
class Setup:
    """A training run before it starts. A fault changes some of its fields.

    Functions of a ``step`` get the number of the training batch, counted from 1.

    Parameters
    ----------
    task, cell, optimizer, seed:
        The task, the names of cell and optimizer, and the seed of data and initial weights.
    loop:
        The training loop, see ``LOOPS``.
    learning_rate:
        The base learning rate.
    train, validation:
        The batches of each epoch.
    epochs:
        Number of epochs.
    resets_state:
        Whether the plugin ``hidden_state_reset`` is on.
    hidden_size:
        Number of hidden units.
    max_norm:
        Global norm at which gradients are clipped; None for no clipping. The plain loop clips in its own code, the
        other loops use the plugin ``gradient_clipping``.
    carries_state:
        Whether the final state of a batch is carried to the next batch.
    owns_state:
        Whether the script keeps the state in its own variable, hidden from the run. Custom loops only.
    change_weights:
        Changes the initial weights in place.
    change_inputs:
        Changes the one-hot inputs of a training batch in place. Custom loops only.
    objective:
        "nll" for the negative log-likelihood, "mse" for the squared error against one-hot targets. The custom loops
        compare the softmax with the targets, the trainer compares its outputs.
    loss_factor, gradient_factor:
        Functions of a batch. The first returns a factor of the mean loss and of its gradient, the second a further
        factor of the gradient alone.
    change_loss:
        Returns the loss that a batch reports in place of its loss.
    backward_matrix:
        Returns the matrix that takes gradients one time step back, given the recurrent matrix.
    change_gradients:
        Changes the gradients in place, as a wrong backward pass would.
    accumulates_gradients:
        Whether gradients add up over batches because they are never zeroed.
    frozen:
        Roles of parameters that are deliberately not updated.
    update:
        "in place" is correct. "of a copy" updates copies of the parameters. "none" updates nothing.
    report, report_validation:
        Functions of an epoch's batch losses and batch sizes that return the loss to log, or None to log none.
    plugins:
        Options of further plugins, by entry point.
    custom_loop:
        Class of the custom loop; None for ``CustomLoop``.
    """

    task: Task
    cell: str
    optimizer: str
    seed: int
    loop: LoopKind
    learning_rate: float
    train: Iterable[SequenceBatch]
    validation: Iterable[SequenceBatch]
    epochs: int
    resets_state: bool
    hidden_size: int = 32
    max_norm: float | None = 5.0
    carries_state: bool = True
    owns_state: bool = False
    change_weights: Callable[[Arrays], None] = keep_weights
    change_inputs: Callable[[Array, int], None] = keep_arrays
    objective: Literal["nll", "mse"] = "nll"
    loss_factor: Callable[[SequenceBatch], float] = unit_factor
    gradient_factor: Callable[[SequenceBatch], float] = unit_factor
    change_loss: Callable[[float, int], float] = keep_loss
    backward_matrix: BackwardMatrix = transposed
    change_gradients: Callable[[Arrays, int], None] = keep_arrays
    accumulates_gradients: bool = False
    frozen: tuple[str, ...] = ()
    update: Literal["in place", "of a copy", "none"] = "in place"
    report: Callable[[list[float], list[int]], float | None] = mean_over_batches
    report_validation: Callable[[list[float], list[int]], float | None] = mean_over_batches
    plugins: dict[str, dict[str, object]] = attrs.field(factory=dict)
    custom_loop: Callable[[Setup], TrainingScript] | None = None


def healthy(task: str, cell: str, optimizer: str, seed: int, loop: LoopKind) -> Setup:
    """The setup of a run without a fault.

    Raises
    ------
    KeyError
        There is no task or optimizer of this name.
    """
    chosen = TASKS[task]
    data = chosen.make(seed)
    return Setup(
        chosen,
        cell,
        optimizer,
        seed,
        loop,
        learning_rate=LEARNING_RATES[task][optimizer],
        train=data.train,
        validation=data.validation,
        epochs=chosen.epochs,
        resets_state=True,
    )
