"""A recurrent network: input layer, cell, head and loss, with gradients."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np

from rnncallbacks import options
from rnncallbacks.arrays import Array, FlatArrays, FloatArray
from rnncallbacks.errors import CheckpointError, ContainerError, DataError, OptionError, RunStateError, ShapeError
from rnncallbacks.rnn.batches import SequenceBatch
from rnncallbacks.rnn.cells import VanillaCell
from rnncallbacks.rnn.checks import BoolArray, IntArray
from rnncallbacks.rnn.initialisation import initialise
from rnncallbacks.rnn.inputs import DenseInput, TokenInput
from rnncallbacks.rnn.losses import MeanSquaredError, SoftmaxNll
from rnncallbacks.rnn.products import multiply_rows, near
from rnncallbacks.rnn.weights import load_arrays, read_arrays, save_arrays
from rnncallbacks.rnn.workspace import Workspace

# The key of the options in a saved file's metadata.
_METADATA = "rnncallbacks.RecurrentModel"

LOSSES: Mapping[str, type[SoftmaxNll] | type[MeanSquaredError]] = {"nll": SoftmaxNll, "mse": MeanSquaredError}


@attrs.frozen
class _Pass:
    """What the backward pass needs of the forward pass before it."""

    inputs: Array
    states: FloatArray
    features: FloatArray
    ends: IntArray | None


def _size() -> Any:
    return attrs.field(default=None, validator=attrs.validators.optional(options.count()), kw_only=True)


def _choice(default: str, other: str) -> Any:
    return attrs.field(default=default, validator=options.one_of(default, other), kw_only=True)


@attrs.define(eq=False)
class RecurrentModel:
    r"""A network with one recurrent layer, of tokens or of vectors of features.

    .. math::
       h_t &= \sigma(x_t W_{ih}^T + b_{ih} + h_{t-1} W_{hh}^T + b_{hh}) \\
       z_t &= h_t W_{head}^T + b_{head}

    with :math:`\sigma` tanh or ReLU, and :math:`x_t` the features, the token's embedding, or the token as a one-hot
    vector (which is never made: the token chooses a column of :math:`W_{ih}`).

    Sequences lie side by side, time first. Shorter ones are padded on the right, and the mask of the batch is False
    there. The recurrence runs on through the padding, which changes nothing that comes out: padded positions have no
    part in the loss or its gradient, and the state that is returned is, for each row, the one after its last position
    that counts (for a row without any, the state that it entered with).

    Gradients end at the entering state: backpropagation through time is truncated to the batch.

    Parameters
    ----------
    hidden_size:
        Number of recurrent units.
    vocab_size:
        Number of tokens, for inputs of token numbers 0 to vocab_size - 1.
    embedding_size:
        Length of the tokens' embeddings; None: no embedding.
    input_size:
        Number of features, for inputs of floats. Either this or ``vocab_size``.
    output_size:
        Number of outputs of the head. None: ``vocab_size``.
    nonlinearity:
        ``"tanh"`` or ``"relu"``.
    output:
        ``"step"``: outputs at each step. ``"last"``: outputs of each sequence's last step that counts.
    loss:
        ``"nll"``: negative log-likelihood of the softmax, for targets that are classes or tokens. ``"mse"``: mean
        squared error, for floats.
    dtype:
        ``"float32"`` or ``"float64"``, of everything.
    initialisation:
        ``"orthogonal"`` or ``"uniform"``, see :func:`rnncallbacks.rnn.initialisation.initialise`.
    seed:
        Of the initialisation, 0 or more.

    Attributes
    ----------
    hidden_states, hidden_gradients:
        Of the latest ``forward``: the states, (seq_len + 1, batch, hidden_size), the entering one first. Of the latest
        ``backward``: the gradients with respect to what enters the nonlinearity, (seq_len, batch, hidden_size). Work
        arrays, which the next call overwrites.
    parameters:
        Names and layouts are those of PyTorch's modules: ``embedding.weight``, ``rnn.weight_ih_l0``,
        ``rnn.weight_hh_l0``, ``rnn.bias_ih_l0``, ``rnn.bias_hh_l0``, ``head.weight``, ``head.bias``.
    gradients:
        The same names; what the latest ``backward`` wrote.

    Raises
    ------
    OptionError
        An option is out of range, or two do not go together.

    Example
    -------
    >>> model = RecurrentModel(8, vocab_size=4)
    >>> tokens = np.array([[0, 1], [1, 2], [2, 3]])
    >>> batch = SequenceBatch(inputs=tokens[:-1], targets=tokens[1:])
    >>> loss, state = model.forward(batch, model.zero_state(batch.size))
    >>> gradients = model.backward()
    >>> state.shape, gradients["head.weight"].shape
    ((2, 8), (4, 8))

    Source: Elman, "Finding structure in time" (1990); Werbos, "Backpropagation through time" (1990).
    """

    hidden_size: int = attrs.field(validator=options.count())
    vocab_size: int | None = _size()
    embedding_size: int | None = _size()
    input_size: int | None = _size()
    output_size: int | None = _size()
    nonlinearity: Literal["tanh", "relu"] = _choice("tanh", "relu")
    output: Literal["step", "last"] = _choice("step", "last")
    loss: Literal["nll", "mse"] = _choice("nll", "mse")
    dtype: Literal["float32", "float64"] = _choice("float32", "float64")
    initialisation: Literal["orthogonal", "uniform"] = _choice("orthogonal", "uniform")
    seed: int = attrs.field(default=0, validator=options.count(0), kw_only=True)

    parameters: FlatArrays = attrs.field(init=False, repr=False)
    gradients: FlatArrays = attrs.field(init=False, repr=False)
    _input: TokenInput | DenseInput = attrs.field(init=False, repr=False)
    _cell: VanillaCell = attrs.field(init=False, repr=False)
    _loss: SoftmaxNll | MeanSquaredError = attrs.field(init=False, repr=False)
    _work: Workspace = attrs.field(init=False, repr=False)
    _predict_work: Workspace = attrs.field(init=False, repr=False)
    _pass: _Pass | None = attrs.field(init=False, repr=False, default=None)
    hidden_states: FloatArray | None = attrs.field(init=False, repr=False, default=None)
    hidden_gradients: FloatArray | None = attrs.field(init=False, repr=False, default=None)

    def __attrs_post_init__(self) -> None:
        if (self.vocab_size is None) == (self.input_size is None):
            raise OptionError(
                "RecurrentModel: expected either vocab_size or input_size, "
                f"got vocab_size {self.vocab_size} and input_size {self.input_size}",
                hint="vocab_size is for inputs of tokens, input_size for inputs of features",
            )
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
        self._loss = LOSSES[self.loss]()
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
        """The loss of a batch, in nats per position for ``"nll"``, and the state that leaves it, (batch, hidden_size).

        Keeps what ``backward`` needs until the next call. ``state`` is what ``zero_state`` or an earlier call returned.

        Raises
        ------
        DataError
            Tokens are out of range or no integers, features are not finite or no floats, the batch is empty, or a row
            of a model with ``output="last"`` has no position that counts.
        ShapeError
            Inputs, targets or state do not have the shapes that belong to the model and to each other.
        ContainerError
            The state is no array of floats.
        """
        self._pass = None
        loss, final, self._pass = self._forward(self._work, self._loss, batch, state)
        self.hidden_states = self._pass.states
        return loss, final

    def evaluate(self, batch: SequenceBatch, state: FloatArray) -> float:
        """The loss alone; a forward pass that waits for its ``backward`` is left alone. Errors as in ``forward``."""
        return self._forward(self._predict_work, LOSSES[self.loss](), batch, state)[0]

    def _forward(
        self, work: Workspace, loss: SoftmaxNll | MeanSquaredError, batch: SequenceBatch, state: FloatArray
    ) -> tuple[float, FloatArray, _Pass]:
        inputs = self._input.check(batch.inputs)
        seq_len, batch_size = inputs.shape[:2]
        leading = (seq_len, batch_size) if self.output == "step" else (batch_size,)
        targets: Any = loss.check(batch.targets, leading, self._outputs)
        with np.errstate(all="ignore"):
            states = self._recur(work, inputs, state)
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
            outputs = work.array("outputs", (features.shape[0], self._outputs))
            self._head(work, features, outputs)
            value = loss.forward(work, outputs, targets, mask)
        return value, final, _Pass(inputs, states, features, ends)

    def backward(self) -> FlatArrays:
        """The gradients of the latest forward pass's loss: ``self.gradients``, overwritten.

        Raises
        ------
        RunStateError
            There was no forward pass since the last call.
        """
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
        self.hidden_gradients = hidden
        return gradients

    def predict(self, inputs: Array, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The head's outputs and the state after the last step, without a loss; all positions count.

        Outputs have the shape (seq_len, batch, output_size), or (batch, output_size) with ``output="last"``; with
        ``loss="nll"`` they are logits. A forward pass that waits for its ``backward`` is left alone. Errors are those
        of ``forward``.
        """
        checked = self._input.check(np.asarray(inputs))
        with np.errstate(all="ignore"):
            states = self._recur(self._predict_work, checked, state)
            features = states[-1] if self.output == "last" else states[1:].reshape(-1, self.hidden_size)
            outputs = np.empty((features.shape[0], self._outputs), dtype=self.dtype)
            self._head(self._predict_work, features, outputs)
        leading = checked.shape[1:2] if self.output == "last" else checked.shape[:2]
        return outputs.reshape(*leading, self._outputs), states[-1].copy()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and options to a safetensors file.

        The file appears at once and whole: a crash leaves the one that was there before.
        """
        chosen = {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.init}
        save_arrays(Path(path), self.parameters, {_METADATA: json.dumps(chosen)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RecurrentModel:
        """The model that ``save`` wrote.

        Raises
        ------
        CheckpointError
            The file cannot be read, or was not written by ``save``.
        """
        _, metadata = read_arrays(Path(path))
        if _METADATA not in metadata:
            raise CheckpointError(
                f"{path}: the file does not hold the options of a RecurrentModel",
                hint="make the model with its options, then call load_parameters",
            )
        model = cls(**json.loads(metadata[_METADATA]))
        model.load_parameters(path)
        return model

    def load_parameters(self, path: str | os.PathLike[str]) -> None:
        """Take the parameters from a safetensors file, such as one of a PyTorch module with the same names.

        Raises
        ------
        CheckpointError
            The file cannot be read, or its arrays have other names. Nothing is changed then.
        ShapeError
            An array has another shape than the parameter. Nothing is changed then.
        """
        load_arrays(Path(path), self.parameters)

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
            f"state of shape {state.shape} does not belong to this batch and model: expected {expected.shape}",
            hint="begin with model.zero_state(batch.size); a last batch may be smaller than the others",
        )


def _last_counted(mask: BoolArray) -> IntArray:
    """For each row, the number of the last step that counts, from 1; 0 where none does."""
    steps: IntArray = np.where(mask.any(axis=0), mask.shape[0] - mask[::-1].argmax(axis=0), 0)
    return steps


def _states_at(states: FloatArray, ends: IntArray | None) -> FloatArray:
    return states[-1].copy() if ends is None else states[ends, np.arange(states.shape[1])]
