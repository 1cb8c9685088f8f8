r"""The entropy of the predictions, from the loss and the output layer's gradient alone (RNN301 and RNN303).

The cross-entropy of logits z with a softmax p is :math:`L = H(p) + (p - y) \cdot z`, where H is the entropy of p. Its
gradient with respect to the logits is :math:`p - y`, and :math:`z = W h + b`, so that the second term is the product of
the output layer's parameters with their gradients:

.. math:: H = L - \langle W, g_W \rangle - \langle b, g_b \rangle.

A mean over any number of positions has the mean entropy, between 0 and :math:`\ln V`; a sum of n has up to :math:`n \ln
V`. The absolute values of a mean's :math:`g_b` add up to at most 2. Neither data, logits nor a closure are needed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array, parameters_of
from rnncallbacks.detectors.loss.initial_loss_findings import large_initial_weights, summed
from rnncallbacks.detectors.loss.layer_shapes import sums_to_zero, vector_lengths, zero_sum_lengths
from rnncallbacks.detectors.loss.output_weights import output_weight_scale


@attrs.frozen(kw_only=True)
class PredictionEntropyThresholds:
    """Thresholds of the first batch. Chosen by eye, with the distance to the bounds that the equations give."""

    summed_entropy: float = 3.0
    """Entropy in units of ln V, from which the loss is a sum: that of a mean is at most 1."""
    summed_length: float = 2.5
    """Sum of the absolute values of the output bias's gradient, at the same time: that of a mean is at most 2."""
    largest_entropy: float = 1.001
    """Largest entropy of a mean in units of ln V: rounding errors of float32."""
    high_loss: float = 2.0
    """First loss in units of ln V that is too high, where the entropy is that of a mean."""
    largest_chance: float = 3.0
    """Scales of the output weights, in nats, by which it may be higher by chance: where most targets are of one class,
    its logit decides alone."""
    large_weight_scale: float = 3.0
    """Scale of the output weights from which they are large, and explain it: five times the typical 0.6."""
    smallest_entropy: float = 0.8
    """Smallest entropy of an untrained network in units of ln V. For squared errors, the same difference is 0.72 at
    most: (V - 1) / V of two classes. Healthy runs with two unequal classes measured 0.85 and more."""


PREDICTION_ENTROPY = PredictionEntropyThresholds()


def check_entropy(loss: float, params: Mapping[str, Array], gradients: Mapping[str, Array]) -> Finding | None:
    """Check the first loss of an untrained network by the entropy of its predictions.

    The output layer is the one matrix, and the one vector, whose gradients sum to zero over the classes. None if there
    is no such layer, or nothing is wrong.

    Example
    -------
    >>> params = {"head": np.zeros((5, 8)), "bias": np.zeros(8)}
    >>> gradients = {"head": np.tile([1.0, -1.0], (5, 4)), "bias": np.tile([1.0, -1.0], 4)}
    >>> print(check_entropy(20 * math.log(8), params, gradients).message)
    the loss is 20 times a mean: the first loss, 41.59, minus the product of the output layer with its gradient, 0, is
    the entropy of the predictions, 20 x ln 8, and the gradient of the output bias adds up to 8 (a mean has at most 1 x
    ln 8, and 2)
    """
    pairs = parameters_of(gradients, params)
    predictions = _predictions(loss, pairs, gradients)
    if predictions is None:
        return None
    product, entropy, classes, length = predictions
    uniform, limits = math.log(classes), PREDICTION_ENTROPY
    if not math.isfinite(entropy + length):
        return None
    if entropy >= limits.summed_entropy and length >= limits.summed_length:
        terms = float(round(entropy))
        arithmetic = (
            f"the first loss, {loss:.4g}, minus the product of the output layer with its gradient, {product:.3g}, is "
            f"the entropy of the predictions, {entropy:.4g} x ln {classes}, and the gradient of the output bias adds "
            f"up to {length:.3g} (a mean has at most 1 x ln {classes}, and 2)"
        )
        numbers = {"loss": loss, "expected": uniform, "ratio": entropy, "factor": terms}
        return summed(terms, "", arithmetic, numbers)
    scale = output_weight_scale(pairs, classes, gradients)
    chance = 0.0 if scale > limits.large_weight_scale else limits.largest_chance * scale
    if loss >= limits.high_loss * uniform + chance and 0.0 <= entropy <= limits.largest_entropy:
        predicted = f"the entropy of the predictions is {entropy:.2g} of that"
        return large_initial_weights(loss, uniform, scale, f"ln {classes}; {predicted}")
    return None


def is_of_softmax(loss: float, params: Mapping[str, Array], gradients: Mapping[str, Array]) -> bool:
    """Whether a loss below ln V is a mean negative log-likelihood of an untrained network: the entropy is near ln V.

    Example
    -------
    >>> params = {"head": np.zeros((5, 2)), "bias": np.array([0.4, -0.4])}
    >>> gradients = {"head": np.tile([-0.31, 0.31], (5, 1)), "bias": np.array([-0.31, 0.31])}
    >>> is_of_softmax(0.371, params, gradients), is_of_softmax(0.191, params, gradients)
    (True, False)
    """
    predictions = _predictions(loss, parameters_of(gradients, params), gradients)
    if predictions is None:
        return False
    return PREDICTION_ENTROPY.smallest_entropy <= predictions.entropy <= PREDICTION_ENTROPY.largest_entropy


def has_no_softmax(gradients: Mapping[str, Array], classes: Collection[int]) -> bool:
    """Whether output biases, one for each of that many classes, have gradients that do not sum to zero.

    A squared error of sigmoids has the same loss of two classes as one of a softmax.

    Example
    -------
    >>> has_no_softmax({"bias": np.array([0.2, 0.1])}, (2,)), has_no_softmax({"bias": np.array([0.2, -0.2])}, (2,))
    (True, False)
    """
    lengths = vector_lengths(gradients) & set(classes)
    return bool(lengths) and not lengths & zero_sum_lengths(gradients)


class _Predictions(NamedTuple):
    product: float  # of the output layer with its gradient
    entropy: float  # in units of ln V
    classes: int
    length: float  # sum of the absolute values of the output bias's gradient


def _predictions(loss: float, pairs: Mapping[str, Array], gradients: Mapping[str, Array]) -> _Predictions | None:
    """What the loss and the output layer's gradient say of the predictions; None if that layer is not known."""
    layer = _output_layer(pairs, gradients)
    if layer is None:
        return None
    product = sum(float(np.vdot(pairs[name], gradients[name])) for name in layer)
    bias = gradients[layer.bias]
    return _Predictions(product, (loss - product) / math.log(bias.size), bias.size, float(np.abs(bias).sum()))


class _OutputLayer(NamedTuple):
    weights: str
    bias: str


def _output_layer(names: Collection[str], gradients: Mapping[str, Array]) -> _OutputLayer | None:
    """The one matrix, and the one vector, whose gradients sum to zero over the classes; None if they are not known."""
    layers = [
        (name, axis)
        for name in names
        if gradients[name].ndim == 2 and min(gradients[name].shape) > 1
        for axis in (0, 1)
        if sums_to_zero(gradients[name], axis)
    ]
    if len(layers) != 1:
        return None
    ((weights, axis),) = layers
    biases = [name for name in names if _is_bias(gradients[name], gradients[weights].shape[axis])]
    return _OutputLayer(weights, biases[0]) if len(biases) == 1 else None


def _is_bias(gradient: Array, classes: int) -> bool:
    return gradient.size == classes == max(gradient.shape or (1,)) and sums_to_zero(gradient.reshape(-1), 0)
