"""A recurrent network: inputs, stack of recurrent layers, head and loss, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray, FlatArrays, FloatArray
from rnncallbacks.errors import RunStateError
from rnncallbacks.rnn.architecture import build_layers, build_loss
from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.head import Head
from rnncallbacks.rnn.layers.inputs import DenseInput, TokenInput
from rnncallbacks.rnn.layers.losses import Loss
from rnncallbacks.rnn.layers.padding import Reversal, sequence_lengths
from rnncallbacks.rnn.layers.stack import Stack
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.model_parameters import ModelParameters
from rnncallbacks.rnn.validation import IntArray

OutputObserver: TypeAlias = Callable[[FloatArray, Array, BoolArray | None], None]
"""A function of outputs (positions, output_size), targets (positions, ...) and mask (positions,) or None."""

# For attributes that every step sets: attrs' validation of assignments would take time.
_UNVALIDATED = attrs.setters.NO_OP


@attrs.frozen(eq=False)
class _ForwardPass:
    """Intermediate results of a forward pass, for the backward pass."""

    layer_inputs: Sequence[Array]
    reversal: Reversal
    lengths: IntArray | None
    features: FloatArray


@attrs.define(eq=False)
class RecurrentModel(ModelParameters):
    r"""A recurrent network of tokens or feature vectors: layers of cells, and a linear head.

    .. math:: z_t = u_t W_{head}^T + b_{head}

    with the outputs :math:`u_t` of the uppermost layer. The first layer reads the features, the token embeddings, or
    the tokens as one-hot vectors (which are never formed: a token selects a column of :math:`W_{ih}`). Each other layer
    reads the outputs of the one below. The equations of the cells are those of
    :class:`~rnncallbacks.rnn.cells.vanilla.VanillaCell`, :class:`~rnncallbacks.rnn.cells.lstm.LSTMCell`,
    :class:`~rnncallbacks.rnn.cells.gru.GRUCell` and :class:`~rnncallbacks.rnn.cells.original_gru.OriginalGRUCell`.

    Arrays of a batch are (seq_len, batch, ...). Shorter sequences are padded on the right, where the mask of the batch
    is False. Padded positions do not contribute to the loss or its gradient. The returned state of a row is the one
    after its last unmasked step, or the initial one if it has none.

    Backpropagation through time is truncated to the batch: gradients do not flow into the initial state.

    A state is an array (batch, hidden_size), or a pair (h, c) for an LSTM. With several layers or two directions, it is
    a tuple of one state per layer and direction, in PyTorch's order.

    A copy by ``copy.deepcopy`` or ``pickle`` has its own parameters and gradients, and no pending forward pass.

    Parameters
    ----------
    hidden_size:
        Number of recurrent units of each layer and direction.
    vocab_size, input_size:
        One of the two: the number of tokens, or the number of features.
    options:
        All others are described in :class:`~rnncallbacks.rnn.architecture.Architecture`.

    Attributes
    ----------
    parameters:
        The arrays of :func:`~rnncallbacks.rnn.architecture.parameter_shapes`.
    gradients:
        Arrays of the same names and shapes; written by ``backward``.
    hidden_states:
        The states h of the uppermost layer (forward direction) in the latest ``forward``, (seq_len + 1, batch,
        hidden_size), the initial one first. A work array, which the next call overwrites.
    passes:
        Number of calls of ``forward``, a 0-d integer array. Together with the seed, it determines the dropout.

    Raises
    ------
    OptionError
        The options are invalid, or one is assigned later.

    Example
    -------
    >>> model = RecurrentModel(8, vocab_size=4, cell="lstm")
    >>> tokens = np.array([[0, 1], [1, 2], [2, 3]])
    >>> batch = SequenceBatch(inputs=tokens[:-1], targets=tokens[1:])
    >>> loss, (hidden, cell) = model.forward(batch, model.zero_state(batch.size))
    >>> gradients = model.backward()
    >>> hidden.shape, gradients["head.weight"].shape
    ((2, 8), (4, 8))

    Source: Elman, "Finding structure in time" (1990); Werbos, "Backpropagation through time" (1990). Those of the
    options are in :class:`~rnncallbacks.rnn.architecture.Architecture`.
    """

    hidden_states: FloatArray | None = attrs.field(init=False, repr=False, default=None, on_setattr=_UNVALIDATED)
    passes: IntArray = attrs.field(init=False, repr=False, factory=lambda: np.zeros((), dtype=np.int64))
    _input: TokenInput | DenseInput = attrs.field(init=False, repr=False)
    _stack: Stack = attrs.field(init=False, repr=False)
    _head: Head = attrs.field(init=False, repr=False)
    _loss: Loss = attrs.field(init=False, repr=False)
    _observer: OutputObserver | None = attrs.field(init=False, repr=False, default=None)
    _work: Workspace = attrs.field(init=False, repr=False)
    _evaluation_work: Workspace = attrs.field(init=False, repr=False)
    _pass: _ForwardPass | None = attrs.field(init=False, repr=False, default=None, on_setattr=_UNVALIDATED)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._input, self._stack, self._head = build_layers(self, self.parameters, self.gradients)
        self._loss = build_loss(self)
        self._work = Workspace(self.dtype)
        self._evaluation_work = Workspace(self.dtype)

    def __reduce__(self) -> tuple[Callable[..., RecurrentModel], tuple[Any, ...]]:
        # The layers hold views of parameters and gradients, which would be copied as arrays of their own.
        return _restored, (type(self), self.chosen_options(), self.parameters, self.gradients, self.passes)

    def zero_state(self, batch_size: int) -> Any:
        """The initial state of sequences: zeros."""
        return self._stack.zero_state(batch_size, self.parameters.flat.dtype)

    def forward(self, batch: SequenceBatch, state: Any) -> tuple[float, Any]:
        """The loss of a batch with dropout, and the final state. The loss ``"nll"`` is in nats per position.

        Keeps what ``backward`` needs until the next call. ``state`` comes from ``zero_state`` or an earlier call.

        Raises
        ------
        DataError
            Tokens are not integers or out of range, features are not floats or not finite, the batch is empty, or a row
            of a model with ``output="last"`` has no unmasked step.
        ShapeError
            The shapes of inputs, targets and state do not match the model and each other.
        ContainerError
            The state does not have the structure of ``zero_state``.
        """
        self._pass = None
        np.add(self.passes, 1, self.passes)
        loss, final, self._pass = self._forward(self._work, self._loss, batch, state, int(self.passes), self._observer)
        self.hidden_states = self._stack.hidden_states(self._work, *batch.inputs.shape[:2])
        return loss, final

    def evaluate(self, batch: SequenceBatch, state: Any) -> tuple[float, Any]:
        """Like ``forward``, without dropout. A pending ``backward`` is not affected."""
        return self._forward(self._evaluation_work, type(self._loss)(), batch, state, None, self._observer)[:2]

    def reevaluate(self, batch: SequenceBatch, state: Any, forward_pass: int | None = None) -> float:
        """The loss that ``forward`` would return with the dropout of the latest pass, or of pass ``forward_pass``.

        A pending ``backward`` is not affected. Raises what ``forward`` raises.
        """
        number = int(self.passes) if forward_pass is None else forward_pass
        return self._forward(self._evaluation_work, type(self._loss)(), batch, state, number)[0]

    @contextmanager
    def observed_by(self, observer: OutputObserver | None) -> Iterator[None]:
        """Call ``observer`` in each ``forward`` and ``evaluate`` inside the ``with`` block, before the loss.

        It gets the outputs of the head, a work array that it must not change, the targets, and the mask or None, with
        one row for each position.
        """
        before, self._observer = self._observer, observer
        try:
            yield
        finally:
            self._observer = before

    def _forward(
        self,
        work: Workspace,
        loss: Loss,
        batch: SequenceBatch,
        state: Any,
        dropout_pass: int | None,
        observer: OutputObserver | None = None,
    ) -> tuple[float, Any, _ForwardPass]:
        head = self._head
        inputs = self._input.check(batch.inputs)
        targets: Any = loss.check(batch.targets, head.leading_shape(*inputs.shape[:2]), head.output_size)
        lengths = None if batch.mask is None else sequence_lengths(batch.mask)
        head.check_lengths(lengths)
        with np.errstate(all="ignore"):
            outputs, final, done = self._outputs(work, inputs, state, lengths, dropout_pass)
            mask = None if batch.mask is None or head.last_step else batch.mask.reshape(-1)
            if observer is not None:
                observer(outputs, targets, mask)
            return loss.forward(work, outputs, targets, mask), final, done

    def _outputs(
        self, work: Workspace, inputs: Array, state: Any, lengths: IntArray | None, dropout_pass: int | None
    ) -> tuple[FloatArray, Any, _ForwardPass]:
        """The outputs of the head, a work array (positions, output_size), and the final state."""
        seq_len, batch_size = inputs.shape[:2]
        states = self._stack.states_by_direction(state, batch_size, self.parameters.flat.dtype)
        reversal = Reversal(lengths, seq_len)
        layer_inputs = self._stack.forward(work, inputs, states, reversal, dropout_pass)
        final = self._stack.final_state(work, seq_len, batch_size, lengths)
        features = self._head.features(layer_inputs[-1], lengths)
        outputs = work.array("outputs", (len(features), self._head.output_size))
        self._head.forward(work, features, outputs)
        return outputs, final, _ForwardPass(layer_inputs, reversal, lengths, features)

    def backward(self) -> FlatArrays:
        """The gradients of the loss of the latest ``forward``: ``self.gradients``, overwritten.

        Raises
        ------
        RunStateError
            ``forward`` was not called since the last ``backward``.
        """
        done, self._pass = self._pass, None
        if done is None:
            raise RunStateError("backward: no forward pass is pending", hint="call forward before each backward")
        work = self._work
        with np.errstate(all="ignore"):
            output_gradients = self._loss.backward()
            if self.embedding_size is not None:
                self.gradients["embedding.weight"].fill(0.0)
            self._head.write_gradients(work, output_gradients, done.features)
            for segment in self._stack.segments(*done.layer_inputs[0].shape[:2]):
                layer_inputs = [array[segment.steps] for array in done.layer_inputs]
                gradients = self._stack.gradients(work, layer_inputs[0])
                self._head.backward(work, output_gradients, gradients, done.lengths, segment)
                self._stack.backward(work, layer_inputs, done.reversal, segment)
        return self.gradients

    def hidden_gradients(self, batch: SequenceBatch, state: Any) -> FloatArray:
        """The gradients dL/dh with respect to the states of the uppermost layer (forward direction).

        (seq_len, batch, hidden_size), after each step, at the current parameters, with the dropout of the latest pass.
        A training step does not keep them, so they are recomputed, which takes less time than a step. ``gradients`` and
        a pending ``backward`` are not affected. Raises what ``forward`` raises.
        """
        work, loss = self._evaluation_work, type(self._loss)()
        done = self._forward(work, loss, batch, state, int(self.passes))[2]
        kept = self.gradients.flat.copy()
        try:
            with np.errstate(all="ignore"):
                gradients = self._stack.gradients(work, done.layer_inputs[0])
                self._head.backward(work, loss.backward(), gradients, done.lengths, Segment.whole(len(batch.inputs)))
                return self._stack.hidden_gradients(work, done.layer_inputs, done.reversal).copy()
        finally:
            # Layer normalization has overwritten the gradients of its parameters.
            np.copyto(self.gradients.flat, kept)

    def predict(self, inputs: Array, state: Any) -> tuple[FloatArray, Any]:
        """The outputs of the head and the final state, without loss, mask or dropout.

        Inputs have time first, as in a batch: ``array.swapaxes(0, 1)`` of an array whose first axis is the sequence.
        Outputs have the shape (seq_len, batch, output_size), or (batch, output_size) with ``output="last"``. With
        ``loss="nll"`` they are logits. A pending ``backward`` is not affected. Raises what ``forward`` raises.
        """
        checked = self._input.check(np.asarray(inputs))
        with np.errstate(all="ignore"):
            outputs, final, _ = self._outputs(self._evaluation_work, checked, state, None, None)
        return outputs.reshape(*self._head.leading_shape(*checked.shape[:2]), -1).copy(), final


def _restored(
    kind: type[RecurrentModel], options: dict[str, Any], parameters: FlatArrays, gradients: FlatArrays, passes: IntArray
) -> RecurrentModel:
    model = kind(**options)
    model.parameters, model.gradients, model.passes = parameters, gradients, passes
    model._input, model._stack, model._head = build_layers(model, parameters, gradients)
    return model
