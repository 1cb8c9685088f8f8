"""The custom loop: a training script with its own network, losses and optimizers, and one Run around its loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.config.configuration import load_plugins
from rnncallbacks.core.run import Run
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.testing import scratch_rnn
from rnncallbacks.testing.scratch_optimizers import make_update
from rnncallbacks.testing.scratch_rnn import Params
from rnncallbacks.testing.setups import Setup

ROLES = {"input": "Wxh", "recurrent": "Whh", "hidden_bias": "bh", "output": "Why", "output_bias": "by"}
LOSSES = {
    "nll": scratch_rnn.mean_nll,
    "mse": scratch_rnn.squared_error_of_softmax,
    "regression": scratch_rnn.squared_error,
}


@attrs.frozen(eq=False)
class ColumnBatch:
    """Inputs ``x`` and targets ``y`` as one-hot columns (seq_len, vocab_size, batch), and the loader's batch."""

    x: Array
    y: Array
    batch: SequenceBatch


class CustomLoop:
    """A training script made from a setup. Variants override its methods.

    ``current`` is the batch in progress, ``step`` the number of training batches so far.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        generator = np.random.default_rng([setup.seed, 3])
        self.params = self.initial_params(generator)
        setup.change_weights(self.by_role(self.params))
        self.update = make_update(setup.optimizer, self.params)
        self.generator = generator
        self.step = 0
        self.current: ColumnBatch
        self._state: Array | None = None
        self._accumulated: Params | None = None

    # --- the loop

    def train(self, plugins: Mapping[str, object]) -> Run:
        """Trains the network under these plugins, and returns the run."""
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
        for _ in run.batches(PairLoader(self, self.setup.train, training=True)):
            item = self.current
            losses.append(self.train_batch(run, item))
            sizes.append(item.x.shape[2])
        if losses:
            self.log_loss(run, "train_loss", self.setup.report(losses, sizes))

    def train_batch(self, run: Run, item: ColumnBatch) -> float:
        state = self.initial_state(run, item)
        loss, errors, hiddens, logits = self.forward(item, state)
        grads, hidden_gradients = self.backward(item, hiddens, errors)
        closure = None
        if self.setup.loop == "loop":
            self.observe(run, item, hidden_states=hiddens, hidden_gradients=list(hidden_gradients), logits=logits)
            closure = partial(self.closure_loss, item, state)
        self.report_and_update(run, loss, grads, closure)
        if not run.skipped:
            self.store_state(run, hiddens[-1])
        return loss

    def report_and_update(self, run: Run, loss: float, grads: Params, closure: Callable[[], float] | None) -> None:
        grads = run.backward(loss, grads, closure=closure)
        if not run.skipped:
            self.apply(run, grads)

    def validate(self, run: Run) -> None:
        losses, sizes = [], []
        for _ in run.batches(PairLoader(self, self.setup.validation), phase="val"):
            item = self.current
            state = self.initial_state(run, item)
            loss, _, hiddens, _ = self.forward(item, state)
            self.store_state(run, hiddens[-1])
            run.record(loss)
            losses.append(loss)
            sizes.append(item.x.shape[2])
        if losses:  # none if the run was stopped
            self.log_loss(run, "val_loss", self.setup.report_validation(losses, sizes))

    # --- its parts

    def own_plugins(self) -> dict[str, object]:
        """The remedies of the script."""
        setup = self.setup
        tables: dict[str, dict[str, object]] = {}
        if setup.resets_state:
            # The loader yields arrays, which do not show where sequences begin.
            tables["hidden_state_reset"] = {"when": "epoch" if setup.task.stream else "sequence"}
        if setup.max_norm is not None and setup.loop == "loop":
            tables["gradient_clipping"] = {"max_norm": setup.max_norm}
        tables["loss_averaging"] = {}
        return load_plugins({"plugins": tables | setup.plugins})

    def initial_params(self, generator: np.random.Generator) -> Params:
        """The parameters before the setup changes them."""
        size = self.setup.task.vocab_size
        return scratch_rnn.initial_params(size, self.setup.hidden_size, size, generator)

    @staticmethod
    def by_role(arrays: Params) -> dict[str, Array]:
        """Parameters or gradients by role."""
        return {role: arrays[name] for role, name in ROLES.items()}

    def roles(self) -> dict[str, Array]:
        """The parameters by role."""
        return self.by_role(self.params)

    def observe(self, run: Run, item: ColumnBatch, **observed: Any) -> None:
        """Passes values that only the script has to the run."""
        if self.setup.owns_state:
            observed["entering_state"] = observed["hidden_states"][0]
        run.observe(**observed)

    def closure_loss(self, item: ColumnBatch, state: Array) -> float:
        """Loss of the batch at the current parameters."""
        return self.forward(item, state)[0]

    def initial_state(self, run: Run, item: ColumnBatch) -> Array:
        """Hidden state at the beginning of the batch."""
        if not self.setup.owns_state:
            return run.hidden(item.x.shape[2])  # type: ignore[no-any-return]
        if self._state is None:
            self._state = np.zeros((self.setup.hidden_size, item.x.shape[2]))
        return self._state

    def store_state(self, run: Run, state: Array) -> None:
        """Stores the final state for the next batch."""
        if self.setup.owns_state:
            self._state = state
        elif self.setup.carries_state:
            run.carry(state)

    def forward(self, item: ColumnBatch, state: Array) -> tuple[float, Array, list[Array], Array]:
        """Loss, gradient of the logits, hidden states, and logits."""
        setup = self.setup
        logits, hiddens = scratch_rnn.forward(self.params, item.x, state, setup.cell)
        loss, errors = LOSSES["regression" if setup.task.regression else setup.objective](logits, item.y)
        factor = setup.loss_factor(item.batch)
        return setup.change_loss(loss * factor, self.step), errors * factor, hiddens, logits

    def backward(self, item: ColumnBatch, hiddens: list[Array], errors: Array) -> tuple[Params, Array]:
        """Gradients of the parameters and of the hidden states."""
        setup = self.setup
        errors = errors * setup.gradient_factor(item.batch)
        grads, hidden_gradients = scratch_rnn.backward(
            self.params, item.x, hiddens, errors, setup.cell, setup.backward_matrix
        )
        setup.change_gradients(self.by_role(grads), self.step)
        if setup.accumulates_gradients:
            if self._accumulated is None:
                self._accumulated = {name: np.zeros_like(grad) for name, grad in grads.items()}
            for name, total in self._accumulated.items():
                total += grads[name]
            grads = self._accumulated
        return grads, hidden_gradients

    def apply(self, run: Run, grads: Params) -> None:
        """Clips the gradients and updates the parameters."""
        setup = self.setup
        if setup.loop == "plain_loop" and setup.max_norm is not None:
            grads = self.clip(grads, setup.max_norm)
        grads = {name: grad for name, grad in grads.items() if name not in [ROLES[role] for role in setup.frozen]}
        if setup.update == "in place":
            self.update(self.params, grads, run.learning_rate)
        elif setup.update == "of a copy":
            self.update({name: array.copy() for name, array in self.params.items()}, grads, run.learning_rate)

    def clip(self, grads: Params, max_norm: float) -> Params:
        """The gradients, scaled to a global norm of at most ``max_norm``."""
        norm = float(np.sqrt(sum((grad**2).sum() for grad in grads.values())))
        return {name: grad * min(1.0, max_norm / norm) for name, grad in grads.items()} if norm > 0 else grads

    def true_loss(self, batches: Iterable[SequenceBatch]) -> float:
        """Mean loss on these batches, with correct initial states."""
        losses, state = [], None
        for batch in batches:
            item = column_batch(batch, self.setup)
            if state is None or not self.setup.task.stream:
                state = np.zeros((self.setup.hidden_size, item.x.shape[2]))
            logits, hiddens = scratch_rnn.forward(self.params, item.x, state, self.setup.cell)
            losses.append(LOSSES["regression" if self.setup.task.regression else "nll"](logits, item.y)[0])
            state = hiddens[-1]
        return float(np.mean(losses))

    def log_loss(self, run: Run, name: str, value: float | None) -> None:
        """Logs the loss of an epoch."""
        if value is not None:
            run.log(**{name: value})


class PairLoader:
    """Yields pairs of inputs and targets, and stores the batch in ``script.current``.

    The pairs are one-hot columns (seq_len, vocab_size, batch) in the loop "loop", and tokens (batch, seq_len) in
    "plain_loop".
    """

    def __init__(self, script: CustomLoop, batches: Any, training: bool = False) -> None:
        self.script = script
        self.batches = batches
        self.training = training

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Passes the epoch to the wrapped loader."""
        if hasattr(self.batches, "set_epoch"):
            self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        script = self.script
        setup = script.setup
        for batch in self.batches:
            item = column_batch(batch, setup)
            script.current = item
            if self.training:
                script.step += 1
                setup.change_inputs(item.x, script.step)
            if setup.loop == "loop":
                yield item.x, item.y
            else:
                targets = batch.targets if batch.mask is None else np.where(batch.mask, batch.targets, -1)
                yield batch.inputs.swapaxes(0, 1), targets.swapaxes(0, 1)


def column_batch(batch: SequenceBatch, setup: Setup) -> ColumnBatch:
    """The batch as one-hot columns. The target of a masked position is zero."""
    if setup.task.regression:
        return ColumnBatch(batch.inputs.transpose(0, 2, 1), batch.targets.transpose(0, 2, 1), batch)
    x, y = one_hot(batch.inputs, setup.task.vocab_size), one_hot(batch.targets, setup.task.vocab_size)
    if batch.mask is not None:
        y *= batch.mask[:, None, :]
    return ColumnBatch(x, y, batch)


def one_hot(tokens: Array, vocab_size: int) -> Array:
    """Tokens (seq_len, batch) as one-hot columns (seq_len, vocab_size, batch)."""
    return np.ascontiguousarray(np.eye(vocab_size)[tokens].transpose(0, 2, 1))
