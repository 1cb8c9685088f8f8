"""The options of a recurrent network, and the parameters and layers that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import attrs
import numpy as np

from rnncallbacks import options
from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.errors import OptionError
from rnncallbacks.rnn.cells.cell import Cell, CellParameters
from rnncallbacks.rnn.cells.gru import GRUCell
from rnncallbacks.rnn.cells.lstm import LSTMCell
from rnncallbacks.rnn.cells.original_gru import OriginalGRUCell
from rnncallbacks.rnn.cells.vanilla import VanillaCell
from rnncallbacks.rnn.head import Head
from rnncallbacks.rnn.layers.dropout import Dropout
from rnncallbacks.rnn.layers.inputs import DenseInput, TokenInput
from rnncallbacks.rnn.layers.layer_normalization import LayerNormalization
from rnncallbacks.rnn.layers.losses import Loss, MeanSquaredError, SoftmaxNll
from rnncallbacks.rnn.layers.recurrent_layer import Direction, RecurrentLayer
from rnncallbacks.rnn.layers.stack import Stack, StackedLayer
from rnncallbacks.rnn.validation import check_numba

LayerKind = TypeVar("LayerKind")


def _fixed(owner: Architecture, option: attrs.Attribute[Any], value: object) -> None:
    raise OptionError(
        f"RecurrentModel: {option.name} is fixed when the model is made",
        hint="make another model, and copy the parameters: other.parameters.flat[:] = model.parameters.flat",
    )


def _option(default: Any, validator: Callable[..., None]) -> Any:
    return attrs.field(default=default, validator=validator, kw_only=True, on_setattr=_fixed)


def _dtype_name(dtype: Any) -> Any:
    """The name of a NumPy dtype or scalar type; anything else as it is, for the validator."""
    is_numpy = isinstance(dtype, np.dtype) or (isinstance(dtype, type) and issubclass(dtype, np.generic))
    return np.dtype(dtype).name if is_numpy else dtype


def _size() -> Any:
    return _option(None, attrs.validators.optional(options.count()))


def _choice(*choices: str) -> Any:
    return _option(choices[0], options.one_of(*choices))


def _flag(default: bool) -> Any:
    return _option(default, options.flag)


@attrs.define(eq=False)
class Architecture:
    """The options of a :class:`~rnncallbacks.rnn.model.RecurrentModel`.

    Parameters
    ----------
    hidden_size:
        Number of recurrent units of each layer and direction.
    vocab_size:
        Number of tokens, for inputs of token numbers from 0 to vocab_size - 1.
    embedding_size:
        Length of the token embeddings; None: no embedding.
    input_size:
        Number of features, for inputs of floats. Either this or ``vocab_size``.
    output_size:
        Number of outputs of the head. None: ``vocab_size``.
    cell:
        ``"vanilla"``, ``"lstm"`` or ``"gru"``.
    nonlinearity:
        ``"tanh"`` or ``"relu"``, for vanilla cells.
    reset_after:
        For GRUs. True: the reset gate comes after the matrix product, as in PyTorch. False: before it, as in the
        original paper.
    num_layers:
        Number of layers, 1 or more.
    bidirectional:
        Each layer also reads the sequences backwards, and its outputs are twice as long. The state of such a network
        cannot be carried to the next batch, and its outputs depend on later inputs, so it cannot predict the next
        token.
    dropout:
        Probability with which ``forward`` sets an output to zero before the next layer reads it, at least 0 and less
        than 1.
    residual:
        Add the inputs of a layer to its outputs, from the second layer on.
    layer_norm:
        Normalize the outputs of each layer, after the residual sum and before the dropout.
    tie_weights:
        Use the embedding as the head's matrix. The embedding must be as long as the head's inputs.
    output:
        ``"step"``: outputs at each step. ``"last"``: outputs at the last unmasked step of each sequence (of the
        backward direction, at the first step).
    loss:
        ``"nll"``: negative log-likelihood of the softmax, for targets that are classes or tokens. ``"mse"``: mean
        squared error, for targets that are floats.
    dtype:
        ``"float32"`` or ``"float64"``, of all arrays; also as ``np.float32`` or ``np.dtype("float32")``.
    initialization:
        ``"orthogonal"`` or ``"uniform"``, see :func:`rnncallbacks.rnn.initialization.initialize`.
    seed:
        Of the initialization and the dropout, 0 or more.
    kernels:
        ``"numpy"``, or ``"numba"`` for compiled elementwise operations in float32. The results are the same up to
        rounding; small LSTMs and GRUs take half of the time. Needs ``pip install 'rnncallbacks[fast]'``. GRUs with
        ``reset_after=False`` use NumPy with either.

    Raises
    ------
    OptionError
        An option is out of range, two options contradict each other, or numba is not installed.

    Source: Schuster and Paliwal, "Bidirectional recurrent neural networks" (1997); Wu et al., "Google's neural machine
    translation system" (2016), for ``residual``; Press and Wolf, "Using the output embedding to improve language
    models" (2017), for ``tie_weights``.
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
    dtype: Literal["float32", "float64"] = attrs.field(
        default="float32",
        converter=_dtype_name,
        validator=options.one_of("float32", "float64"),
        kw_only=True,
        on_setattr=_fixed,
    )
    initialization: Literal["orthogonal", "uniform"] = _choice("orthogonal", "uniform")
    seed: int = _option(0, options.count(0))
    kernels: Literal["numpy", "numba"] = _choice("numpy", "numba")

    def __attrs_post_init__(self) -> None:
        if self.kernels == "numba":
            check_numba("RecurrentModel", self.dtype)
        object.__setattr__(self, "output_size", self._checked_output_size())

    @property
    def width(self) -> int:
        """Number of outputs of each layer."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def tied(self) -> dict[str, str]:
        """Additional names in a saved file, and the parameters that they refer to."""
        return {"head.weight": "embedding.weight"} if self.tie_weights else {}

    def chosen_options(self) -> dict[str, Any]:
        """The options by name."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(Architecture)}

    def _checked_output_size(self) -> int:
        """The number of outputs of the head; OptionError if options contradict each other."""
        if (self.vocab_size is None) == (self.input_size is None):
            raise OptionError(
                "RecurrentModel: expected either vocab_size or input_size, "
                f"got vocab_size {self.vocab_size} and input_size {self.input_size}",
                hint="vocab_size is for inputs of tokens, input_size for inputs of features",
            )
        if self.vocab_size is None and self.embedding_size is not None:
            raise OptionError("RecurrentModel: embedding_size needs vocab_size; features have no embedding")
        output_size = self.vocab_size if self.output_size is None else self.output_size
        if output_size is None:
            raise OptionError("RecurrentModel: input_size needs output_size, the number of outputs of the head")
        for option, default, cell in (("nonlinearity", "tanh", "vanilla"), ("reset_after", True, "gru")):
            if getattr(self, option) != default and self.cell != cell:
                raise OptionError(f"RecurrentModel: {option} needs cell={cell!r}, got cell={self.cell!r}")
        for option in ("dropout", "residual"):
            if getattr(self, option) and self.num_layers == 1:
                raise OptionError(
                    f"RecurrentModel: {option} acts between layers, and num_layers is 1",
                    hint="choose num_layers=2 or more",
                )
        if self.tie_weights and (self.embedding_size != self.width or output_size != self.vocab_size):
            raise OptionError(
                f"RecurrentModel: tie_weights needs embedding_size {self.width}, the length of the head's inputs, and "
                f"output_size equal to vocab_size; got embedding_size {self.embedding_size} and output_size "
                f"{output_size}",
            )
        return output_size


def parameter_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the parameters, in the order of the buffer.

    Names and layouts are those of PyTorch's modules: ``embedding.weight``, ``rnn.weight_ih_l0``, ``rnn.weight_hh_l0``,
    ``rnn.bias_ih_l0``, ``rnn.bias_hh_l0`` (and ``_l0_reverse``, ``_l1``, ...), ``head.weight``, ``head.bias``; with
    ``layer_norm``, ``norms.0.weight`` and ``norms.0.bias``.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    if architecture.embedding_size is not None:
        assert architecture.vocab_size is not None
        shapes["embedding.weight"] = (architecture.vocab_size, architecture.embedding_size)
    width, hidden_size = architecture.width, architecture.hidden_size
    rows = _cell(architecture).gates * hidden_size
    for layer in range(architecture.num_layers):
        columns = _input_size(architecture) if layer == 0 else width
        for suffix in _suffixes(architecture, layer):
            shapes |= {
                f"rnn.weight_ih_{suffix}": (rows, columns),
                f"rnn.weight_hh_{suffix}": (rows, hidden_size),
                f"rnn.bias_ih_{suffix}": (rows,),
                f"rnn.bias_hh_{suffix}": (rows,),
            }
    if architecture.layer_norm:
        for layer in range(architecture.num_layers):
            shapes |= {f"norms.{layer}.weight": (width,), f"norms.{layer}.bias": (width,)}
    assert architecture.output_size is not None
    if not architecture.tie_weights:
        shapes["head.weight"] = (architecture.output_size, width)
    return shapes | {"head.bias": (architecture.output_size,)}


def build_layers(
    architecture: Architecture, parameters: FlatArrays, gradients: FlatArrays
) -> tuple[TokenInput | DenseInput, Stack, Head]:
    """The layers over these parameters and gradients, from the inputs to the head."""
    inputs = _input(architecture, parameters, gradients)
    layers = []
    for number in range(architecture.num_layers):
        directions = [
            Direction(
                name=suffix,
                cell=_cell(architecture),
                parameters=CellParameters.of(parameters, suffix),
                parameter_gradients=CellParameters.of(gradients, suffix),
                backwards=suffix.endswith("_reverse"),
            )
            for suffix in _suffixes(architecture, number)
        ]
        is_last = number == architecture.num_layers - 1
        dropout = Dropout(architecture.dropout, (architecture.seed, number)) if architecture.dropout else None
        weight, bias = f"norms.{number}.weight", f"norms.{number}.bias"
        normalization = (
            LayerNormalization(parameters[weight], parameters[bias], gradients[weight], gradients[bias])
            if architecture.layer_norm
            else None
        )
        layers.append(
            StackedLayer(
                layer=RecurrentLayer(inputs if number == 0 else DenseInput(architecture.width), directions),
                residual=architecture.residual and number > 0,
                normalization=normalization,
                dropout=None if is_last else dropout,
            )
        )
    matrix = "embedding.weight" if architecture.tie_weights else "head.weight"
    head = Head(
        parameters[matrix],
        parameters["head.bias"],
        gradients[matrix],
        gradients["head.bias"],
        last_step=architecture.output == "last",
        forward_size=architecture.hidden_size,
    )
    return inputs, Stack(layers), head


def build_loss(architecture: Architecture) -> Loss:
    """The loss of the head's outputs."""
    return _selected(SoftmaxNll, architecture)() if architecture.loss == "nll" else MeanSquaredError()


def _input(architecture: Architecture, parameters: FlatArrays, gradients: FlatArrays) -> TokenInput | DenseInput:
    if architecture.vocab_size is None:
        return DenseInput(_input_size(architecture))
    kind = _selected(TokenInput, architecture)
    if architecture.embedding_size is None:
        return kind(architecture.vocab_size)
    return kind(architecture.vocab_size, parameters["embedding.weight"], gradients["embedding.weight"])


def _cell(architecture: Architecture) -> Cell:
    size = architecture.hidden_size
    if architecture.cell == "lstm":
        return _selected(LSTMCell, architecture)(size)
    if architecture.cell == "gru":
        return _selected(GRUCell if architecture.reset_after else OriginalGRUCell, architecture)(size)
    return _selected(VanillaCell, architecture)(size, architecture.nonlinearity)


def _selected(kind: type[LayerKind], architecture: Architecture) -> type[LayerKind]:
    """The class, or its version with compiled kernels if these are requested and exist."""
    if architecture.kernels == "numpy":
        return kind
    # Imports numba, which takes time and is optional.
    from rnncallbacks.rnn.kernels.compiled_layers import COMPILED_CLASSES

    return COMPILED_CLASSES.get(kind, kind)


def _input_size(architecture: Architecture) -> int:
    size = architecture.input_size or architecture.embedding_size or architecture.vocab_size
    assert size is not None
    return size


def _suffixes(architecture: Architecture, layer: int) -> list[str]:
    return [f"l{layer}", f"l{layer}_reverse"] if architecture.bidirectional else [f"l{layer}"]
