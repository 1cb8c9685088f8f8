"""The size of the output layer's weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.loss.layer_shapes import hidden_sizes, sums_to_zero

LARGEST_NORM_OF_VECTORS = 3.0
"""Largest norm of vectors none of which are large output weights: five times the typical 0.6; chosen by eye."""


def output_weight_scale(
    params: Mapping[str, Array], classes: int, gradients: Mapping[str, Array] | None = None
) -> float:
    r"""The root mean square of the output weights times the square root of their number of inputs.

    .. math:: \sqrt{H \cdot \operatorname{mean}(W^2)}

    It is the standard deviation of a logit if all H inputs are 1 or -1. A uniform distribution on :math:`\pm 1 /
    \sqrt{H}` has :math:`1 / \sqrt 3`, about 0.6. The output layer is a matrix with ``classes`` rows or columns. Of
    several candidates, such as input weights of the same shape, it is the one whose gradient sums to zero over the
    classes, else the one with the smallest scale. 0 if there is none.

    Example
    -------
    >>> output_weight_scale({"head": np.full((36, 64), 0.5)}, classes=36)
    4.0
    """
    if classes == 1:
        return _scale_of_one_output(params)
    units = hidden_sizes(params).units
    scales: dict[str, float] = {}
    by_gradient: set[str] = set()
    for name, array in params.items():
        if array.ndim != 2 or classes not in array.shape or min(array.shape) < 2:
            continue
        axis = array.shape.index(classes)
        inputs = array.shape[1 - axis]
        scales[name] = float(np.sqrt(inputs * np.mean(np.square(array, dtype=np.float64))))
        gradient = (gradients or {}).get(name)
        if gradient is not None and gradient.shape == array.shape and sums_to_zero(gradient, axis):
            by_gradient.add(name)
    of_hidden = {name for name in scales if units & set(params[name].shape)}
    candidates = by_gradient or of_hidden or scales.keys()
    return min((scales[name] for name in candidates), default=0.0)


def _scale_of_one_output(params: Mapping[str, Array]) -> float:
    """The largest scale of the shortest columns and rows: output weights are as long as the state, not as its gates.

    Those of one value are left out, as biases. Without any, the output weights are one of the vectors as long as the
    state: the largest norm, if it is not large. 0 if there is none.
    """
    columns = [array for array in params.values() if array.ndim == 2 and min(array.shape) == 1 < array.size]
    columns = [array for array in columns if array.std() > 0.0]
    if not columns:
        units = hidden_sizes(params).units
        vectors = [array for array in params.values() if array.ndim == 1 and array.size in units and array.std() > 0.0]
        largest = max((float(np.linalg.norm(array)) for array in vectors), default=0.0)
        return largest if largest <= LARGEST_NORM_OF_VECTORS else 0.0  # a long one may be that of the input weights
    shortest = min((array.size for array in columns), default=0)
    return max((float(np.linalg.norm(array)) for array in columns if array.size == shortest), default=0.0)


def excess_of_weights(weight_scale: float, uniform_loss: float) -> float:
    r"""The largest excess over the uniform loss, in nats, that output weights of a scale s explain.

    Logits with a standard deviation of s have a mean negative log-likelihood of at most :math:`\ln V + s^2 / 2`, and of
    at most about :math:`\ln V + s \sqrt{2 \ln V}`, the largest of V logits.

    Example
    -------
    >>> excess_of_weights(1.0, 8.0), excess_of_weights(10.0, 8.0)
    (0.5, 40.0)
    """
    return min(weight_scale**2 / 2.0, weight_scale * math.sqrt(2.0 * uniform_loss))
