"""Hidden units and output classes of a network, from the shapes and gradients of its parameters."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array

GATE_COUNTS = (3, 4)
"""Gates of a GRU and of an LSTM, whose weights are often one matrix."""


@attrs.frozen(kw_only=True)
class LayerShapeThresholds:
    """Threshold of a gradient that sums to zero."""

    zero_sum_tolerance: float = 1e-4
    """Largest absolute sum of a gradient over the classes, in units of the sum of the absolute values: rounding errors
    of float32. Chosen by eye."""


LAYER_SHAPES = LayerShapeThresholds()


@attrs.frozen
class HiddenSizes:
    """Lengths that belong to the recurrent layers.

    Parameters
    ----------
    units:
        The numbers of hidden units.
    others:
        Lengths of gates, and of a state that is stacked on an input.
    """

    units: frozenset[int]
    others: frozenset[int]


def matrix_shapes(params: Mapping[str, Array]) -> list[tuple[int, ...]]:
    """The shapes of arrays with two axes or more, each longer than 1; vectors, and columns and rows, are left out."""
    return [array.shape for array in params.values() if array.ndim > 1 and min(array.shape) > 1]


def vector_lengths(params: Mapping[str, Array]) -> set[int]:
    """The lengths of vectors, among them columns and rows."""
    return {max(array.shape) for array in params.values() if array.shape and array.size == max(array.shape)}


def hidden_sizes(params: Mapping[str, Array]) -> HiddenSizes:
    """The lengths that belong to recurrent layers, by the shapes of the matrices.

    A recurrent matrix is square, (H, H), or has all gates, (3 H, H) or (4 H, H). Without one of these, a matrix of
    shape (k H, H + X) multiplies the state that is stacked on an input, if another matrix has the length H as well.

    Example
    -------
    >>> hidden_sizes({"cell": np.zeros((96, 24 + 7)), "b": np.zeros(96), "head": np.zeros((6, 24)), "c": np.zeros(6)})
    HiddenSizes(units=frozenset({24}), others=frozenset({96, 31}))
    """
    shapes = matrix_shapes(params)
    square = {shape[0] for shape in shapes if min(shape) == max(shape)}
    if square:
        lengths = {length for shape in shapes for length in shape}
        return HiddenSizes(frozenset(square), frozenset(lengths & {k * size for size in square for k in GATE_COUNTS}))
    vectors = vector_lengths(params)
    gated = {
        (min(shape), max(shape))
        for shape in shapes
        if max(shape) in (k * min(shape) for k in GATE_COUNTS) and (not vectors or max(shape) in vectors)
    }
    # The head of a network with a state of 4 V units also has the shape of gates, but a bias of V.
    certain = {one for one in gated if one[0] not in vectors}
    stacked = set() if certain else _stacked(shapes, vectors)
    gated = certain or (set() if stacked else gated)
    units = {size for size, *_ in (*gated, *stacked)}
    return HiddenSizes(frozenset(units), frozenset(length for _, *rest in (*gated, *stacked) for length in rest))


def has_gates(params: Mapping[str, Array], gradients: Mapping[str, Array]) -> bool:
    """Whether a recurrent layer has gates, by the shapes of the matrices: in one matrix, or in one each.

    If a recurrent matrix is square, a length is that of the classes, not of gates, where the gradients of all biases of
    this length sum to zero.

    Example
    -------
    >>> has_gates({"U": np.zeros((8, 32)), "b": np.zeros(32)}, {"b": np.ones(32)})
    True
    >>> params = {"W": np.zeros((1, 1)), "recurrent": np.zeros((8, 8)), "head": np.zeros((24, 8)), "b": np.zeros(24)}
    >>> has_gates(params, {"b": np.ones(24)}), has_gates(params, {"b": np.repeat([0.5, -0.5], 12)})
    (True, False)
    """
    sizes, shapes = hidden_sizes(params), matrix_shapes(params)
    gates = {k * size for size in sizes.units for k in (2, *GATE_COUNTS)}
    lengths = {length for shape in shapes for length in shape}
    square = [shapes.count((size, size)) for size in sizes.units]
    # Stacked layers without gates have square matrices too, but one input matrix of other lengths.
    inputs = [shapes.count(shape) for shape in shapes if shape[0] != shape[1] and sizes.units & set(shape)]
    gates_apart = max(square, default=0) >= min(GATE_COUNTS)
    if gates_apart and (max(inputs, default=0) >= min(GATE_COUNTS) or max(square) >= 2 * min(GATE_COUNTS)):
        return True
    if any(square):
        others = {name: gradient for name, gradient in gradients.items() if not zero_sum_lengths({name: gradient})}
        gates -= zero_sum_lengths(gradients) - vector_lengths(others)
    return bool(gates & lengths & (vector_lengths(params) | sizes.others))


def zero_sum_lengths(gradients: Mapping[str, Array]) -> set[int]:
    """The lengths of bias gradients that sum to zero, as those of a softmax do over the classes.

    The derivative with respect to the logits is the difference of two distributions, which sums to 0.

    Example
    -------
    >>> zero_sum_lengths({"hidden": np.array([0.5, -0.1]), "output": np.array([0.5, -0.3, -0.2])})
    {3}
    """
    return {
        array.size
        for array in gradients.values()
        if array.ndim and array.size == max(array.shape) > 1 and sums_to_zero(array.reshape(-1), 0)
    }


def sums_to_zero(gradient: Array, axis: int) -> bool:
    """Whether a gradient sums to zero along an axis, and is not zero itself."""
    size = float(np.abs(gradient).sum(dtype=np.float64))
    total = float(np.abs(gradient.sum(axis=axis, dtype=np.float64)).sum())
    return bool(0.0 < size < np.inf and total <= LAYER_SHAPES.zero_sum_tolerance * size)


def _stacked(shapes: list[tuple[int, ...]], vectors: set[int]) -> set[tuple[int, int, int]]:
    """The triples H, k H and H + X of matrices that multiply a stacked state and input."""
    found = set()
    for place, shape in enumerate(shapes):
        others = {length for other, one in enumerate(shapes) if other != place for length in one}
        for gates, length in (shape, shape[::-1]) if len(shape) == 2 else ():
            if vectors and (gates not in vectors or length in vectors):
                continue
            for k in (1, *GATE_COUNTS):
                if gates % k == 0 and length > gates // k and gates // k in others:
                    found.add((gates // k, gates, length))
                    break
    return found
