"""Custom loops that are built in another way than most: some break the protocol, others only look as if."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.core.run import Run
from rnncallbacks.testing import columns
from rnncallbacks.testing.loops import Item, Pairs, Script, as_item

Closure = Callable[[], float] | None


class UpdatesFirst(Script):
    """Updates before it gives loss and gradients to the run."""

    def tell_and_update(self, run: Run, loss: float, grads: columns.Params, closure: Closure) -> None:
        self.apply(run, grads)
        run.backward(loss, grads, closure=closure)


class RecordsOnly(Script):
    """Trains, and gives the run the loss alone."""

    def tell_and_update(self, run: Run, loss: float, grads: columns.Params, closure: Closure) -> None:
        run.record(loss)
        self.apply(run, grads)


class TrainsInValidation(Script):
    """Updates on the validation batches too."""

    def validate(self, run: Run) -> None:
        for _ in run.batches(Pairs(self, self.setup.validation), phase="val"):
            item = self.current
            loss, errors, hiddens, _ = self.forward(item, self.enter(run, item))
            grads, _ = self.backward(item, hiddens, errors)
            run.record(loss)
            self.apply(run, grads)


class WrongWidth(Script):
    """Keeps one column of the state, as a script does that had one sentence per batch, and lets NumPy broadcast it."""

    def enter(self, run: Run, item: Item) -> Array:
        state = super().enter(run, item)
        return state[:, :1]


class AsksForWrongWidth(Script):
    """Asks for the state of one sequence, whatever the batch."""

    def enter(self, run: Run, item: Item) -> Array:
        return run.hidden(1)  # type: ignore[no-any-return]

    def leave(self, run: Run, state: Array) -> None:
        pass


class ReturnsNew(Script):
    """Its update makes new arrays, and it tells the run."""

    tells = True

    def apply(self, run: Run, grads: columns.Params) -> None:
        self.params = {name: array.copy() for name, array in self.params.items()}
        super().apply(run, grads)
        if self.tells:
            run.params = self.params


class StaleParams(ReturnsNew):
    """Its update makes new arrays, and the run is left with the first ones."""

    tells = False


class NestedValidation(Script):
    """Validates within the training batches, every tenth time."""

    def train_batch(self, run: Run, item: Item) -> float:
        loss = super().train_batch(run, item)
        if self.step % 10 == 0:
            super().validate(run)
        return loss

    def validate(self, run: Run) -> None:
        pass


class NoisyInputs(Script):
    """Drops a tenth of the inputs at random, anew in each forward pass, as dropout does."""

    def forward(self, item: Item, state: Array) -> tuple[float, Array, list[Array], Array]:
        keep = self.generator.random((item.x.shape[0], 1, item.x.shape[2])) > 0.1
        self._noisy = attrs.evolve(item, x=item.x * keep / 0.9)
        return super().forward(self._noisy, state)

    def backward(self, item: Item, hiddens: list[Array], errors: Array) -> tuple[columns.Params, Array]:
        return super().backward(self._noisy, hiddens, errors)


class ClipsByValue(Script):
    """Clips each entry of the gradient to five, as min-char-rnn does."""

    def apply(self, run: Run, grads: columns.Params) -> None:
        super().apply(run, {name: np.clip(grad, -5.0, 5.0) for name, grad in grads.items()})


class LearnedState(Script):
    """Its sequences begin with a state that is a parameter."""

    def initial_params(self, generator: np.random.Generator) -> columns.Params:
        return super().initial_params(generator) | {"h0": generator.normal(0.0, 0.3, (self.setup.hidden_size, 1))}

    def enter(self, run: Run, item: Item) -> Array:
        return np.tile(self.params["h0"], item.x.shape[2])

    def leave(self, run: Run, state: Array) -> None:
        pass

    def observe(self, run: Run, item: Item, **evidence: Any) -> None:
        super().observe(run, item, entering_state=evidence["hidden_states"][0], **evidence)

    def closed_loss(self, item: Item, state: Array) -> float:
        return self.forward(item, np.tile(self.params["h0"], item.x.shape[2]))[0]

    def backward(self, item: Item, hiddens: list[Array], errors: Array) -> tuple[columns.Params, Array]:
        grads, hidden_gradients = super().backward(item, hiddens, errors)
        entering = self._to_entering(hidden_gradients[0], hiddens[1])
        return grads | {"h0": entering.sum(axis=1, keepdims=True)}, hidden_gradients

    def true_loss(self, batches: Any) -> float:
        losses = []
        for batch in batches:
            item = as_item(batch, self.setup)
            losses.append(self.closed_loss(item, np.empty(0)))
        return float(np.mean(losses))

    def _to_entering(self, gradient: Array, state: Array) -> Array:
        slope = 1.0 - state * state if self.setup.cell == "tanh" else state > 0.0
        return np.asarray(self.params["Whh"].T @ (gradient * slope))


class EncoderDecoder(LearnedState):
    """One network reads a sequence, and its last state enters another, which says the sequence again."""

    def initial_params(self, generator: np.random.Generator) -> columns.Params:
        decoder = Script.initial_params(self, generator)
        encoder = Script.initial_params(self, generator)
        return decoder | {f"encoder_{name}": encoder[name] for name in ("Wxh", "Whh", "bh")}

    def enter(self, run: Run, item: Item) -> Array:
        run.hidden(item.x.shape[2])  # the encoder begins with zeros
        self._read = self._encode(item)
        return self._read[-1]

    def closed_loss(self, item: Item, state: Array) -> float:
        return self.forward(item, self._encode(item)[-1])[0]

    def forward(self, item: Item, state: Array) -> tuple[float, Array, list[Array], Array]:
        return super().forward(self._said_again(item), state)

    def observe(self, run: Run, item: Item, **evidence: Any) -> None:
        said = self._said_again(item)
        super().observe(run, item, inputs=said.x, targets=said.y, **evidence)

    def backward(self, item: Item, hiddens: list[Array], errors: Array) -> tuple[columns.Params, Array]:
        grads, hidden_gradients = Script.backward(self, self._said_again(item), hiddens, errors)
        entering = self._to_entering(hidden_gradients[0], hiddens[1])
        # Back through the encoder: only its last state has a gradient from outside.
        outside = np.zeros_like(hidden_gradients)
        outside[-1] = entering
        encoder = self._encoder() | {"Why": np.eye(self.setup.hidden_size)}
        read, _ = columns.backward(encoder, item.x, self._read, outside, self.setup.cell)
        return grads | {f"encoder_{name}": read[name] for name in ("Wxh", "Whh", "bh")}, hidden_gradients

    def _encoder(self) -> columns.Params:
        return {name: self.params[f"encoder_{name}"] for name in ("Wxh", "Whh", "bh")}

    def _encode(self, item: Item) -> list[Array]:
        zeros = np.zeros((self.setup.hidden_size, item.x.shape[2]))
        outputs = {"Why": np.zeros((1, self.setup.hidden_size)), "by": np.zeros((1, 1))}
        return columns.forward(self._encoder() | outputs, item.x, zeros, self.setup.cell)[1]

    def _said_again(self, item: Item) -> Item:
        shifted = np.zeros_like(item.x)
        shifted[1:] = item.x[:-1]
        return attrs.evolve(item, x=shifted, y=item.x * item.y.sum(axis=1, keepdims=True))
