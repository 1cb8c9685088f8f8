"""Kernels outside of the recurrence: the loss, the gradient of tokens, and the optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncallbacks.arrays.containers import BoolArray, FloatArray
from rnncallbacks.rnn.kernels.compilation import compiled, compiled_sum, float32_constants
from rnncallbacks.rnn.validation import IntArray

_ZERO, _ONE = float32_constants(0.0, 1.0)

_LOG2_E, _LN2_HIGH, _LN2_LOW, _LEAST = float32_constants(1.44269504088896341, 0.693359375, -2.12194440e-4, -87.0)
_E7, _E6, _E5, _E4, _E3, _E2 = float32_constants(
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1
)
# Adding this to a small number leaves the nearest integer in the lowest bits of the sum.
(_ROUNDER,) = float32_constants(1.5 * 2**23)
_ROUNDER_BITS = np.int32(_ROUNDER.view(np.int32))
_BIAS, _MANTISSA = np.int32(127), np.int32(23)


@compiled
def _exp(x: Any) -> Any:
    """The exponential of x up to 88, within 2 ulp; 0 below -87. Source: Moshier, Cephes library, ``expf``."""
    # The cast matters: to numba, a sum of two int32 is an int64, which cannot be converted to float32 in vectors.
    power = np.int32(np.float32(x * _LOG2_E + _ROUNDER).view(np.int32) - _ROUNDER_BITS)
    r = x - np.float32(power) * _LN2_HIGH - np.float32(power) * _LN2_LOW
    fraction = (((((_E7 * r + _E6) * r + _E5) * r + _E4) * r + _E3) * r + _E2) * r * r + r + _ONE
    value = fraction * np.int32((power + _BIAS) << _MANTISSA).view(np.float32)
    return _ZERO if x < _LEAST else value


# Magnitude of a logit up to which no shift is needed. The same as in rnncallbacks.rnn.layers.losses.
(_MAX_UNSHIFTED_LOGIT,) = float32_constants(60.0)


@compiled_sum
def softmax(logits: FloatArray, targets: IntArray, totals: FloatArray, target_logits: FloatArray) -> None:
    """Turn logits (positions, classes) into exponentials, and write their sums and the logits of the targets.

    If any logit is large, the largest of its position is first subtracted.
    """
    flat = logits.ravel()
    large = 0
    for k in range(flat.size):
        large += not (-_MAX_UNSHIFTED_LOGIT < flat[k] < _MAX_UNSHIFTED_LOGIT)
    if large:
        for row in logits:
            largest = row[0]
            for k in range(row.size):
                largest = row[k] if row[k] > largest else largest
            for k in range(row.size):
                row[k] -= largest
    for position in range(targets.size):
        target_logits[position] = logits[position, targets[position]]
    for k in range(flat.size):
        flat[k] = _exp(flat[k])
    for position in range(targets.size):
        row = logits[position]
        total = _ZERO
        for k in range(row.size):
            total += row[k]
        totals[position] = total


@compiled
def softmax_backward(
    exponentials: FloatArray, targets: IntArray, totals: FloatArray, counted: BoolArray, share: float
) -> None:
    """Turn exponentials into the gradients with respect to the logits. ``share`` is the weight of one position."""
    for position in range(targets.size):
        row = exponentials[position]
        at_target = np.float32(share) if counted[position] else _ZERO
        weight = at_target / totals[position]
        for k in range(row.size):
            row[k] *= weight
        row[targets[position]] -= at_target


@compiled
def token_sums(tokens: IntArray, values: FloatArray, out: FloatArray) -> None:
    """Write the sum of each token's rows of ``values`` (positions, size) to ``out`` (vocab_size, size)."""
    out[:] = _ZERO
    for position in range(tokens.size):
        row, value = out[tokens[position]], values[position]
        for k in range(value.size):
            row[k] += value[k]


@compiled
def adam(
    parameter: FloatArray,
    gradient: FloatArray,
    sums: FloatArray,
    squares: FloatArray,
    betas: tuple[float, float],
    step: tuple[float, float],
    decay: tuple[float, float],
) -> None:
    """One step of :class:`~rnncallbacks.rnn.optimizers.Adam`.

    ``step`` holds the step size and epsilon. ``decay`` holds the share of the parameters that is added to the gradient,
    and the factor by which the parameters are multiplied before the step.
    """
    beta1, beta2 = np.float32(betas[0]), np.float32(betas[1])
    size, eps = np.float32(step[0]), np.float32(step[1])
    added, kept = np.float32(decay[0]), np.float32(decay[1])
    for k in range(parameter.size):
        g = gradient[k] + added * parameter[k]
        sums[k] = sums[k] * beta1 + g
        squares[k] = squares[k] * beta2 + g * g
        parameter[k] = parameter[k] * kept - size * sums[k] / (np.sqrt(squares[k]) + eps)
