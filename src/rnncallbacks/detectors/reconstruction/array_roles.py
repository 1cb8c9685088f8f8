"""Which part of a one-layer recurrent network each array of a script holds, as far as its shape allows.

With H units, X inputs, V outputs and G gates, the arrays are input weights (kH, X), recurrent weights (kH, H), or both
stacked (kH, H + X), for k of the gates; biases of kH entries; output weights (V, H), and V output biases. All matrices
may be transposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays import Array

Part: TypeAlias = Literal["input", "recurrent", "bias", "second bias", "output", "output bias"]

PARTS: tuple[Part, ...] = ("input", "recurrent", "bias", "second bias", "output", "output bias")


MOST_STEPS = 4000
"""Steps of the search for assignments of arrays to parts, at most: tens of milliseconds. Chosen by eye."""


@attrs.frozen
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
    """

    name: str
    columns: tuple[int, int] | None = None
    transposed: bool = False

    def take(self, arrays: Mapping[str, Array]) -> Array:
        """The part: a view of shape (units, columns), or a vector for a bias."""
        array = arrays[self.name]
        if self.columns is None:
            return array.reshape(-1)
        if array.ndim == 1:
            return array[:, None]
        return (array.T if self.transposed else array)[:, slice(*self.columns)]


@attrs.frozen
class ArrayRoles:
    """One way to read a script's arrays as a recurrent network; ``blocks`` are in the order of the script's arrays."""

    gates: int
    hidden: int
    inputs: int
    outputs: int
    blocks: Mapping[Part, tuple[ArrayBlock, ...]]

    def take(self, arrays: Mapping[str, Array]) -> dict[Part, Array]:
        """Copies of the parts, stacked in the script's order of gates; parts that it does not have are left out."""
        return {
            part: np.concatenate([block.take(arrays) for block in blocks], axis=0)
            for part, blocks in self.blocks.items()
            if blocks
        }

    def put(self, parts: Mapping[Part, Array], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays with the names and shapes of ``arrays`` that hold these parts."""
        made = {name: np.zeros(arrays[name].shape) for name in {block.name for block in self._every_block()}}
        for part, blocks in self.blocks.items():
            start = 0
            for block in blocks:
                view = block.take(made)
                view[...] = parts[part][start : start + len(view)]
                start += len(view)
        return made

    def names(self, part: Part) -> tuple[str, ...]:
        """The names of the arrays that hold a part."""
        return tuple(block.name for block in self.blocks[part])

    def _every_block(self) -> Iterator[ArrayBlock]:
        for blocks in self.blocks.values():
            yield from blocks


def array_roles(
    arrays: Mapping[str, Array], gates: int, inputs: int | None, outputs: int | None
) -> Iterator[ArrayRoles]:
    """Every way to read all of the arrays as a network with this number of gates.

    ``inputs`` and ``outputs`` are the numbers of features and of outputs, None if they are not known.

    Example
    -------
    >>> arrays = {"Wx": np.zeros((8, 3)), "Wh": np.zeros((8, 8)), "b": np.zeros(8), "Wy": np.zeros((5, 8))}
    >>> found, *others = array_roles(arrays, gates=1, inputs=3, outputs=None)
    >>> found.hidden, found.outputs, found.names("recurrent"), len(others)
    (8, 5, ('Wh',), 0)
    """
    if any(array.ndim not in (1, 2) or not array.size for array in arrays.values()):
        return
    constant = {name for name, array in arrays.items() if (array == array.flat[0]).all()}
    steps = iter(range(MOST_STEPS))
    seen: set[tuple[object, ...]] = set()
    for transposed in (False, True):
        shapes = {name: _shape(array, transposed) for name, array in arrays.items()}
        for output in reversed(shapes):
            rows, hidden = shapes[output]
            if arrays[output].ndim != 2 or outputs not in (None, rows):
                continue
            others = {name: shape for name, shape in shapes.items() if name != output}
            for width in _input_widths(others, hidden, inputs):
                for stacked_first in ("recurrent", "input"):
                    for blocks in _assign(
                        others, gates, hidden, width, rows, transposed, stacked_first, constant, steps
                    ):
                        key = (hidden, width, tuple(sorted(blocks.items())))
                        if key not in seen:
                            seen.add(key)
                            whole = {**blocks, "output": (ArrayBlock(output, (0, hidden), transposed),)}
                            yield ArrayRoles(gates, hidden, width, rows, {part: whole.get(part, ()) for part in PARTS})


def _shape(array: Array, transposed: bool) -> tuple[int, int]:
    rows, columns = array.shape if array.ndim == 2 else (array.size, 1)
    return (columns, rows) if transposed and array.ndim == 2 else (rows, columns)


def _input_widths(shapes: Mapping[str, tuple[int, int]], hidden: int, inputs: int | None) -> list[int]:
    """Numbers of inputs that an input matrix of these shapes may have."""
    if inputs is not None:
        return [inputs]
    widths = {
        width
        for rows, columns in shapes.values()
        if rows % hidden == 0
        for width in (columns, columns - hidden)
        if width > 0
    }
    return sorted(widths)


def _assign(
    shapes: Mapping[str, tuple[int, int]],
    gates: int,
    hidden: int,
    inputs: int,
    outputs: int,
    transposed: bool,
    stacked_first: str,
    constant: set[str],
    steps: Iterator[int],
) -> Iterator[dict[Part, tuple[ArrayBlock, ...]]]:
    """Every assignment of the arrays to the parts other than the output weights."""
    left, right = (hidden, inputs) if stacked_first == "recurrent" else (inputs, hidden)
    other: Part = "input" if stacked_first == "recurrent" else "recurrent"
    names = list(shapes)

    def options(name: str) -> Iterator[dict[Part, ArrayBlock]]:
        found = list(fitting(name))
        biases = [one for one in found if "bias" in next(iter(one))]
        # Weights are drawn at random, biases begin as constants.
        yield from biases if biases and name in constant else sorted(found, key=lambda one: one in biases)

    def fitting(name: str) -> Iterator[dict[Part, ArrayBlock]]:
        rows, columns = shapes[name]
        size = rows * columns
        if 1 in (rows, columns):
            if size % hidden == 0 and size // hidden <= gates:
                yield {"bias": ArrayBlock(name)}
                yield {"second bias": ArrayBlock(name)}
            if size == outputs:
                yield {"output bias": ArrayBlock(name)}
        if rows % hidden or rows // hidden > gates:
            return
        if columns == inputs:
            yield {"input": ArrayBlock(name, (0, inputs), transposed)}
        if columns == hidden:
            yield {"recurrent": ArrayBlock(name, (0, hidden), transposed)}
        if columns == hidden + inputs:
            first: Part = "recurrent" if stacked_first == "recurrent" else "input"
            yield {
                first: ArrayBlock(name, (0, left), transposed),
                other: ArrayBlock(name, (left, left + right), transposed),
            }

    def extend(
        place: int, chosen: dict[Part, tuple[ArrayBlock, ...]], units: dict[Part, int]
    ) -> Iterator[dict[Part, tuple[ArrayBlock, ...]]]:
        if next(steps, None) is None:
            return
        if place == len(names):
            whole = gates * hidden
            complete = units["input"] == units["recurrent"] == whole and units["bias"] in (0, whole)
            second = units["second bias"] in (0, whole) and units["second bias"] <= units["bias"]
            if complete and second:
                yield chosen
            return
        name = names[place]
        rows, columns = shapes[name]
        for option in options(name):
            length = {part: rows if block.columns is not None else rows * columns for part, block in option.items()}
            limits = {part: outputs if part == "output bias" else gates * hidden for part in option}
            if any(units[part] + length[part] > limits[part] for part in option):
                continue
            if "second bias" in option:  # after all of the first, or in turn with them
                alternates = units["second bias"] + length["second bias"] == units["bias"]
                if units["bias"] != gates * hidden and not alternates:
                    continue
            yield from extend(
                place + 1,
                chosen | {part: (*chosen.get(part, ()), block) for part, block in option.items()},
                units | {part: units[part] + length[part] for part in option},
            )

    yield from extend(0, {}, dict.fromkeys(PARTS, 0))
