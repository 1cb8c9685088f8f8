"""From the options of a model to its parameters and layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rnncallbacks.errors import OptionError
from rnncallbacks.rnn.cells import Cell, CellArrays
from rnncallbacks.rnn.checks import check_numba
from rnncallbacks.rnn.dropout import Dropout
from rnncallbacks.rnn.gru import GRUCell, OriginalGRUCell
from rnncallbacks.rnn.inputs import DenseInput, TokenInput
from rnncallbacks.rnn.layer_norm import LayerNorm
from rnncallbacks.rnn.layers import Direction, Level, RecurrentLayer, Stack
from rnncallbacks.rnn.losses import MeanSquaredError, SoftmaxNll
from rnncallbacks.rnn.lstm import LSTMCell
from rnncallbacks.rnn.vanilla import VanillaCell

if TYPE_CHECKING:
    from rnncallbacks.rnn.model import RecurrentModel

Part = TypeVar("Part")


def check_options(model: RecurrentModel) -> int:
    """Refuse options that do not go together; the number of outputs of the head.

    Raises
    ------
    OptionError
        Two options do not go together; the message names both. Or kernels are to be compiled without numba.
    """
    if model.kernels == "numba":
        check_numba("RecurrentModel", model.dtype)
    if (model.vocab_size is None) == (model.input_size is None):
        raise OptionError(
            "RecurrentModel: expected either vocab_size or input_size, "
            f"got vocab_size {model.vocab_size} and input_size {model.input_size}",
            hint="vocab_size is for inputs of tokens, input_size for inputs of features",
        )
    if model.vocab_size is None and model.embedding_size is not None:
        raise OptionError("RecurrentModel: embedding_size belongs to vocab_size, and features have none")
    outputs = model.vocab_size if model.output_size is None else model.output_size
    if outputs is None:
        raise OptionError("RecurrentModel: input_size needs output_size, the number of outputs of the head")
    for option, default, cell in (("nonlinearity", "tanh", "vanilla"), ("reset_after", True, "gru")):
        if getattr(model, option) != default and model.cell != cell:
            raise OptionError(f"RecurrentModel: {option} belongs to cell={cell!r}, got cell={model.cell!r}")
    for option in ("dropout", "residual"):
        if getattr(model, option) and model.num_layers == 1:
            raise OptionError(
                f"RecurrentModel: {option} is for what a layer hands to the layer above, and num_layers is 1",
                hint="choose num_layers=2 or more",
            )
    if model.tie_weights and (model.embedding_size != _width(model) or outputs != model.vocab_size):
        raise OptionError(
            f"RecurrentModel: tie_weights needs embedding_size {_width(model)}, as long as the head's inputs, and "
            f"output_size equal to vocab_size; got embedding_size {model.embedding_size} and output_size {outputs}",
        )
    return outputs


def parameter_shapes(model: RecurrentModel) -> dict[str, tuple[int, ...]]:
    """Names of the parameters, as in PyTorch, to their shapes, in the order in which they lie."""
    shapes: dict[str, tuple[int, ...]] = {}
    if model.embedding_size is not None:
        assert model.vocab_size is not None
        shapes["embedding.weight"] = (model.vocab_size, model.embedding_size)
    rows = _cell(model).gates * model.hidden_size
    for layer in range(model.num_layers):
        columns = _input_size(model) if layer == 0 else _width(model)
        for suffix in _suffixes(model, layer):
            shapes |= {
                f"rnn.weight_ih_{suffix}": (rows, columns),
                f"rnn.weight_hh_{suffix}": (rows, model.hidden_size),
                f"rnn.bias_ih_{suffix}": (rows,),
                f"rnn.bias_hh_{suffix}": (rows,),
            }
    if model.layer_norm:
        for layer in range(model.num_layers):
            shapes |= {f"norms.{layer}.weight": (_width(model),), f"norms.{layer}.bias": (_width(model),)}
    assert model.output_size is not None
    if not model.tie_weights:
        shapes["head.weight"] = (model.output_size, _width(model))
    return shapes | {"head.bias": (model.output_size,)}


def build(model: RecurrentModel) -> tuple[TokenInput | DenseInput, Stack]:
    """The input of the first layer, and all layers, over the model's parameters and gradients."""
    parameters, gradients = model.parameters, model.gradients
    lowest: TokenInput | DenseInput
    if model.vocab_size is None:
        lowest = DenseInput(_input_size(model))
    elif model.embedding_size is None:
        lowest = _chosen(TokenInput, model)(model.vocab_size)
    else:
        embedding = (parameters["embedding.weight"], gradients["embedding.weight"])
        lowest = _chosen(TokenInput, model)(model.vocab_size, *embedding)
    levels = []
    for number in range(model.num_layers):
        directions = [
            Direction(
                name=suffix,
                cell=_cell(model),
                arrays=CellArrays.of(parameters, suffix),
                written=CellArrays.of(gradients, suffix),
                backwards=suffix.endswith("_reverse"),
            )
            for suffix in _suffixes(model, number)
        ]
        levels.append(
            Level(
                layer=RecurrentLayer(lowest if number == 0 else DenseInput(_width(model)), directions),
                residual=model.residual and number > 0,
                norm=_norm(model, number) if model.layer_norm else None,
                dropout=Dropout(model.dropout, (model.seed, number))
                if model.dropout and number < model.num_layers - 1
                else None,
            )
        )
    return lowest, Stack(levels)


def loss_of(model: RecurrentModel) -> SoftmaxNll | MeanSquaredError:
    """The loss over the outputs of the head."""
    return _chosen(SoftmaxNll, model)() if model.loss == "nll" else MeanSquaredError()


def _cell(model: RecurrentModel) -> Cell:
    if model.cell == "lstm":
        return _chosen(LSTMCell, model)(model.hidden_size)
    if model.cell == "gru":
        return _chosen(GRUCell if model.reset_after else OriginalGRUCell, model)(model.hidden_size)
    return _chosen(VanillaCell, model)(model.hidden_size, model.nonlinearity)


def _chosen(kind: type[Part], model: RecurrentModel) -> type[Part]:
    """The class, or the one in its place whose kernels are compiled, where there is one."""
    if model.kernels == "numpy":
        return kind
    # Imports numba, which takes its time and may not be installed.
    from rnncallbacks.rnn.compiled import COMPILED

    return COMPILED.get(kind, kind)


def _norm(model: RecurrentModel, number: int) -> LayerNorm:
    weight, bias = f"norms.{number}.weight", f"norms.{number}.bias"
    return LayerNorm(model.parameters[weight], model.parameters[bias], model.gradients[weight], model.gradients[bias])


def _input_size(model: RecurrentModel) -> int:
    size = model.input_size or model.embedding_size or model.vocab_size
    assert size is not None
    return size


def _width(model: RecurrentModel) -> int:
    """The length of what each layer hands on."""
    return model.hidden_size * (2 if model.bidirectional else 1)


def _suffixes(model: RecurrentModel, layer: int) -> list[str]:
    return [f"l{layer}", f"l{layer}_reverse"] if model.bidirectional else [f"l{layer}"]
