"""The search for the layer and part of each array of a script, by the shapes of the arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rnncallbacks.detectors.reconstruction.array_roles import ArrayBlock, NetworkSizes, Part, Slot


def assignments(
    shapes: Mapping[str, tuple[int, int]],
    sizes: NetworkSizes,
    transposed: bool,
    stacked_first: str,
    constant: frozenset[str],
    steps: Iterator[int],
) -> Iterator[dict[Slot, tuple[ArrayBlock, ...]]]:
    """Every assignment of arrays to the parts of the layers and to the output bias.

    An array of a part belongs to the lowest layer that has not all of the part: scripts list lower layers first.

    Parameters
    ----------
    shapes:
        The shape of each array, transposed where all are.
    sizes:
        The sizes of the network.
    transposed:
        Whether the arrays were transposed.
    stacked_first:
        Which columns come first in a matrix for state and input together: "recurrent" or "input".
    constant:
        Names of arrays whose entries are all equal.
    steps:
        Ends with the last step that the search may take.

    Example
    -------
    >>> sizes = NetworkSizes(gates=1, hidden=(4, 4), inputs=2, outputs=3)
    >>> shapes = {"W0": (4, 6), "W1": (4, 8), "b0": (4, 1), "b1": (4, 1)}
    >>> [found] = assignments(shapes, sizes, False, "recurrent", frozenset({"b0", "b1"}), iter(range(100)))
    >>> found[1, "input"]
    (ArrayBlock(name='W1', columns=(4, 8), transposed=False, is_bias=False),)
    >>> [block.name for block in found[1, "bias"]]
    ['b1']
    """
    names = list(shapes)
    limits: dict[Slot, int] = {(0, "output bias"): sizes.outputs}
    parts: tuple[Part, ...] = ("input", "recurrent", "bias", "second bias")
    for layer, hidden in enumerate(sizes.hidden):
        limits |= {(layer, part): sizes.gates * hidden for part in parts}

    def options(name: str) -> Iterator[dict[Slot, ArrayBlock]]:
        found = [option for layer in range(len(sizes.hidden)) for option in fitting(name, layer)]
        rows, columns = shapes[name]
        if 1 in (rows, columns) and rows * columns == sizes.outputs:
            found.append({(0, "output bias"): ArrayBlock(name)})
        biases = [one for one in found if "bias" in next(iter(one))[1]]
        # Weights are drawn at random, biases begin as constants.
        yield from biases if biases and name in constant else sorted(found, key=lambda one: one in biases)

    def fitting(name: str, layer: int) -> Iterator[dict[Slot, ArrayBlock]]:
        rows, columns = shapes[name]
        hidden, inputs = sizes.hidden[layer], sizes.layer_inputs(layer)
        size = rows * columns
        if 1 in (rows, columns) and size % hidden == 0 and size // hidden <= sizes.gates:
            yield {(layer, "bias"): ArrayBlock(name)}
            yield {(layer, "second bias"): ArrayBlock(name)}
        if rows % hidden or rows // hidden > sizes.gates:
            return
        if columns == inputs:
            yield {(layer, "input"): ArrayBlock(name, (0, inputs), transposed)}
        if columns == hidden:
            yield {(layer, "recurrent"): ArrayBlock(name, (0, hidden), transposed)}
        # A column more is a bias, whose input of 1 comes after or before the others.
        for ones, first in ((0, 0), (1, 0), (1, 1)):
            place = 0 if first else columns - 1
            bias: dict[Slot, ArrayBlock] = {}
            if ones:
                bias = {(layer, "bias"): ArrayBlock(name, (place, place + 1), transposed, is_bias=True)}
            if ones and columns == inputs + 1:
                yield {(layer, "input"): ArrayBlock(name, (first, first + inputs), transposed), **bias}
            if columns == hidden + inputs + ones:
                start = first + (hidden if stacked_first == "recurrent" else 0)
                other = first + (0 if stacked_first == "recurrent" else inputs)
                yield {
                    (layer, "input"): ArrayBlock(name, (start, start + inputs), transposed),
                    (layer, "recurrent"): ArrayBlock(name, (other, other + hidden), transposed),
                    **bias,
                }

    def is_complete(units: Mapping[Slot, int]) -> bool:
        layers = range(len(sizes.hidden))

        def shares(part: Part) -> set[float]:
            return {units[layer, part] / limits[layer, part] for layer in layers}

        weights = shares("input") == shares("recurrent") == {1.0}
        biases = max(shares("second bias")) <= min(shares("bias"))
        return weights and biases and all(shares(part) in ({0.0}, {1.0}) for part in parts[2:])

    def fits(slot: Slot, length: int, units: Mapping[Slot, int]) -> bool:
        layer, part = slot
        if units[slot] + length > limits[slot]:
            return False
        if layer and units[layer - 1, part] < limits[layer - 1, part]:
            return False
        if part != "second bias":
            return True
        # After all of the first, or in turn with them.
        first = units[layer, "bias"]
        return first == limits[layer, "bias"] or units[slot] + length == first

    def extend(
        place: int, chosen: dict[Slot, tuple[ArrayBlock, ...]], units: dict[Slot, int]
    ) -> Iterator[dict[Slot, tuple[ArrayBlock, ...]]]:
        if next(steps, None) is None:
            return
        if place == len(names):
            if is_complete(units):
                yield chosen
            return
        rows, columns = shapes[names[place]]
        for option in options(names[place]):
            length = {slot: rows if block.columns is not None else rows * columns for slot, block in option.items()}
            if all(fits(slot, length[slot], units) for slot in option):
                yield from extend(
                    place + 1,
                    chosen | {slot: (*chosen.get(slot, ()), block) for slot, block in option.items()},
                    units | {slot: units[slot] + length[slot] for slot in option},
                )

    yield from extend(0, {}, dict.fromkeys(limits, 0))
