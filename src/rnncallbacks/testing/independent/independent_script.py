"""A training script around one ``Run``, in one of three coding styles, with knobs that faults and traps turn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, cast

import numpy as np

from rnncallbacks.arrays.containers import Array, named_arrays
from rnncallbacks.core.run import Run
from rnncallbacks.testing.independent.independent_losses import CORRECT, LossWithDerivative
from rnncallbacks.testing.independent.independent_tasks import INDEPENDENT_TASKS, Pair
from rnncallbacks.testing.independent.independent_updates import BASE_RATES, IndependentOptimizer, OptimizerName
from rnncallbacks.testing.independent.knobs import Knobs
from rnncallbacks.testing.independent.list_style import ListNetwork
from rnncallbacks.testing.independent.row_style import RowNetwork
from rnncallbacks.testing.independent.single_style import SingleNetwork
from rnncallbacks.testing.independent.styled_network import CellName, ForwardPass, StyledNetwork

Style: TypeAlias = Literal["lists", "rows", "single"]
EvidenceLevel: TypeAlias = Literal["bare", "states", "closure"]
"""The values that a script passes to the run: "bare" is loss, gradients and parameters; "states" adds entering and
hidden states and logits; "closure" adds a closure."""


class NetworkMaker(Protocol):
    """Makes a network of one style."""

    def __call__(
        self, cell: CellName, inputs: int, hidden: int, outputs: int, generator: np.random.Generator
    ) -> StyledNetwork: ...


NETWORKS: Mapping[Style, NetworkMaker] = MappingProxyType(
    {
        "lists": cast(NetworkMaker, ListNetwork),
        "rows": cast(NetworkMaker, RowNetwork),
        "single": cast(NetworkMaker, SingleNetwork),
    }
)
HIDDEN_SIZE = 24
TRAINING_EPOCHS = 16
"""Units, and epochs of a training run. Chosen by eye, so that a run takes seconds."""
BATCHES: Mapping[Style, tuple[int, int]] = MappingProxyType({"lists": (25, 16), "rows": (25, 16), "single": (60, 1)})
"""Training batches of an epoch, and sequences of a batch."""
VALIDATION_SEQUENCES, HELD_OUT_SEQUENCES = 32, 160
"""Sequences of each validation, and those on which the trained network is measured."""
SINGLE_RATE = 0.4
"""Factor of the learning rate where each update sees one sequence. Chosen by eye."""
TASK_RATES: Mapping[tuple[str, OptimizerName], float] = MappingProxyType(
    {("adding", "sgd"): 0.1, ("adding", "momentum"): 0.1}
)
"""Factor of the learning rate by task and optimizer: with the base rate, a vanilla network diverges on these."""


class IndependentScript:
    """One script; ``train(plugins)`` runs it.

    Parameters
    ----------
    style, task, cell, optimizer, seed:
        The trained network and data, and the style.
    level:
        The level of evidence.
    knobs:
        The settings that differ from a healthy training run.

    Example
    -------
    >>> script = IndependentScript("rows", "depth", "tanh", "adam", seed=0, level="bare")
    >>> run = script.train({})
    >>> script.clean_loss() < 0.1 * script.task.uninformed
    True
    """

    def __init__(
        self,
        style: Style,
        task: str,
        cell: CellName,
        optimizer: OptimizerName,
        seed: int,
        level: EvidenceLevel,
        knobs: Knobs | None = None,
    ) -> None:
        self.style, self.task, self.level, self.knobs = style, INDEPENDENT_TASKS[task], level, knobs or Knobs()
        self.net = NETWORKS[style](
            cell, self.task.inputs, HIDDEN_SIZE, self.task.outputs, np.random.default_rng([seed, 11])
        )
        batches, self.rows = BATCHES[style]
        self.training = self.task.batches(seed, batches, self.rows)
        self.validation = self.task.batches(seed + 1000, max(2, VALIDATION_SEQUENCES // self.rows), self.rows)
        self.held_out = self.task.batches(seed + 2000, HELD_OUT_SEQUENCES // self.rows, self.rows)
        if self.knobs.data is not None:
            generator = np.random.default_rng([seed, 13])
            self.training = self.knobs.data(self.training, generator, self.task)
            self.validation = self.knobs.data(self.validation, generator, self.task)
        self._change_weights()
        factor = TASK_RATES.get((task, optimizer), 1.0) * (SINGLE_RATE if style == "single" else 1.0)
        self.rate = BASE_RATES[optimizer] * factor * self.knobs.rate
        self.optimizer = IndependentOptimizer(optimizer)
        self.generator = np.random.default_rng([seed, 12])
        self.objective: LossWithDerivative = self.knobs.objective or CORRECT[self.task.kind]
        self._accumulated: dict[str, Array] = {}

    def _change_weights(self) -> None:
        blocks = self.net.blocks(named_arrays(self.net.params))
        if self.knobs.weights is not None:
            self.knobs.weights(blocks)
        if self.knobs.prior_bias:
            counts = np.bincount(np.concatenate([y.ravel() for _, y in self.training]), minlength=self.task.outputs)
            (bias,) = blocks["output bias"]
            bias[...] = np.log((counts + 1.0) / (counts + 1.0).sum()).reshape(bias.shape)

    # Forward pass and loss -------------------------------------------------------------------------------------------

    def forward(self, x: Array, state: Any, scale: float) -> ForwardPass:
        features = x if x.ndim == 3 else np.eye(self.task.inputs)[x]
        return self.net.forward_pass(features * scale, state)

    def loss(self, outputs: Array, y: Array, objective: LossWithDerivative) -> tuple[float, Array]:
        """The mean loss, and its derivative with respect to all outputs."""
        last = self.task.where == "last step"
        seen, wanted = (outputs[-1:], y[None]) if last else (outputs, y)
        if self.task.kind == "classes":
            wanted = np.eye(self.task.outputs)[wanted]
        value, errors = objective(seen, wanted)
        all_errors = np.zeros_like(outputs)
        all_errors[-len(errors) :] = errors
        return value, all_errors

    def clean_loss(self) -> float:
        """The mean of the task's own loss on unchanged held-out batches, with correct states."""
        losses, state = [], None
        with np.errstate(all="ignore"):
            for x, y in self.held_out:
                if state is None or not self.task.stream:
                    state = self.net.zero_state(self.rows)
                forward = self.forward(x, state, self.knobs.input_scale)
                losses.append(self.loss(forward.outputs, y, CORRECT[self.task.kind])[0])
                state = forward.states[-1]
        return float(np.mean(losses))

    # The loop --------------------------------------------------------------------------------------------------------

    def train(self, plugins: Mapping[str, object], *, max_epochs: int = TRAINING_EPOCHS) -> Run:
        """Train under these plugins, for all epochs or fewer, and return the run."""
        knobs = self.knobs
        with np.errstate(all="ignore"), Run(self.net.params, plugins=plugins, learning_rate=self.rate) as run:
            state: Any = None
            for _ in run.epochs(min(TRAINING_EPOCHS, max_epochs)):
                order = list(range(len(self.training)))
                if not self.task.stream and knobs.shuffled:
                    self.generator.shuffle(order)
                losses: list[float] = []
                numbers = order if knobs.yields_numbers else None
                loader = StyledLoader(self, [self.training[number] for number in order], numbers)
                for _ in run.batches(loader):
                    carries = knobs.leaks or (self.task.stream and loader.position > 0 and not knobs.resets)
                    if state is None or not carries:
                        state = self.net.zero_state(self.rows)
                    loss, state = self.train_batch(run, loader.pair, state)
                    losses.append(loss)
                run.log(train_loss=knobs.report(losses, self.rows))
                run.log(val_loss=knobs.report(self.validate(run), self.rows))
        return run

    def validate(self, run: Run) -> list[float]:
        losses: list[float] = []
        state: Any = None
        loader = StyledLoader(self, self.validation)
        for _ in run.batches(loader, phase="val"):
            x, y = loader.pair
            carries = state is not None and (self.knobs.leaks or (self.task.stream and not self.knobs.resets))
            state = state if carries else self.net.zero_state(self.rows)
            forward = self.forward(x, state, self.knobs.input_scale)
            loss = self.loss(forward.outputs, y, self.objective)[0] * self.knobs.loss_factor(len(x), self.rows)
            if self.level != "bare":
                run.observe(entering_state=state, hidden_states=forward.states)
            run.record(loss)
            losses.append(loss)
            if self.knobs.trains_in_validation:
                self.apply(run, named_arrays(self.loss_and_gradients(x, y, state)[2]))
            state = forward.states[-1]
        return losses

    def train_batch(self, run: Run, pair: Pair, state: Any) -> tuple[float, Any]:
        """Train on one batch; return its loss and its final state."""
        x, y = pair
        if self.knobs.scheduled_sampling:
            x = self._with_predictions(x, state, self._share_done(run))

        loss, forward, grads = self.loss_and_gradients(x, y, state)
        arrays = named_arrays(grads)
        self._change_gradients(arrays, run.step)
        if self.level != "bare":
            logits = self.net.shown_outputs(forward.outputs)
            run.observe(entering_state=state, hidden_states=forward.states, logits=logits)

        def closure() -> float:
            if not self.knobs.closure_adds:
                return self.batch_loss(x, y, state)[0]
            value, _, more = self.loss_and_gradients(x, y, state)
            for name, grad in named_arrays(more).items():
                arrays[name] += grad
            return value

        grads = run.backward(loss, grads, closure=closure if self.level == "closure" else None)
        if not run.skipped:
            self.apply(run, named_arrays(grads))
        return loss, forward.states[-1]

    def loss_and_gradients(self, x: Array, y: Array, state: Any) -> tuple[float, ForwardPass, Any]:
        """The loss of a batch as the script computes it, its forward pass, and its gradients."""
        knobs = self.knobs
        loss, forward, errors = self.batch_loss(x, y, state)
        errors = errors * knobs.gradient_factor(len(x), self.rows)
        grads = self.net.backward_pass(forward, errors, knobs.backpropagation)
        if knobs.l2:
            params = named_arrays(self.net.params)
            for name, grad in named_arrays(grads).items():
                grad += knobs.l2 * params[name]
        return loss, forward, grads

    def batch_loss(self, x: Array, y: Array, state: Any) -> tuple[float, ForwardPass, Array]:
        """The loss of a batch as the script computes it, its forward pass, and the derivative of the outputs."""
        forward = self.forward(x, state, self.knobs.input_scale)
        loss, errors = self.loss(forward.outputs, y, self.objective)
        factor = self.knobs.loss_factor(len(x), self.rows)
        loss *= factor
        if self.knobs.l2:
            arrays = named_arrays(self.net.params).values()
            loss += 0.5 * self.knobs.l2 * sum(float(np.sum(array**2)) for array in arrays)
        return loss, forward, errors * factor

    def _change_gradients(self, grads: Mapping[str, Array], step: int) -> None:
        """Change gradients between the backward pass and ``run.backward``."""
        knobs = self.knobs
        if knobs.gradients is not None:
            knobs.gradients(grads, self.net)
        begins = not knobs.never_zeroed and (step - 1) % knobs.micro_batches == 0
        if knobs.never_zeroed or knobs.growing_gradients:
            self._accumulate(grads, begins)
            for name, grad in grads.items():
                grad[...] = self._accumulated[name]
        if step == knobs.poisoned_step:
            grads[self.net.representatives["recurrent"]][...] = np.nan

    def _accumulate(self, grads: Mapping[str, Array], begins: bool) -> None:
        if begins:
            self._accumulated = {}
        for name, grad in grads.items():
            self._accumulated[name] = self._accumulated.get(name, 0.0) + grad

    def _with_predictions(self, x: Array, state: Any, share: float) -> Array:
        """Inputs, a share of which (at most half) is replaced by predictions of the step before."""
        predicted = self.forward(x, state, self.knobs.input_scale).outputs.argmax(axis=-1)
        chosen = self.generator.random(x[1:].shape) < 0.5 * share
        return np.concatenate([x[:1], np.where(chosen, predicted[:-1], x[1:])])

    def _share_done(self, run: Run) -> float:
        return (run.step - 1) / (TRAINING_EPOCHS * len(self.training))

    # Update ----------------------------------------------------------------------------------------------------------

    def apply(self, run: Run, grads: Mapping[str, Array]) -> None:
        """Clip and update, if an update is due."""
        knobs = self.knobs
        if knobs.micro_batches > 1:
            if not knobs.growing_gradients:
                self._accumulate(grads, begins=(run.step - 1) % knobs.micro_batches == 0)
            if run.step % knobs.micro_batches:
                return
            grads = {name: grad / knobs.micro_batches for name, grad in self._accumulated.items()}
        if knobs.max_norm is not None:
            norm = math.sqrt(sum(float(np.sum(grad**2)) for grad in grads.values()))
            if norm > knobs.max_norm:
                grads = {name: grad * (knobs.max_norm / norm) for name, grad in grads.items()}
        rate = run.learning_rate * (1.0 if knobs.schedule is None else knobs.schedule(self._share_done(run)))
        sign = -1.0 if knobs.update == "flipped" else 1.0
        old = named_arrays(self.net.params)
        new = {
            name: old[name] - sign * step - rate * knobs.decay * old[name]
            for name, step in self.optimizer.steps(grads, rate).items()
        }
        if knobs.forgotten is not None:
            name = self.net.representatives[knobs.forgotten]
            new[name] = old[name]
        if knobs.frozen is not None:
            for array, before in zip(
                self.net.blocks(new)[knobs.frozen], self.net.blocks(old)[knobs.frozen], strict=True
            ):
                array[...] = before
        if knobs.update in ("applied", "flipped"):
            self.net.update(new)
            run.params = self.net.params


class StyledLoader:
    """Yields batches in the style of the script, or their numbers.

    ``pair`` is the open one, and ``position`` its place in the epoch.
    """

    def __init__(self, script: IndependentScript, pairs: list[Pair], numbers: list[int] | None = None) -> None:
        self.script, self.pairs, self.numbers = script, pairs, numbers
        self.pair, self.position = pairs[0], 0

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Any]:
        for position, pair in enumerate(self.pairs):
            self.position, self.pair = position, pair
            if self.numbers is not None:
                yield self.numbers[position]
                continue
            x, y = pair
            if x.ndim == 3:
                x = x * self.script.knobs.input_scale
            yield self.script.net.shown_batch(x, y, self.script.task.where == "each step")
