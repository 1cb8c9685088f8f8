"""The part of a recurrent network that each array of a script may hold, by its shape.

With X inputs, V outputs and G gates, a layer of H units has input weights (kH, X), recurrent weights (kH, H), or both
stacked (kH, H + X), for k of the gates, and biases of kH entries. Above the layers are output weights (V, H) and V
output biases; between them may be a head: one layer of K units with weights (K, H) and biases, under output weights
(V, K). Below them may be an embedding table with a row for each token. A bias may be a column of the matrix beside it,
which belongs to an input of 1. All matrices may be transposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array

Part: TypeAlias = Literal[
    "embedding", "input", "recurrent", "bias", "second bias", "head", "head bias", "output", "output bias"
]
Slot: TypeAlias = tuple[int, Part]
"""A part and its layer, counted from 0. The embedding table and the output weights have the layer 0."""

OUTER_PARTS: tuple[Part, ...] = ("embedding", "head", "head bias", "output", "output bias")
"""The parts that belong to no layer."""


@attrs.frozen(order=True)
class ArrayBlock:
    """Some columns of a script's array, which hold one part of a network.

    Attributes
    ----------
    name:
        The array's name.
    columns:
        The first column and the one after the last, once ``transposed`` was applied; None for a bias.
    transposed:
        Whether the array lies the other way.
    is_bias:
        Whether the one column is a bias.
    """

    name: str
    columns: tuple[int, int] | None = None
    transposed: bool = False
    is_bias: bool = False

    def take(self, arrays: Mapping[str, Array]) -> Array:
        """The part: a view of shape (units, columns), or a vector for a bias."""
        array = arrays[self.name]
        if self.columns is None:
            return array.reshape(-1)
        if array.ndim == 1:
            return array[:, None]
        if self.is_bias:
            return (array.T if self.transposed else array)[:, self.columns[0]]
        return (array.T if self.transposed else array)[:, slice(*self.columns)]


@attrs.frozen
class NetworkSizes:
    """The sizes of a network: of its inputs, layers and outputs.

    Attributes
    ----------
    gates:
        The number of gates of a cell, counting the candidate.
    hidden:
        The number of units of each layer, the lowest first.
    inputs:
        The number of inputs of the lowest layer.
    outputs:
        The number of outputs.
    """

    gates: int
    hidden: tuple[int, ...]
    inputs: int
    outputs: int

    def layer_inputs(self, layer: int) -> int:
        """The number of inputs of a layer."""
        return self.hidden[layer - 1] if layer else self.inputs


def network_may_have(total: int, gates: int, hidden: tuple[int, ...], inputs: int, outputs: int) -> bool:
    """Whether all arrays of a network of these sizes but its output weights and embedding table may have these entries.

    It is asked for every assignment that the search may try.
    """
    weights, below = 0, inputs
    for size in hidden:
        weights += gates * size * (size + below)
        below = size
    biases = total - weights  # of no, one or two biases a layer, with or without one of the outputs
    units = gates * sum(hidden)
    return biases >= 0 and (biases in (0, units, 2 * units) or biases - outputs in (0, units, 2 * units))


@attrs.frozen
class ArrayRoles:
    """One way to read a script's arrays as a recurrent network; ``blocks`` are in the order of the script's arrays.

    ``tokens`` is the number of rows of the embedding table, None if there is none.
    """

    sizes: NetworkSizes
    tokens: int | None
    blocks: Mapping[Slot, tuple[ArrayBlock, ...]]

    @property
    def inputs(self) -> int:
        """The number of different tokens that the network reads, or of features."""
        return self.sizes.inputs if self.tokens is None else self.tokens

    def take(self, arrays: Mapping[str, Array]) -> dict[Slot, Array]:
        """Copies of the parts, stacked in the script's order of gates; parts that it does not have are left out."""
        return {
            slot: np.concatenate([block.take(arrays) for block in blocks], axis=0)
            for slot, blocks in self.blocks.items()
        }

    def put(self, parts: Mapping[Slot, Array], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays with the names and shapes of ``arrays`` that hold these parts."""
        names = {block.name for blocks in self.blocks.values() for block in blocks}
        made = {name: np.zeros(array.shape) for name, array in arrays.items() if name in names}
        for slot, blocks in self.blocks.items():
            start = 0
            for block in blocks:
                view = block.take(made)
                view[...] = parts[slot][start : start + len(view)]
                start += len(view)
        return made

    def names(self, part: Part) -> tuple[str, ...]:
        """The names of the arrays that hold a part, of all layers."""
        return tuple(block.name for slot, blocks in self.blocks.items() if slot[1] == part for block in blocks)
