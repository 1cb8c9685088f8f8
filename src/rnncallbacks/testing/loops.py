"""The custom loop: a training script of somebody's own, with its own network, losses and optimizers, around one Run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.config.configuration import load_plugins
from rnncallbacks.core.run import Run
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.testing import columns
from rnncallbacks.testing.setups import Setup
from rnncallbacks.testing.updates import make_update

ROLES = {"input": "Wxh", "recurrent": "Whh", "hidden_bias": "bh", "output": "Why", "output_bias": "by"}
OBJECTIVES = {"nll": columns.mean_nll, "mse": columns.squared_error_of_softmax, "waves": columns.squared_error}


@attrs.frozen(eq=False)
class Item:
    """A batch as the loop computes with it, ``x`` and ``y`` in one-hot columns, and as its loader gave it."""

    x: Array
    y: Array
    batch: SequenceBatch


class Script:
    """A script made from a setup; ``train`` runs it. Somebody's special script overrides some of its methods."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        generator = np.random.default_rng([setup.seed, 3])
        self.params = self.initial_params(generator)
        setup.weights(self.by_role(self.params))
        self.update = make_update(setup.optimizer, self.params)
        self.generator = generator
        self.step = 0
        self.current: Item
        self._state: Array | None = None
        self._accumulated: columns.Params | None = None

    # The loop -------------------------------------------------------------------------------------------------------

    def train(self, plugins: Mapping[str, object]) -> Run:
        """Run the script under these plugins, and return its run."""
        setup = self.setup
        with Run(
            self.params,
            plugins=self.own_plugins() | dict(plugins),
            hidden_size=setup.hidden_size,
            learning_rate=setup.learning_rate,
        ) as run:
            for _ in run.epochs(setup.epochs):
                self.train_epoch(run)
                self.validate(run)
        return run

    def train_epoch(self, run: Run) -> None:
        losses, sizes = [], []
        for _ in run.batches(Pairs(self, self.setup.train, training=True)):
            item = self.current
            losses.append(self.train_batch(run, item))
            sizes.append(item.x.shape[2])
        if losses:
            self.report(run, "train_loss", self.setup.report(losses, sizes))

    def train_batch(self, run: Run, item: Item) -> float:
        state = self.enter(run, item)
        loss, errors, hiddens, logits = self.forward(item, state)
        grads, hidden_gradients = self.backward(item, hiddens, errors)
        closure = None
        if self.setup.through == "loop":
            self.observe(run, item, hidden_states=hiddens, hidden_gradients=list(hidden_gradients), logits=logits)
            closure = partial(self.closed_loss, item, state)
        self.tell_and_update(run, loss, grads, closure)
        if not run.skipped:
            self.leave(run, hiddens[-1])
        return loss

    def tell_and_update(
        self, run: Run, loss: float, grads: columns.Params, closure: Callable[[], float] | None
    ) -> None:
        grads = run.backward(loss, grads, closure=closure)
        if not run.skipped:
            self.apply(run, grads)

    def validate(self, run: Run) -> None:
        losses, sizes = [], []
        for _ in run.batches(Pairs(self, self.setup.validation), phase="val"):
            item = self.current
            state = self.enter(run, item)
            loss, _, hiddens, _ = self.forward(item, state)
            self.leave(run, hiddens[-1])
            run.record(loss)
            losses.append(loss)
            sizes.append(item.x.shape[2])
        if losses:  # none if the run was stopped
            self.report(run, "val_loss", self.setup.report_validation(losses, sizes))

    # Its parts ------------------------------------------------------------------------------------------------------

    def own_plugins(self) -> dict[str, object]:
        """The remedies that the script uses."""
        setup = self.setup
        tables: dict[str, dict[str, object]] = {}
        if setup.resets:
            # The loader's pairs say nothing of which sequences begin anew, so the script has to.
            tables["hidden_state_reset"] = {"when": "epoch" if setup.task.stream else "sequence"}
        if setup.max_norm is not None and setup.through == "loop":
            tables["gradient_clipping"] = {"max_norm": setup.max_norm}
        tables["loss_averaging"] = {}
        return load_plugins({"plugins": tables | setup.plugins})

    def initial_params(self, generator: np.random.Generator) -> columns.Params:
        """The parameters, before the setup changes them."""
        size = self.setup.task.vocab_size
        return columns.initial_params(size, self.setup.hidden_size, size, generator)

    @staticmethod
    def by_role(arrays: columns.Params) -> dict[str, Array]:
        """Parameters or gradients by what they are for."""
        return {role: arrays[name] for role, name in ROLES.items()}

    def roles(self) -> dict[str, Array]:
        """The parameters as they are, by what they are for."""
        return self.by_role(self.params)

    def observe(self, run: Run, item: Item, **evidence: Any) -> None:
        """Show the run what only the script has."""
        if self.setup.keeps_state:
            evidence["entering_state"] = evidence["hidden_states"][0]
        run.observe(**evidence)

    def closed_loss(self, item: Item, state: Array) -> float:
        """The batch's loss at the parameters as they are."""
        return self.forward(item, state)[0]

    def enter(self, run: Run, item: Item) -> Array:
        """The state with which the batch begins."""
        if not self.setup.keeps_state:
            return run.hidden(item.x.shape[2])  # type: ignore[no-any-return]
        if self._state is None:
            self._state = np.zeros((self.setup.hidden_size, item.x.shape[2]))
        return self._state

    def leave(self, run: Run, state: Array) -> None:
        """What the batch leaves to the next."""
        if self.setup.keeps_state:
            self._state = state
        elif self.setup.carries:
            run.carry(state)

    def forward(self, item: Item, state: Array) -> tuple[float, Array, list[Array], Array]:
        """Loss, gradient of the logits, states, and logits."""
        setup = self.setup
        logits, hiddens = columns.forward(self.params, item.x, state, setup.cell)
        loss, errors = OBJECTIVES["waves" if setup.task.regression else setup.objective](logits, item.y)
        factor = setup.loss_factor(item.batch)
        return setup.loss(loss * factor, self.step), errors * factor, hiddens, logits

    def backward(self, item: Item, hiddens: list[Array], errors: Array) -> tuple[columns.Params, Array]:
        """Gradients of parameters and of states."""
        setup = self.setup
        errors = errors * setup.gradient_factor(item.batch)
        grads, hidden_gradients = columns.backward(self.params, item.x, hiddens, errors, setup.cell, setup.recurrence)
        setup.gradients(self.by_role(grads), self.step)
        if setup.accumulates:
            if self._accumulated is None:
                self._accumulated = {name: np.zeros_like(grad) for name, grad in grads.items()}
            for name, total in self._accumulated.items():
                total += grads[name]
            grads = self._accumulated
        return grads, hidden_gradients

    def apply(self, run: Run, grads: columns.Params) -> None:
        """Clip and update."""
        setup = self.setup
        if setup.through == "plain_loop" and setup.max_norm is not None:
            grads = self.clip(grads, setup.max_norm)
        grads = {name: grad for name, grad in grads.items() if name not in [ROLES[role] for role in setup.frozen]}
        if setup.update == "in place":
            self.update(self.params, grads, run.learning_rate)
        elif setup.update == "of a copy":
            self.update({name: array.copy() for name, array in self.params.items()}, grads, run.learning_rate)

    def clip(self, grads: columns.Params, max_norm: float) -> columns.Params:
        """The gradients, bounded by their global norm."""
        norm = float(np.sqrt(sum((grad**2).sum() for grad in grads.values())))
        return {name: grad * min(1.0, max_norm / norm) for name, grad in grads.items()} if norm > 0 else grads

    def true_loss(self, batches: Iterable[SequenceBatch]) -> float:
        """The mean negative log-likelihood of the network as it is, with the state as it should be."""
        losses, state = [], None
        for batch in batches:
            item = as_item(batch, self.setup)
            if state is None or not self.setup.task.stream:
                state = np.zeros((self.setup.hidden_size, item.x.shape[2]))
            logits, hiddens = columns.forward(self.params, item.x, state, self.setup.cell)
            losses.append(OBJECTIVES["waves" if self.setup.task.regression else "nll"](logits, item.y)[0])
            state = hiddens[-1]
        return float(np.mean(losses))

    def report(self, run: Run, name: str, value: float | None) -> None:
        """Log the epoch's loss."""
        if value is not None:
            run.log(**{name: value})


class Pairs:
    """Yields pairs of inputs and targets, and leaves the batch as the script computes with it in ``script.current``.

    With all evidence they are one-hot columns (seq_len, vocab_size, batch), else token numbers (batch, seq_len).
    """

    def __init__(self, script: Script, batches: Any, training: bool = False) -> None:
        self.script = script
        self.batches = batches
        self.training = training

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Hand the number to the loader behind."""
        if hasattr(self.batches, "set_epoch"):
            self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        script = self.script
        setup = script.setup
        for batch in self.batches:
            item = as_item(batch, setup)
            script.current = item
            if self.training:
                script.step += 1
                setup.inputs(item.x, script.step)
            if setup.through == "loop":
                yield item.x, item.y
            else:
                targets = batch.targets if batch.mask is None else np.where(batch.mask, batch.targets, -1)
                yield batch.inputs.swapaxes(0, 1), targets.swapaxes(0, 1)


def as_item(batch: SequenceBatch, setup: Setup) -> Item:
    """A batch in columns; positions that do not count have a target of zeros."""
    if setup.task.regression:
        return Item(batch.inputs.transpose(0, 2, 1), batch.targets.transpose(0, 2, 1), batch)
    x, y = one_hot(batch.inputs, setup.task.vocab_size), one_hot(batch.targets, setup.task.vocab_size)
    if batch.mask is not None:
        y *= batch.mask[:, None, :]
    return Item(x, y, batch)


def one_hot(tokens: Array, vocab_size: int) -> Array:
    """Token numbers (seq_len, batch) as columns (seq_len, vocab_size, batch)."""
    return np.ascontiguousarray(np.eye(vocab_size)[tokens].transpose(0, 2, 1))
