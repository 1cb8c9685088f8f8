"""A recurrent network: input layer, cell, head and loss, with gradients."""

from __future__ import annotations

from typing import Any, Literal

import attrs
import numpy as np

from rnncallbacks.arrays import Array, FlatArrays, FloatArray
from rnncallbacks.errors import ContainerError, DataError, OptionError, RunStateError, ShapeError
from rnncallbacks.rnn import options
from rnncallbacks.rnn.batches import SequenceBatch
from rnncallbacks.rnn.cells import VanillaCell
from rnncallbacks.rnn.checks import BoolArray, IntArray
from rnncallbacks.rnn.initialisation import initialise
from rnncallbacks.rnn.inputs import DenseInput, TokenInput
from rnncallbacks.rnn.losses import MeanSquaredError, SoftmaxNll
from rnncallbacks.rnn.products import multiply_rows, near
from rnncallbacks.rnn.workspace import Workspace


@attrs.frozen
class _Pass:
    """What the backward pass needs of the forward pass before it."""

    inputs: Array
    states: FloatArray
    features: FloatArray
    ends: IntArray | None


@attrs.define(eq=False)
class RecurrentModel:
    hidden_size: int = attrs.field(validator=options.count())
    vocab_size: int | None = attrs.field(default=None, validator=attrs.validators.optional(options.count()), kw_only=True)
    embedding_size: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(options.count()), kw_only=True
    )
    input_size: int | None = attrs.field(default=None, validator=attrs.validators.optional(options.count()), kw_only=True)
    output_size: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(options.count()), kw_only=True
    )
    nonlinearity: Literal["tanh", "relu"] = attrs.field(
        default="tanh", validator=options.one_of("tanh", "relu"), kw_only=True
    )
    output: Literal["step", "last"] = attrs.field(default="step", validator=options.one_of("step", "last"), kw_only=True)
    loss: Literal["nll", "mse"] = attrs.field(default="nll", validator=options.one_of("nll", "mse"), kw_only=True)
    dtype: Literal["float32", "float64"] = attrs.field(
        default="float32", validator=options.one_of("float32", "float64"), kw_only=True
    )
    initialisation: Literal["orthogonal", "uniform"] = attrs.field(
        default="orthogonal", validator=options.one_of("orthogonal", "uniform"), kw_only=True
    )
    seed: int = attrs.field(default=0, validator=options.count(0), kw_only=True)

    parameters: FlatArrays = attrs.field(init=False, repr=False)
    gradients: FlatArrays = attrs.field(init=False, repr=False)
    _input: TokenInput | DenseInput = attrs.field(init=False, repr=False)
    _cell: VanillaCell = attrs.field(init=False, repr=False)
    _loss: SoftmaxNll | MeanSquaredError = attrs.field(init=False, repr=False)
    _work: Workspace = attrs.field(init=False, repr=False)
    _predict_work: Workspace = attrs.field(init=False, repr=False)
    _pass: _Pass | None = attrs.field(init=False, repr=False, default=None)

    def __attrs_post_init__(self) -> None:
        if (self.vocab_size is None) == (self.input_size is None):
            raise OptionError("RecurrentModel: expected either vocab_size (tokens) or input_size (features), and not both")
        if self.vocab_size is not None:
            self._input: TokenInput | DenseInput = TokenInput(self.vocab_size, self.embedding_size)
        elif self.embedding_size is not None:
            raise OptionError("RecurrentModel: embedding_size belongs to vocab_size, and features have none")
        else:
            assert self.input_size is not None
            self._input = DenseInput(self.input_size)
        if self.output_size is None:
            if self.vocab_size is None:
                raise OptionError("RecurrentModel: input_size needs output_size, the number of outputs of the head")
            self.output_size = self.vocab_size
        self._cell = VanillaCell(self.hidden_size, self.nonlinearity)
        self._loss = SoftmaxNll() if self.loss == "nll" else MeanSquaredError()
        shapes = self._input.shapes(self.hidden_size) | {
            "rnn.weight_hh_l0": (self.hidden_size, self.hidden_size),
            "rnn.bias_ih_l0": (self.hidden_size,),
            "rnn.bias_hh_l0": (self.hidden_size,),
            "head.weight": (self.output_size, self.hidden_size),
            "head.bias": (self.output_size,),
        }
        self.parameters = FlatArrays(shapes, dtype=self.dtype)
        self.gradients = self.parameters.zeros_like()
        initialise(self.parameters, self.initialisation, self.hidden_size, np.random.default_rng(self.seed))
        self._work = Workspace(self.dtype)
        self._predict_work = Workspace(self.dtype)

    def zero_state(self, batch_size: int) -> FloatArray:
        """The state that sequences begin with: zeros of shape (batch_size, hidden_size)."""
        return self._cell.zero_state(batch_size, self.parameters.flat.dtype)

    def forward(self, batch: SequenceBatch, state: FloatArray) -> tuple[float, FloatArray]:
        inputs = self._input.check(batch.inputs)
        seq_len, batch_size = inputs.shape[:2]
        leading = (seq_len, batch_size) if self.output == "step" else (batch_size,)
        targets: Any = self._loss.check(batch.targets, leading, self._outputs)
        with np.errstate(all="ignore"):
            states = self._recur(self._work, inputs, state)
            ends = None if batch.mask is None else _last_counted(batch.mask)
            final = _states_at(states, ends)
            mask: BoolArray | None = None
            if self.output == "step":
                features = states[1:].reshape(-1, self.hidden_size)
                mask = None if batch.mask is None else batch.mask.reshape(-1)
            else:
                if ends is not None and not ends.all():
                    raise DataError(f"mask: row {int(np.argmin(ends))} has no step that counts, so it has no last step")
                features = final.copy()
            outputs = self._work.array("outputs", (features.shape[0], self._outputs))
            self._head(self._work, features, outputs)
            loss = self._loss.forward(self._work, outputs, targets, mask)
        self._pass = _Pass(inputs, states, features, ends)
        return loss, final

    def backward(self) -> FlatArrays:
        done, self._pass = self._pass, None
        if done is None:
            raise RunStateError("backward: there is no forward pass to go back through", hint="call forward first")
        work, gradients = self._work, self.gradients
        seq_len, batch_size = done.inputs.shape[:2]
        with np.errstate(all="ignore"):
            errors = self._loss.backward()
            np.dot(errors.T, done.features, gradients["head.weight"])
            np.dot(work.array("ones", (errors.shape[0],), fill=1.0), errors, gradients["head.bias"])
            hidden = work.array("gradients", (seq_len, batch_size, self.hidden_size))
            flat = hidden.reshape(-1, self.hidden_size)
            if self.output == "step":
                multiply_rows(errors, near(work, "head.weight", self.parameters["head.weight"], len(errors)), flat)
            else:
                hidden.fill(0.0)
                steps = seq_len - 1 if done.ends is None else done.ends - 1
                hidden[steps, np.arange(batch_size)] = np.dot(errors, self.parameters["head.weight"])
            self._cell.backward(work, done.states, hidden, self.parameters["rnn.weight_hh_l0"])
            previous = done.states[:-1].reshape(-1, self.hidden_size)
            np.dot(flat.T, previous, gradients["rnn.weight_hh_l0"])
            np.dot(work.array("ones", (flat.shape[0],), fill=1.0), flat, gradients["rnn.bias_ih_l0"])
            np.copyto(gradients["rnn.bias_hh_l0"], gradients["rnn.bias_ih_l0"])
            self._input.backward(work, self.parameters, gradients, done.inputs, flat)
        return gradients

    def predict(self, inputs: Array, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        checked = self._input.check(np.asarray(inputs))
        with np.errstate(all="ignore"):
            states = self._recur(self._predict_work, checked, state)
            features = states[-1] if self.output == "last" else states[1:].reshape(-1, self.hidden_size)
            outputs = np.empty((features.shape[0], self._outputs), dtype=self.dtype)
            self._head(self._predict_work, features, outputs)
        leading = checked.shape[1:2] if self.output == "last" else checked.shape[:2]
        return outputs.reshape(*leading, self._outputs), states[-1].copy()

    @property
    def _outputs(self) -> int:
        assert self.output_size is not None
        return self.output_size

    def _recur(self, work: Workspace, inputs: Array, state: FloatArray) -> FloatArray:
        seq_len, batch_size = inputs.shape[:2]
        states = self._cell.buffer(work, seq_len, batch_size)
        _check_state(state, states[0])
        np.copyto(states[0], state, casting="same_kind")
        self._input.forward(work, self.parameters, inputs, states[1:])
        self._cell.forward(work, states, self.parameters["rnn.weight_hh_l0"])
        return states

    def _head(self, work: Workspace, features: FloatArray, out: FloatArray) -> None:
        matrix = near(work, "head.weight.T", self.parameters["head.weight"].T, len(features))
        multiply_rows(features, matrix, out)
        np.add(out, self.parameters["head.bias"], out)


def _check_state(state: FloatArray, expected: FloatArray) -> None:
    if not isinstance(state, np.ndarray) or not np.issubdtype(state.dtype, np.floating):
        raise ContainerError(f"state: expected a float array, got {getattr(state, 'dtype', type(state).__name__)}")
    if state.shape != expected.shape:
        raise ShapeError(
            f"state of shape {state.shape} does not belong to this batch: expected (batch, hidden_size) = {expected.shape}",
            hint="begin with model.zero_state(batch.size); a last batch may be smaller than the others",
        )


def _last_counted(mask: BoolArray) -> IntArray:
    """For each row, the number of the last step that counts, from 1; 0 where none does."""
    steps: IntArray = np.where(mask.any(axis=0), mask.shape[0] - mask[::-1].argmax(axis=0), 0)
    return steps


def _states_at(states: FloatArray, ends: IntArray | None) -> FloatArray:
    return states[-1].copy() if ends is None else states[ends, np.arange(states.shape[1])]
