"""The search for every way to read a script's arrays as a recurrent network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import TypeAlias

import attrs

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.reconstruction.array_roles import (
    ArrayBlock,
    ArrayRoles,
    NetworkSizes,
    Slot,
    network_may_have,
)
from rnncallbacks.detectors.reconstruction.output_layers import output_layers, shape_of
from rnncallbacks.detectors.reconstruction.role_assignment import assignments

Blocks: TypeAlias = dict[Slot, tuple[ArrayBlock, ...]]
"""The arrays, or parts of arrays, of each part of a network."""

MOST_STEPS = 4000
"""Steps of the search for assignments of arrays to parts, at most: tens of milliseconds. Chosen by eye."""


def array_roles(
    arrays: Mapping[str, Array],
    gates: int,
    inputs: int | None,
    outputs: int | None,
    *,
    layers: int = 1,
    embedded: bool = False,
    headed: bool = False,
    fewest_inputs: int = 1,
    may_be_outputs: Callable[[int], bool] = bool,
) -> Iterator[ArrayRoles]:
    """Every way to read all of the arrays as a network with these numbers of gates and layers.

    ``inputs`` and ``outputs`` are the numbers of features and of outputs, None if they are not known; ``embedded`` says
    whether tokens are looked up in an embedding table, ``headed`` whether a layer of units without recurrence lies
    between the states and the outputs. ``fewest_inputs`` is the smallest number of different tokens or of features, and
    ``may_be_outputs`` says whether the targets allow a number of outputs. All matrices have one orientation, the output
    matrix any, and so has, last, the input matrix of tokens: scripts look up its rows, and multiply columns by others.

    Example
    -------
    >>> import numpy as np
    >>> arrays = {"Wx": np.zeros((8, 3)), "Wh": np.zeros((8, 8)), "b": np.zeros(8), "Wy": np.zeros((5, 8))}
    >>> found, *others = array_roles(arrays, gates=1, inputs=3, outputs=None)
    >>> found.sizes.hidden, found.sizes.outputs, found.names("recurrent"), len(others)
    ((8,), 5, ('Wh',), 0)
    """
    if any(array.ndim not in (1, 2) or not array.size for array in arrays.values()) or len(arrays) <= layers:
        return
    constant = frozenset(name for name, array in arrays.items() if bool((array == array.flat[0]).all()))
    known = _KnownParts(gates, layers, outputs, headed, may_be_outputs, constant)
    steps = iter(range(MOST_STEPS))
    seen: set[tuple[object, ...]] = set()
    for embedding, tokens, width in _embeddings(arrays, constant) if embedded else [(None, None, inputs)]:
        if tokens is not None and tokens < fewest_inputs:
            continue
        left = {name: array for name, array in arrays.items() if embedding is None or name != embedding.name}
        tables = [name for name, array in left.items() if array.ndim == 2] if inputs is None and not embedded else []
        fewest = fewest_inputs if embedding is None else 1
        for table in ("", *tables):
            for sizes, blocks in _layers_and_outputs(left, known, table, width, fewest, steps):
                whole: Blocks = blocks if embedding is None else {**blocks, (0, "embedding"): (embedding,)}
                key = (sizes, tuple(sorted(whole.items())))
                if key not in seen:
                    seen.add(key)
                    yield ArrayRoles(sizes, tokens, whole)


@attrs.frozen
class _KnownParts:
    """What is known of the network before the search, as :func:`array_roles` has it, and the constant arrays."""

    gates: int
    layers: int
    outputs: int | None
    headed: bool
    may_be_outputs: Callable[[int], bool]
    constant: frozenset[str]


def _layers_and_outputs(
    arrays: Mapping[str, Array],
    known: _KnownParts,
    table: str,
    inputs: int | None,
    fewest_inputs: int,
    steps: Iterator[int],
) -> Iterator[tuple[NetworkSizes, Blocks]]:
    """Every way to read the arrays as recurrent layers and what lies above them, ``table`` in the other orientation."""
    for transposed, output_transposed in ((False, False), (True, True), (False, True), (True, False)):
        shapes = {name: shape_of(array, transposed != (name == table)) for name, array in arrays.items()}
        recurrent = _recurrent_sizes(shapes, known.gates)
        for above in output_layers(arrays, known.outputs, output_transposed, headed=known.headed):
            if above.hidden not in recurrent or not known.may_be_outputs(above.outputs):
                continue
            others = {name: shape for name, shape in shapes.items() if name not in above.names}
            units = (recurrent, above.hidden)
            entries = tuple(others.values())
            for sizes in _possible_sizes(entries, known.gates, units, inputs, above.outputs, known.layers):
                if sizes.inputs < fewest_inputs:
                    continue
                for found in _below(above.blocks, others, sizes, transposed, known.constant, table, steps):
                    yield sizes, {**found, **above.blocks}


def _below(
    above: Mapping[Slot, tuple[ArrayBlock, ...]],
    shapes: Mapping[str, tuple[int, int]],
    sizes: NetworkSizes,
    transposed: bool,
    constant: frozenset[str],
    table: str,
    steps: Iterator[int],
) -> Iterator[Blocks]:
    """Every way to read arrays of these shapes as the layers of these sizes, with at most one output bias in all."""
    for first in ("recurrent", "input"):
        for found in assignments(shapes, sizes, transposed, first, constant, steps):
            twice = (0, "output bias") in found and (0, "output bias") in above
            blocks = None if twice else _with_turned_table(found, table)
            if blocks is not None:
                yield blocks


def _with_turned_table(blocks: Blocks, table: str) -> Blocks | None:
    """The blocks with the other orientation of a matrix; None if it is more or less than the lowest input matrix.

    The same blocks if ``table`` is empty.
    """
    if not table:
        return blocks
    uses = [slot for slot, parts in blocks.items() if any(part.name == table for part in parts)]
    if uses != [(0, "input")] or len(blocks[0, "input"]) > 1:
        return None
    [block] = blocks[0, "input"]
    return {**blocks, (0, "input"): (attrs.evolve(block, transposed=not block.transposed),)}


def _embeddings(arrays: Mapping[str, Array], constant: frozenset[str]) -> Iterator[tuple[ArrayBlock, int, int]]:
    """The arrays that may be an embedding table, with their numbers of tokens and of columns."""
    for name, array in arrays.items():
        if array.ndim == 2 and name not in constant:
            for transposed in (False, True):
                tokens, width = shape_of(array, transposed)
                yield ArrayBlock(name, (0, width), transposed), tokens, width


def _recurrent_sizes(shapes: Mapping[str, tuple[int, int]], gates: int) -> frozenset[int]:
    """The numbers of units that a recurrent matrix of these shapes may have, for one or more of the gates."""
    lengths = {length for shape in shapes.values() for length in shape}
    return frozenset(
        size
        for size in lengths
        if any(rows in range(size, gates * size + 1, size) and columns >= size for rows, columns in shapes.values())
    )


# A search asks for the same sizes in each of its passes, and so does the next search over the same arrays.
@lru_cache(2**12)
def _possible_sizes(
    shapes: tuple[tuple[int, int], ...],
    gates: int,
    units_of_layers: tuple[frozenset[int], int],
    inputs: int | None,
    outputs: int,
    layers: int,
) -> tuple[NetworkSizes, ...]:
    """The sizes of a network with the entries of these shapes; those whose layers have one size come first.

    ``units_of_layers`` are the numbers of units that layers may have, and that of the uppermost one.
    """
    recurrent, hidden = units_of_layers
    total = sum(one * other for one, other in shapes)
    lengths = {length for shape in shapes for length in shape if length in recurrent}
    return tuple(
        NetworkSizes(gates, units, width, outputs)
        for lower in product(sorted(lengths, key=lambda length: length != hidden), repeat=layers - 1)
        for units in [(*lower, hidden)]
        for width in _input_widths(shapes, units[0], inputs)
        if network_may_have(total, gates, units, width, outputs)
    )


def _input_widths(shapes: tuple[tuple[int, int], ...], hidden: int, inputs: int | None) -> list[int]:
    """Numbers of inputs that an input matrix of these shapes may have."""
    if inputs is not None:
        return [inputs]
    widths = {
        width for rows, columns in shapes if rows % hidden == 0 for width in (columns, columns - hidden) if width > 0
    }
    # One less, last, where a column is a bias.
    return [*sorted(widths), *sorted({width - 1 for width in widths if width > 1} - widths)]
