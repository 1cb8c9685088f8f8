"""A recurrent network: input layer, cell, head and loss, with gradients."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np

from rnncallbacks import options
from rnncallbacks.arrays import Array, FlatArrays, FloatArray
from rnncallbacks.errors import CheckpointError, DataError, OptionError, RunStateError
from rnncallbacks.rnn.assembly import build, check_options, loss_of, parameter_shapes
from rnncallbacks.rnn.batches import SequenceBatch
from rnncallbacks.rnn.cells import Piece, add_rows
from rnncallbacks.rnn.checks import IntArray
from rnncallbacks.rnn.initialisation import initialise
from rnncallbacks.rnn.inputs import DenseInput, TokenInput
from rnncallbacks.rnn.layers import Direction, Reversal, Stack
from rnncallbacks.rnn.losses import MeanSquaredError, SoftmaxNll
from rnncallbacks.rnn.products import multiply_rows
from rnncallbacks.rnn.states import check_state, last_counted
from rnncallbacks.rnn.weights import load_arrays, read_arrays, save_arrays
from rnncallbacks.rnn.workspace import Workspace

# The key of the options in a saved file's metadata.
_METADATA = "rnncallbacks.RecurrentModel"

# For what is set in every step, where the usual checks of attrs would take time.
_UNCHECKED = attrs.setters.NO_OP


@attrs.frozen(eq=False)
class _Pass:
    """What the backward pass needs of the forward pass before it."""

    read: Sequence[Array]
    reversal: Reversal
    ends: IntArray | None
    features: FloatArray


def _fixed(model: RecurrentModel, option: attrs.Attribute[Any], value: object) -> None:
    raise OptionError(
        f"RecurrentModel: {option.name} is fixed when the model is made",
        hint="make another model, and give it these parameters: other.parameters.flat[:] = model.parameters.flat",
    )


def _option(default: Any, validator: Callable[..., None]) -> Any:
    return attrs.field(default=default, validator=validator, kw_only=True, on_setattr=_fixed)


def _size() -> Any:
    return _option(None, attrs.validators.optional(options.count()))


def _choice(*choices: str) -> Any:
    return _option(choices[0], options.one_of(*choices))


def _flag(default: bool) -> Any:
    return _option(default, options.flag)


@attrs.define(eq=False)
class RecurrentModel:
    r"""A recurrent network, of tokens or of vectors of features: layers of cells, and a linear head.

    .. math:: z_t = u_t W_{head}^T + b_{head}

    with :math:`u_t` the outputs of the uppermost layer. The first layer reads the features, the token's embedding, or
    the token as a one-hot vector (which is never made: the token chooses a column of :math:`W_{ih}`); each other layer
    reads the outputs of the one below. What a cell computes is said at :class:`~rnncallbacks.rnn.vanilla.VanillaCell`,
    :class:`~rnncallbacks.rnn.lstm.LSTMCell`, :class:`~rnncallbacks.rnn.gru.GRUCell` and
    :class:`~rnncallbacks.rnn.gru.OriginalGRUCell`.

    Sequences lie side by side, time first. Shorter ones are padded on the right, and the mask of the batch is False
    there. The recurrence runs on through the padding, which changes nothing that comes out: padded positions have no
    part in the loss or its gradient, and the state that is returned is, for each row, the one after its last position
    that counts (for a row without any, the state that it entered with).

    Gradients end at the entering state: backpropagation through time is truncated to the batch.

    A state is an array (batch, hidden_size), and that of an LSTM a pair of them, (h, c). A network of several layers or
    with two directions has a tuple of states, one per layer and direction in PyTorch's order.

    A copy, by ``copy.deepcopy`` or ``pickle``, has parameters, gradients and passes of its own, and no forward pass
    that waits for its ``backward``.

    Parameters
    ----------
    hidden_size:
        Number of recurrent units of each layer and direction.
    vocab_size:
        Number of tokens, for inputs of token numbers 0 to vocab_size - 1.
    embedding_size:
        Length of the tokens' embeddings; None: no embedding.
    input_size:
        Number of features, for inputs of floats. Either this or ``vocab_size``.
    output_size:
        Number of outputs of the head. None: ``vocab_size``.
    cell:
        ``"vanilla"``, ``"lstm"`` or ``"gru"``.
    nonlinearity:
        ``"tanh"`` or ``"relu"``, of vanilla cells.
    reset_after:
        For GRUs: True, the reset gate comes after the product, as in PyTorch; False, before, as in the original paper.
    num_layers:
        Number of layers, 1 or more.
    bidirectional:
        Each layer also reads the sequences from their ends, and its outputs are twice as long. Such a network cannot go
        on from one batch to the next, and sees the tokens that it is to foresee: it is for targets of another kind.
    dropout:
        Probability with which ``forward`` zeroes what a layer hands to the layer above, 0 or more and less than 1.
    residual:
        Adds what a layer reads to its outputs, from the second layer on.
    layer_norm:
        Normalises the outputs of each layer (after the sum, before the dropout).
    tie_weights:
        The head's matrix is the embedding. Needs embeddings as long as the head's inputs.
    output:
        ``"step"``: outputs at each step. ``"last"``: outputs of each sequence's last step that counts (of the backward
        direction, the first step).
    loss:
        ``"nll"``: negative log-likelihood of the softmax, for targets that are classes or tokens. ``"mse"``: mean
        squared error, for floats.
    dtype:
        ``"float32"`` or ``"float64"``, of everything.
    initialisation:
        ``"orthogonal"`` or ``"uniform"``, see :func:`rnncallbacks.rnn.initialisation.initialise`.
    seed:
        Of the initialisation and the dropout, 0 or more.
    kernels:
        What computes all that is no product: ``"numpy"``; or ``"numba"``, loops that are compiled when first needed,
        for float32. They give the same up to rounding, sooner: small LSTMs and GRUs in half of the time. Needs
        ``pip install 'rnncallbacks[fast]'``. GRUs with ``reset_after=False`` go on in NumPy.

    Attributes
    ----------
    parameters:
        Names and layouts are those of PyTorch's modules: ``embedding.weight``, ``rnn.weight_ih_l0``,
        ``rnn.weight_hh_l0``, ``rnn.bias_ih_l0``, ``rnn.bias_hh_l0`` (and ``_l0_reverse``, ``_l1``, ...),
        ``head.weight``, ``head.bias``; with ``layer_norm``, ``norms.0.weight`` and ``norms.0.bias``.
    gradients:
        The same names; what the latest ``backward`` wrote.
    hidden_states:
        Of the uppermost layer (forward direction) in the latest ``forward``: the states h, (seq_len + 1, batch,
        hidden_size), the entering one first. A work array, which the next call overwrites.
    passes:
        Number of calls of ``forward``, a 0-d array of integers: together with the seed, it decides what dropout zeroes.

    Raises
    ------
    OptionError
        An option is out of range, or two do not go together, or numba is not installed; or an option is set later.

    Example
    -------
    >>> model = RecurrentModel(8, vocab_size=4, cell="lstm")
    >>> tokens = np.array([[0, 1], [1, 2], [2, 3]])
    >>> batch = SequenceBatch(inputs=tokens[:-1], targets=tokens[1:])
    >>> loss, (hidden, cell) = model.forward(batch, model.zero_state(batch.size))
    >>> gradients = model.backward()
    >>> hidden.shape, gradients["head.weight"].shape
    ((2, 8), (4, 8))

    Source: Elman, "Finding structure in time" (1990); Werbos, "Backpropagation through time" (1990). Bidirectional:
    Schuster and Paliwal, "Bidirectional recurrent neural networks" (1997). Residual: Wu et al., "Google's neural
    machine translation system" (2016). Tied weights: Press and Wolf, "Using the output embedding to improve language
    models" (2017).
    """

    hidden_size: int = attrs.field(validator=options.count(), on_setattr=_fixed)
    vocab_size: int | None = _size()
    embedding_size: int | None = _size()
    input_size: int | None = _size()
    output_size: int | None = _size()
    cell: Literal["vanilla", "lstm", "gru"] = _choice("vanilla", "lstm", "gru")
    nonlinearity: Literal["tanh", "relu"] = _choice("tanh", "relu")
    reset_after: bool = _flag(True)
    num_layers: int = _option(1, options.count())
    bidirectional: bool = _flag(False)
    dropout: float = _option(0.0, options.number(at_least=0, below=1))
    residual: bool = _flag(False)
    layer_norm: bool = _flag(False)
    tie_weights: bool = _flag(False)
    output: Literal["step", "last"] = _choice("step", "last")
    loss: Literal["nll", "mse"] = _choice("nll", "mse")
    dtype: Literal["float32", "float64"] = _choice("float32", "float64")
    initialisation: Literal["orthogonal", "uniform"] = _choice("orthogonal", "uniform")
    seed: int = _option(0, options.count(0))
    kernels: Literal["numpy", "numba"] = _choice("numpy", "numba")

    parameters: FlatArrays = attrs.field(init=False, repr=False)
    gradients: FlatArrays = attrs.field(init=False, repr=False)
    hidden_states: FloatArray | None = attrs.field(init=False, repr=False, default=None, on_setattr=_UNCHECKED)
    passes: IntArray = attrs.field(init=False, repr=False, factory=lambda: np.zeros((), dtype=np.int64))
    _input: TokenInput | DenseInput = attrs.field(init=False, repr=False)
    _stack: Stack = attrs.field(init=False, repr=False)
    _loss: SoftmaxNll | MeanSquaredError = attrs.field(init=False, repr=False)
    _work: Workspace = attrs.field(init=False, repr=False)
    _predict_work: Workspace = attrs.field(init=False, repr=False)
    _pass: _Pass | None = attrs.field(init=False, repr=False, default=None, on_setattr=_UNCHECKED)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "output_size", check_options(self))
        self.parameters = FlatArrays(parameter_shapes(self), dtype=self.dtype)
        self.gradients = self.parameters.zeros_like()
        generator = np.random.default_rng(self.seed)
        initialise(
            self.parameters, self.initialisation, self.hidden_size, generator, cell=self.cell, tied=self.tie_weights
        )
        self._input, self._stack = build(self)
        self._loss = loss_of(self)
        self._work = Workspace(self.dtype)
        self._predict_work = Workspace(self.dtype)

    def __reduce__(self) -> tuple[Callable[..., RecurrentModel], tuple[Any, ...]]:
        # The layers hold views of parameters and gradients, which would be copied and pickled as arrays of their own.
        return _restored, (type(self), self._options(), self.parameters, self.gradients, self.passes)

    def zero_state(self, batch_size: int) -> Any:
        """The state that sequences begin with: zeros."""
        dtype = self.parameters.flat.dtype
        states = [direction.cell.zero_state(batch_size, dtype) for direction in self._stack.directions]
        return states[0] if len(states) == 1 else tuple(states)

    def forward(self, batch: SequenceBatch, state: Any) -> tuple[float, Any]:
        """The loss of a batch, in nats per position for ``"nll"``, and the state that leaves it, with dropout.

        Keeps what ``backward`` needs until the next call. ``state`` is what ``zero_state`` or an earlier call returned.

        Raises
        ------
        DataError
            Tokens are out of range or no integers, features are not finite or no floats, the batch is empty, or a row
            of a model with ``output="last"`` has no position that counts.
        ShapeError
            Inputs, targets or state do not have the shapes that belong to the model and to each other.
        ContainerError
            The state is not made of arrays of floats as that of ``zero_state`` is.
        """
        self._pass = None
        np.add(self.passes, 1, self.passes)
        loss, final, self._pass = self._forward(self._work, self._loss, batch, state, int(self.passes))
        seq_len, batch_size = batch.inputs.shape[:2]
        self.hidden_states = self._top.cell.states(self._top_work(self._work), seq_len, batch_size)
        return loss, final

    def evaluate(self, batch: SequenceBatch, state: Any) -> tuple[float, Any]:
        """As ``forward``, without dropout; a forward pass that waits for its ``backward`` is left alone."""
        return self._forward(self._predict_work, type(self._loss)(), batch, state, None)[:2]

    def reevaluate(self, batch: SequenceBatch, state: Any, forward_pass: int | None = None) -> float:
        """The loss that ``forward`` would give, with the dropout of the latest pass or of the one with this number.

        A forward pass that waits for its ``backward`` is left alone. Errors as in ``forward``.
        """
        number = int(self.passes) if forward_pass is None else forward_pass
        return self._forward(self._predict_work, type(self._loss)(), batch, state, number)[0]

    def _forward(
        self,
        work: Workspace,
        loss: SoftmaxNll | MeanSquaredError,
        batch: SequenceBatch,
        state: Any,
        dropout_pass: int | None,
    ) -> tuple[float, Any, _Pass]:
        inputs = self._input.check(batch.inputs)
        seq_len, batch_size = inputs.shape[:2]
        leading = (seq_len, batch_size) if self.output == "step" else (batch_size,)
        targets: Any = loss.check(batch.targets, leading, self._outputs)
        ends = None if batch.mask is None else last_counted(batch.mask)
        if self.output == "last" and ends is not None and not ends.all():
            raise DataError(f"mask: row {int(np.argmin(ends))} has no step that counts, so it has no last step")
        states, reversal = self._states(state, batch_size), Reversal(ends, seq_len)
        with np.errstate(all="ignore"):
            read = self._stack.forward(work, inputs, states, reversal, dropout_pass)
            final = self._final(work, seq_len, batch_size, ends)
            features = self._features(read[-1], ends)
            mask = None if batch.mask is None or self.output == "last" else batch.mask.reshape(-1)
            outputs = work.array("outputs", (features.shape[0], self._outputs))
            self._head(work, features, outputs)
            value = loss.forward(work, outputs, targets, mask)
        return value, final, _Pass(read, reversal, ends, features)

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
        with np.errstate(all="ignore"):
            errors = self._loss.backward()
            if self.embedding_size is not None:
                gradients["embedding.weight"].fill(0.0)
            np.dot(errors.T, done.features, self._head_matrix(gradients))
            add_rows(work, errors, gradients["head.bias"], is_first=True)
            for piece in self._stack.pieces(*done.read[0].shape[:2]):
                read = [array[piece.steps] for array in done.read]
                self._from_head(work, errors, read, done.ends, piece)
                self._stack.backward(work, read, done.reversal, piece)
        return gradients

    def hidden_gradients(self, batch: SequenceBatch, state: Any) -> FloatArray:
        """The gradients with respect to the states of the uppermost layer (forward direction), dL/dh.

        Behind each step, (seq_len, batch, hidden_size), at the parameters as they are, with the dropout of the latest
        pass. A training step does not keep them: they are computed anew, in less than the time of a step. Gradients,
        and a forward pass that waits for its ``backward``, are left alone. Errors as in ``forward``.
        """
        work, loss = self._predict_work, type(self._loss)()
        done = self._forward(work, loss, batch, state, int(self.passes))[2]
        seq_len = len(batch.inputs)
        written = self.gradients.flat.copy()
        try:
            with np.errstate(all="ignore"):
                self._from_head(work, loss.backward(), done.read, done.ends, Piece(0, seq_len, seq_len))
                return self._stack.to_states(work, done.read, done.reversal).copy()
        finally:
            # A normalisation writes its own.
            np.copyto(self.gradients.flat, written)

    def _from_head(
        self, work: Workspace, errors: FloatArray, read: Sequence[Array], ends: IntArray | None, piece: Piece
    ) -> None:
        """Write the gradients with respect to the outputs of the uppermost layer, of the steps of a piece."""
        hidden, head = self._stack.gradients(work, read[0]), self._head_matrix(self.parameters)
        if self.output == "last":
            self._spread(np.dot(errors, head), hidden, ends, piece)
            return
        batch_size = hidden.shape[1]
        some = errors[piece.begin * batch_size : piece.end * batch_size]
        multiply_rows(work, some, head, hidden.reshape(len(some), -1))

    def predict(self, inputs: Array, state: Any) -> tuple[FloatArray, Any]:
        """The head's outputs and the state after the last step, without a loss or dropout; all positions count.

        Outputs have the shape (seq_len, batch, output_size), or (batch, output_size) with ``output="last"``; with
        ``loss="nll"`` they are logits. A forward pass that waits for its ``backward`` is left alone. Errors are those
        of ``forward``.
        """
        checked = self._input.check(np.asarray(inputs))
        seq_len, batch_size = checked.shape[:2]
        states = self._states(state, batch_size)
        with np.errstate(all="ignore"):
            read = self._stack.forward(self._predict_work, checked, states, Reversal(None, seq_len), None)
            features = self._features(read[-1], None)
            outputs = np.empty((features.shape[0], self._outputs), dtype=self.dtype)
            self._head(self._predict_work, features, outputs)
        leading = (batch_size,) if self.output == "last" else (seq_len, batch_size)
        return outputs.reshape(*leading, self._outputs), self._final(self._predict_work, seq_len, batch_size, None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and options to a safetensors file.

        The file appears at once and whole: a crash leaves the one that was there before.
        """
        # Without the kernels, so that the file loads on a machine without numba.
        chosen = {name: value for name, value in self._options().items() if name != "kernels"}
        # A tied matrix is written under both of its names, as PyTorch's state_dict holds it.
        again = {name: self.parameters[original] for name, original in self._tied.items()}
        save_arrays(Path(path), {**self.parameters, **again}, {_METADATA: json.dumps(chosen)})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, kernels: Literal["numpy", "numba"] = "numpy") -> RecurrentModel:
        """The model that ``save`` wrote, whatever its kernels were, with these.

        Raises
        ------
        CheckpointError
            The file cannot be read, or was not written by ``save``.
        OptionError
            The kernels cannot be had.
        """
        _, metadata = read_arrays(Path(path))
        if _METADATA not in metadata:
            raise CheckpointError(
                f"{path}: the file does not hold the options of a RecurrentModel",
                hint="make the model with its options, then call load_parameters",
            )
        try:
            model = cls(**json.loads(metadata[_METADATA]), kernels=kernels)
        except OptionError:
            raise
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: the options in the file are not those of this version: {error}") from error
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
        load_arrays(Path(path), self.parameters, self._tied)

    def _options(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.init}

    @property
    def _outputs(self) -> int:
        assert self.output_size is not None
        return self.output_size

    @property
    def _top(self) -> Direction:
        return self._stack.levels[-1].layer.directions[0]

    def _top_work(self, work: Workspace) -> Workspace:
        return self._stack.work_of(work, len(self._stack.levels) - 1, self._top)

    def _states(self, state: Any, batch_size: int) -> Sequence[Any]:
        check_state(state, self.zero_state(batch_size))
        return [state] if len(self._stack.directions) == 1 else state

    def _final(self, work: Workspace, seq_len: int, batch_size: int, ends: IntArray | None) -> Any:
        states = self._stack.leave(work, seq_len, batch_size, ends)
        return states[0] if len(states) == 1 else tuple(states)

    def _features(self, outputs: FloatArray, ends: IntArray | None) -> FloatArray:
        """What the head reads, (positions, size): with ``output="last"``, a copy of one step of each row."""
        if self.output == "step":
            return outputs.reshape(-1, outputs.shape[2])
        last = (outputs[-1] if ends is None else outputs[ends - 1, np.arange(len(ends))]).copy()
        if self.bidirectional:
            last[:, self.hidden_size :] = outputs[0, :, self.hidden_size :]
        return last

    def _spread(self, errors: FloatArray, out: FloatArray, ends: IntArray | None, piece: Piece) -> None:
        """The gradients of ``_features`` of the last steps, (batch, size), among those of the steps of a piece."""
        out.fill(0.0)
        last = np.full(len(errors), piece.seq_len - 1) if ends is None else ends - 1
        rows = np.flatnonzero((piece.begin <= last) & (last < piece.end))
        forwards = slice(0, self.hidden_size)
        out[last[rows] - piece.begin, rows, forwards] = errors[rows, forwards]
        if self.bidirectional:
            out[0, :, self.hidden_size :] = errors[:, self.hidden_size :]

    @property
    def _tied(self) -> dict[str, str]:
        return {"head.weight": "embedding.weight"} if self.tie_weights else {}

    def _head_matrix(self, arrays: FlatArrays) -> FloatArray:
        return arrays["embedding.weight" if self.tie_weights else "head.weight"]

    def _head(self, work: Workspace, features: FloatArray, out: FloatArray) -> None:
        multiply_rows(work, features, self._head_matrix(self.parameters).T, out)
        np.add(out, self.parameters["head.bias"], out)


def _restored(
    kind: type[RecurrentModel],
    chosen: Mapping[str, Any],
    parameters: FlatArrays,
    gradients: FlatArrays,
    passes: IntArray,
) -> RecurrentModel:
    model = kind(**chosen)
    model.parameters, model.gradients, model.passes = parameters, gradients, passes
    model._input, model._stack = build(model)
    return model
