"""Trains a setup with Trainer: the library's model and optimizer, with the parts that a fault changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, Literal

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, FlatArrays, FloatArray
from rnncallbacks.config.configuration import load_plugins
from rnncallbacks.core.batch import Batch
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import Run
from rnncallbacks.rnn.cells.cell import Cell
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.layers.losses import MeanSquaredError, SoftmaxNll
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizer import Optimizer
from rnncallbacks.rnn.optimizers import SGD, Adagrad, Adam, RMSProp
from rnncallbacks.testing.scratch_rnn import BackwardMatrix
from rnncallbacks.testing.setups import Setup, mean_over_batches
from rnncallbacks.testing.tasks import MappedLoader
from rnncallbacks.training.trainer import Trainer

PARAMETER_ROLES = {
    "input": "rnn.weight_ih_l0",
    "recurrent": "rnn.weight_hh_l0",
    "hidden_bias": "rnn.bias_ih_l0",
    "output": "head.weight",
    "output_bias": "head.bias",
}
OPTIMIZER_CLASSES: Mapping[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "momentum": lambda: SGD(momentum=0.9),
    "adam": Adam,
    "adagrad": Adagrad,
    "rmsprop": RMSProp,
}

MODEL_CELLS: Mapping[str, Literal["vanilla", "lstm", "gru"]] = {
    "tanh": "vanilla",
    "relu": "vanilla",
    "lstm": "lstm",
    "gru": "gru",
}
"""The model's cell for each cell of a setup; the two vanilla ones differ in their nonlinearity."""


def _replace_backward_matrix(cell: Cell, replace: BackwardMatrix) -> None:
    """Makes a cell's backward pass use ``replace(W)`` for the recurrent matrix W of each gate."""

    def backward_matrix(weight_hh: FloatArray) -> FloatArray:
        # ``replace`` returns a matrix for column vectors, and the cell multiplies row vectors.
        return np.concatenate([replace(gate).T for gate in np.split(weight_hh, cell.gates)])

    cell.backward_matrix = backward_matrix  # type: ignore[method-assign]


class FaultyModel(RecurrentModel):
    """The model of a setup, with the setup's changes to weights, loss and gradients."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(
            setup.hidden_size,
            vocab_size=None if setup.task.regression else setup.task.vocab_size,
            input_size=setup.task.vocab_size if setup.task.regression else None,
            output_size=setup.task.vocab_size,
            cell=MODEL_CELLS[setup.cell],
            nonlinearity="relu" if setup.cell == "relu" else "tanh",
            loss="mse" if setup.task.regression else setup.objective,
            seed=setup.seed,
        )
        self.setup = setup
        self.step = 1
        self._passed = 0
        for direction in self._stack.directions:
            _replace_backward_matrix(direction.cell, setup.backward_matrix)
        self._accumulated: FlatArrays | None = None
        setup.change_weights(self._by_role(self.parameters))

    def forward(self, batch: SequenceBatch, state: Any) -> tuple[float, Any]:
        """The model's forward pass, with the changed loss."""
        self._batch = batch
        self.step = self._passed + 1
        loss, final = super().forward(batch, state)
        return self._changed_loss(loss, batch), final

    def evaluate(self, batch: SequenceBatch, state: Any) -> tuple[float, Any]:
        """The model's evaluation, with the changed loss."""
        loss, final = super().evaluate(batch, state)
        return self._changed_loss(loss, batch), final

    def reevaluate(self, batch: SequenceBatch, state: Any, forward_pass: int | None = None) -> float:
        """The changed loss at the current parameters."""
        return self._changed_loss(super().reevaluate(batch, state, forward_pass), batch)

    def backward(self) -> FlatArrays:
        """The model's backward pass, with the changed gradients."""
        gradients = super().backward()
        gradients.flat *= self._factor(self._batch)
        self.setup.change_gradients(self._by_role(gradients), self.step)
        self._passed = self.step
        if self.setup.accumulates_gradients:
            if self._accumulated is None:
                self._accumulated = gradients.zeros_like()
            self._accumulated.flat += gradients.flat
            return self._accumulated
        return gradients

    def hidden_gradients(self, batch: SequenceBatch, state: Any) -> FloatArray:
        """The model's gradients of the hidden states, times the factor of its gradients."""
        return super().hidden_gradients(batch, state) * self._factor(batch)

    def _factor(self, batch: SequenceBatch) -> float:
        return self.setup.loss_factor(batch) * self.setup.gradient_factor(batch)

    def _changed_loss(self, loss: float, batch: SequenceBatch) -> float:
        return self.setup.change_loss(loss * self.setup.loss_factor(batch), self.step)

    def roles(self) -> dict[str, Array]:
        """The parameters by role."""
        return self._by_role(self.parameters)

    @staticmethod
    def _by_role(arrays: FlatArrays) -> dict[str, Array]:
        return {role: arrays[name] for role, name in PARAMETER_ROLES.items()}

    def true_loss(self, batches: Iterable[SequenceBatch]) -> float:
        """Mean loss on these batches, with correct initial states."""
        losses, state = [], None
        for batch in batches:
            if state is None or not self.setup.task.stream:
                state = self.zero_state(batch.size)
            loss = MeanSquaredError() if self.setup.task.regression else SoftmaxNll()
            value, state, _ = self._forward(Workspace(self.dtype), loss, batch, state, None)
            losses.append(value)
        return float(np.mean(losses))


def faulty_optimizer(setup: Setup) -> Optimizer:
    """The setup's optimizer, restricted to the parameters that the setup updates."""
    optimizer = OPTIMIZER_CLASSES[setup.optimizer]()
    if setup.update == "in place" and not setup.frozen:
        return optimizer
    frozen = [PARAMETER_ROLES[role] for role in setup.frozen]

    class PartialOptimizer(type(optimizer)):  # type: ignore[misc]
        """Updates a copy of the parameters, none of them, or all but the frozen ones."""

        def bind(self, parameters: FlatArrays) -> None:
            self._bound = parameters
            super().bind(deepcopy(parameters) if setup.update == "of a copy" else parameters)

        def step(self, gradients: FlatArrays, learning_rate: float) -> None:
            kept = {name: self._bound[name].copy() for name in frozen}
            if setup.update != "none":
                super().step(gradients, learning_rate)
            for name, array in kept.items():
                self._bound[name][...] = array

    return PartialOptimizer(momentum=0.9) if setup.optimizer == "momentum" else PartialOptimizer()


@attrs.define(eq=False)
class ScriptedReport:
    """Plugin that logs the epoch losses that the setup reports."""

    setup: Setup
    _losses: dict[str, list[float]] = state_field(factory=dict)
    _sizes: dict[str, list[int]] = state_field(factory=dict)

    @hookimpl
    def on_batch_end(self, batch: Batch) -> None:
        assert batch.loss is not None
        assert batch.sequences is not None
        self._losses.setdefault(batch.phase, []).append(batch.loss)
        self._sizes.setdefault(batch.phase, []).append(batch.sequences)

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        for phase, report in (("train", self.setup.report), ("val", self.setup.report_validation)):
            value = report(self._losses[phase], self._sizes[phase])
            if value is not None:
                run.log(**{f"{phase}_loss": value})
        self._losses.clear()
        self._sizes.clear()


def train_with_trainer(setup: Setup, plugins: Mapping[str, object]) -> tuple[Run, FaultyModel]:
    """Trains a setup with Trainer under these plugins, and returns the run and the model."""
    model = FaultyModel(setup)
    tables: dict[str, dict[str, object]] = {}
    if setup.resets_state:
        tables["hidden_state_reset"] = {"when": "sequence" if setup.carries_state else "batch"}
    if setup.max_norm is not None:
        tables["gradient_clipping"] = {"max_norm": setup.max_norm}
    own = load_plugins({"plugins": tables | {"loss_averaging": {}} | setup.plugins})
    if (setup.report, setup.report_validation) != (mean_over_batches, mean_over_batches):
        own["scripted_report"] = ScriptedReport(setup)
    trainer = Trainer(model, faulty_optimizer(setup), plugins=own | dict(plugins), learning_rate=setup.learning_rate)
    train, validation = setup.train, setup.validation
    if setup.objective == "mse":
        train, validation = (
            MappedLoader(loader, lambda batch: one_hot_targets(batch, model)) for loader in (train, validation)
        )
    trainer.fit(train, validation, max_epochs=setup.epochs, progress=False)
    assert trainer.run is not None
    return trainer.run, model


def one_hot_targets(batch: SequenceBatch, model: RecurrentModel) -> SequenceBatch:
    """The batch with one-hot targets, for the squared error."""
    size = model.vocab_size
    assert size is not None
    return attrs.evolve(batch, targets=np.eye(size, dtype=model.dtype)[batch.targets])
