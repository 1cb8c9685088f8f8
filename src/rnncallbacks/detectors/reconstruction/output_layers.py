"""The arrays of a script that may lie above its recurrent layers: output weights, and a head below them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import attrs

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.reconstruction.array_roles import ArrayBlock, Slot


@attrs.frozen(slots=False)
class OutputLayers:
    """The blocks of the output weights and of a head, the number of units below them, and that of outputs."""

    blocks: Mapping[Slot, tuple[ArrayBlock, ...]]
    hidden: int
    outputs: int

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the arrays."""
        return frozenset(block.name for blocks in self.blocks.values() for block in blocks)


def output_layers(
    arrays: Mapping[str, Array], outputs: int | None, transposed: bool, *, headed: bool
) -> Iterator[OutputLayers]:
    """Every choice of output weights, and of a head if ``headed``; those whose bias is a column come last.

    ``outputs`` is the number of outputs, None if it is not known.

    Example
    -------
    >>> import numpy as np
    >>> arrays = {"Wh": np.zeros((8, 8)), "Wd": np.zeros((6, 8)), "bd": np.zeros(6), "Wy": np.zeros((3, 6))}
    >>> [sorted(found.names) for found in output_layers(arrays, 3, False, headed=True)]
    [['Wd', 'Wy', 'bd'], ['Wd', 'Wy']]
    """
    for with_column in (False, True):
        for output in reversed(list(arrays)):
            rows, columns = shape_of(arrays[output], transposed)
            if arrays[output].ndim != 2 or outputs not in (None, rows):
                continue
            for blocks, below in _weights("output", output, columns, transposed, with_column):
                if not headed:
                    yield OutputLayers(blocks, below, rows)
                    continue
                for head, hidden in _heads(arrays, output, below, transposed, with_column):
                    yield OutputLayers({**blocks, **head}, hidden, rows)


def shape_of(array: Array, transposed: bool) -> tuple[int, int]:
    """The rows and columns of an array; a vector has one column."""
    rows, columns = array.shape if array.ndim == 2 else (array.size, 1)
    return (columns, rows) if transposed and array.ndim == 2 else (rows, columns)


def _weights(
    part: str, name: str, columns: int, transposed: bool, with_column: bool
) -> Iterator[tuple[dict[Slot, tuple[ArrayBlock, ...]], int]]:
    """The blocks of a matrix of this part, and the number of units below it."""
    weights: Slot = (0, "output") if part == "output" else (0, "head")
    bias: Slot = (0, "output bias") if part == "output" else (0, "head bias")
    if not with_column:
        yield {weights: (ArrayBlock(name, (0, columns), transposed),)}, columns
    elif columns > 2:
        for start, place in ((0, columns - 1), (1, 0)):
            yield (
                {
                    weights: (ArrayBlock(name, (start, start + columns - 1), transposed),),
                    bias: (ArrayBlock(name, (place, place + 1), transposed, is_bias=True),),
                },
                columns - 1,
            )


def _heads(
    arrays: Mapping[str, Array], output: str, units: int, transposed: bool, with_column: bool
) -> Iterator[tuple[dict[Slot, tuple[ArrayBlock, ...]], int]]:
    """The blocks of each head with this number of units, and the number of units below it."""
    for name in reversed(list(arrays)):
        rows, columns = shape_of(arrays[name], transposed)
        if name == output or arrays[name].ndim != 2 or rows != units:
            continue
        for blocks, hidden in _weights("head", name, columns, transposed, with_column):
            if not with_column:
                for bias in reversed(list(arrays)):
                    if bias not in (name, output) and arrays[bias].size == max(arrays[bias].shape) == units:
                        yield {**blocks, (0, "head bias"): (ArrayBlock(bias),)}, hidden
            yield blocks, hidden
