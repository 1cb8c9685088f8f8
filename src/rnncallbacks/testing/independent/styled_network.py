"""The interface of the networks of the three coding styles, so that one script trains all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array

CellName: TypeAlias = Literal["tanh", "lstm", "gru"]
Role: TypeAlias = Literal["input", "recurrent", "bias", "output", "output bias"]

State: TypeAlias = Array | tuple[Array, Array]
"""The hidden state, or hidden and cell state of an LSTM."""


def hidden_part(state: State) -> Array:
    """The hidden state without the cell state."""
    return state[0] if isinstance(state, tuple) else state


def transpose(matrix: Array) -> Array:
    """The matrix by which a gradient goes from a gate back to the hidden state."""
    return np.transpose(matrix)


@attrs.frozen
class Backpropagation:
    """The path of a network's backward pass through time; the defaults are correct.

    Attributes
    ----------
    recurrent:
        Makes the matrix that takes a gradient back to the hidden state from each square recurrent matrix.
    wraps:
        Whether the first time step reads the last hidden state as its previous one, as ``hs[t - 1]`` does at t = 0.
    """

    recurrent: Callable[[Array], Array] = transpose
    wraps: bool = False


CORRECT_BACKPROPAGATION = Backpropagation()


@attrs.frozen
class ForwardPass:
    """The result of a forward pass.

    Attributes
    ----------
    outputs:
        Shape (time, batch, outputs).
    states:
        One for each time step, after the entering one, in the network's own layout.
    cache:
        The values that the backward pass reads.
    """

    outputs: Array
    states: list[Any]
    cache: Any


class StyledNetwork(Protocol):
    """A network with the containers, layouts and names of one coding style.

    Arrays that the methods take and return are in the layout (time, batch, features); values passed to the run are in
    the style's own layout.
    """

    params: Any
    representatives: Mapping[Role, str]
    """The path of one whole array of each role."""

    def zero_state(self, batch: int) -> Any: ...

    def blocks(self, arrays: Mapping[str, Array]) -> Mapping[Role, list[Array]]:
        """Views of the parameters or gradients by role; ``arrays`` are by path, see ``named_arrays``."""
        ...

    def forward_pass(self, x: Array, state: Any) -> ForwardPass: ...

    def backward_pass(self, forward: ForwardPass, errors: Array, backpropagation: Backpropagation) -> Any:
        """The gradients in a container like ``params``; ``errors`` are dL/d(outputs)."""
        ...

    def update(self, arrays: Mapping[str, Array]) -> None:
        """Take new values, by path."""
        ...

    def shown_batch(self, x: Array, y: Array, labels_per_step: bool) -> Any:
        """A batch as the script's loader yields it."""
        ...

    def shown_outputs(self, outputs: Array) -> Any:
        """The outputs as the script has them."""
        ...
