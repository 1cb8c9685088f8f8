"""Variants of the custom loop: some break the protocol, others are correct with symptoms of a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.run import Run
from rnncallbacks.testing import scratch_rnn
from rnncallbacks.testing.custom_loop import ColumnBatch, CustomLoop, PairLoader, column_batch
from rnncallbacks.testing.scratch_rnn import Params

Closure = Callable[[], float] | None


class UpdateBeforeBackward(CustomLoop):
    """Updates before it passes loss and gradients to ``run.backward``."""

    def report_and_update(self, run: Run, loss: float, grads: Params, closure: Closure) -> None:
        self.apply(run, grads)
        run.backward(loss, grads, closure=closure)


class RecordWithoutBackward(CustomLoop):
    """Trains, but calls ``run.record`` in place of ``run.backward``."""

    def report_and_update(self, run: Run, loss: float, grads: Params, closure: Closure) -> None:
        run.record(loss)
        self.apply(run, grads)


class UpdateInValidation(CustomLoop):
    """Also updates on validation batches."""

    def validate(self, run: Run) -> None:
        for _ in run.batches(PairLoader(self, self.setup.validation), phase="val"):
            item = self.current
            loss, errors, hiddens, _ = self.forward(item, self.initial_state(run, item))
            grads, _ = self.backward(item, hiddens, errors)
            run.record(loss)
            self.apply(run, grads)


class BroadcastState(CustomLoop):
    """Keeps one column of the state, which NumPy broadcasts over the batch."""

    def initial_state(self, run: Run, item: ColumnBatch) -> Array:
        return super().initial_state(run, item)[:, :1]


class BroadcastZeros(CustomLoop):
    """Requests the state of one sequence for every batch, which NumPy broadcasts over the batch."""

    def initial_state(self, run: Run, item: ColumnBatch) -> Array:
        return run.hidden(1)  # type: ignore[no-any-return]

    def store_state(self, run: Run, state: Array) -> None:
        pass


class NewArrays(CustomLoop):
    """The update makes new arrays, which the script assigns to ``run.params``."""

    assigns_params = True

    def apply(self, run: Run, grads: Params) -> None:
        self.params = {name: array.copy() for name, array in self.params.items()}
        super().apply(run, grads)
        if self.assigns_params:
            run.params = self.params


class UnannouncedArrays(NewArrays):
    """The update makes new arrays, and the run keeps the initial ones."""

    assigns_params = False


class NestedValidation(CustomLoop):
    """Validates inside every tenth training batch."""

    def train_batch(self, run: Run, item: ColumnBatch) -> float:
        loss = super().train_batch(run, item)
        if self.step % 10 == 0:
            super().validate(run)
        return loss

    def validate(self, run: Run) -> None:
        pass


class InputDropout(CustomLoop):
    """Drops each input with probability 0.1, drawn in each forward pass."""

    def forward(self, item: ColumnBatch, state: Array) -> tuple[float, Array, list[Array], Array]:
        keep = self.generator.random((item.x.shape[0], 1, item.x.shape[2])) > 0.1
        self._noisy = attrs.evolve(item, x=item.x * keep / 0.9)
        return super().forward(self._noisy, state)

    def backward(self, item: ColumnBatch, hiddens: list[Array], errors: Array) -> tuple[Params, Array]:
        return super().backward(self._noisy, hiddens, errors)


class ClipByValue(CustomLoop):
    """Clips each entry of the gradient to [-5, 5], as min-char-rnn does."""

    def apply(self, run: Run, grads: Params) -> None:
        super().apply(run, {name: np.clip(grad, -5.0, 5.0) for name, grad in grads.items()})


class LearnedInitialState(CustomLoop):
    """The initial state of every sequence is a parameter."""

    def initial_params(self, generator: np.random.Generator) -> Params:
        return super().initial_params(generator) | {"h0": generator.normal(0.0, 0.3, (self.setup.hidden_size, 1))}

    def initial_state(self, run: Run, item: ColumnBatch) -> Array:
        return np.tile(self.params["h0"], item.x.shape[2])

    def store_state(self, run: Run, state: Array) -> None:
        pass

    def observe(self, run: Run, item: ColumnBatch, **observed: Any) -> None:
        super().observe(run, item, entering_state=observed["hidden_states"][0], **observed)

    def closure_loss(self, item: ColumnBatch, state: Array) -> float:
        return self.forward(item, np.tile(self.params["h0"], item.x.shape[2]))[0]

    def backward(self, item: ColumnBatch, hiddens: list[Array], errors: Array) -> tuple[Params, Array]:
        grads, hidden_gradients = super().backward(item, hiddens, errors)
        initial = self._initial_state_gradient(hidden_gradients[0], hiddens[1])
        return grads | {"h0": initial.sum(axis=1, keepdims=True)}, hidden_gradients

    def true_loss(self, batches: Any) -> float:
        losses = []
        for batch in batches:
            item = column_batch(batch, self.setup)
            losses.append(self.closure_loss(item, np.empty(0)))
        return float(np.mean(losses))

    def _initial_state_gradient(self, gradient: Array, state: Array) -> Array:
        slope = 1.0 - state * state if self.setup.cell == "tanh" else state > 0.0
        return np.asarray(self.params["Whh"].T @ (gradient * slope))


class EncoderDecoder(LearnedInitialState):
    """An encoder reads the sequence, and a decoder that starts from its last state outputs the sequence again."""

    def initial_params(self, generator: np.random.Generator) -> Params:
        decoder = CustomLoop.initial_params(self, generator)
        encoder = CustomLoop.initial_params(self, generator)
        return decoder | {f"encoder_{name}": encoder[name] for name in ("Wxh", "Whh", "bh")}

    def initial_state(self, run: Run, item: ColumnBatch) -> Array:
        run.hidden(item.x.shape[2])  # the encoder starts from zeros
        self._encoder_states = self._encode(item)
        return self._encoder_states[-1]

    def closure_loss(self, item: ColumnBatch, state: Array) -> float:
        return self.forward(item, self._encode(item)[-1])[0]

    def forward(self, item: ColumnBatch, state: Array) -> tuple[float, Array, list[Array], Array]:
        return super().forward(self._copy_task(item), state)

    def observe(self, run: Run, item: ColumnBatch, **observed: Any) -> None:
        copied = self._copy_task(item)
        super().observe(run, item, inputs=copied.x, targets=copied.y, **observed)

    def backward(self, item: ColumnBatch, hiddens: list[Array], errors: Array) -> tuple[Params, Array]:
        grads, hidden_gradients = CustomLoop.backward(self, self._copy_task(item), hiddens, errors)
        initial = self._initial_state_gradient(hidden_gradients[0], hiddens[1])
        # In the encoder, only the last state has a gradient from outside.
        outside = np.zeros_like(hidden_gradients)
        outside[-1] = initial
        encoder = self._encoder() | {"Why": np.eye(self.setup.hidden_size)}
        encoder_grads, _ = scratch_rnn.backward(encoder, item.x, self._encoder_states, outside, self.setup.cell)
        return grads | {f"encoder_{name}": encoder_grads[name] for name in ("Wxh", "Whh", "bh")}, hidden_gradients

    def _encoder(self) -> Params:
        return {name: self.params[f"encoder_{name}"] for name in ("Wxh", "Whh", "bh")}

    def _encode(self, item: ColumnBatch) -> list[Array]:
        zeros = np.zeros((self.setup.hidden_size, item.x.shape[2]))
        outputs = {"Why": np.zeros((1, self.setup.hidden_size)), "by": np.zeros((1, 1))}
        return scratch_rnn.forward(self._encoder() | outputs, item.x, zeros, self.setup.cell)[1]

    def _copy_task(self, item: ColumnBatch) -> ColumnBatch:
        shifted = np.zeros_like(item.x)
        shifted[1:] = item.x[:-1]
        return attrs.evolve(item, x=shifted, y=item.x * item.y.sum(axis=1, keepdims=True))
