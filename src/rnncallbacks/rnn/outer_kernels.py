"""Kernels outside of the recurrence: of the loss, of the gradient of tokens, and of an optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.rnn.checks import BoolArray, IntArray
from rnncallbacks.rnn.compiling import compiled, constants, summing

_ZERO, _ONE = constants(0.0, 1.0)

_LOG2_E, _LN2_HIGH, _LN2_LOW, _LEAST = constants(1.44269504088896341, 0.693359375, -2.12194440e-4, -87.0)
_E7, _E6, _E5, _E4, _E3, _E2 = constants(
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1
)
# Added to a small number, this leaves the nearest integer in the lowest bits of the sum.
(_ROUNDER,) = constants(1.5 * 2**23)
_ROUNDER_BITS = np.int32(_ROUNDER.view(np.int32))
_BIAS, _MANTISSA = np.int32(127), np.int32(23)


@compiled
def _exp(x: Any) -> Any:
    """Of a number up to 88, within two roundings; 0 below -87. Source: Moshier, Cephes library, ``expf``."""
    # Sums of two int32 are int64 to numba, of which there are no vector conversions to floats.
    power = np.int32(np.float32(x * _LOG2_E + _ROUNDER).view(np.int32) - _ROUNDER_BITS)
    r = x - np.float32(power) * _LN2_HIGH - np.float32(power) * _LN2_LOW
    fraction = (((((_E7 * r + _E6) * r + _E5) * r + _E4) * r + _E3) * r + _E2) * r * r + r + _ONE
    value = fraction * np.int32((power + _BIAS) << _MANTISSA).view(np.float32)
    return _ZERO if x < _LEAST else value


# Within plus and minus this bound, no sum of exponentials overflows, and the logits need no shift.
(_SAFE_LOGIT,) = constants(60.0)


@summing
def softmax(logits: FloatArray, targets: IntArray, totals: FloatArray, likely: FloatArray) -> None:
    """Turn logits (positions, classes) into exponentials; write their sums, and the targets' logits.

    Where any logit is large, the largest of its position is first subtracted.
    """
    flat = logits.ravel()
    far = 0
    for k in range(flat.size):
        far += not (-_SAFE_LOGIT < flat[k] < _SAFE_LOGIT)
    if far:
        for row in logits:
            largest = row[0]
            for k in range(row.size):
                largest = row[k] if row[k] > largest else largest
            for k in range(row.size):
                row[k] -= largest
    for position in range(targets.size):
        likely[position] = logits[position, targets[position]]
    for k in range(flat.size):
        flat[k] = _exp(flat[k])
    for position in range(targets.size):
        row = logits[position]
        total = _ZERO
        for k in range(row.size):
            total += row[k]
        totals[position] = total


@compiled
def softmax_back(
    exponentials: FloatArray, targets: IntArray, totals: FloatArray, counted: BoolArray, share: float
) -> None:
    """Turn exponentials into the gradients of the logits, where each counted position has this share of the loss."""
    for position in range(targets.size):
        row = exponentials[position]
        at_target = np.float32(share) if counted[position] else _ZERO
        weight = at_target / totals[position]
        for k in range(row.size):
            row[k] *= weight
        row[targets[position]] -= at_target


@compiled
def sum_by_token(tokens: IntArray, values: FloatArray, out: FloatArray) -> None:
    """Sum the rows of values (positions, size) that belong to the same token, into ``out`` (vocab_size, size)."""
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

    ``step`` holds its size and what is added to the root. ``decay`` holds how much of the parameters is added to the
    gradient, and how much of them is left before the step.
    """
    beta1, beta2 = np.float32(betas[0]), np.float32(betas[1])
    size, eps = np.float32(step[0]), np.float32(step[1])
    added, kept = np.float32(decay[0]), np.float32(decay[1])
    for k in range(parameter.size):
        g = gradient[k] + added * parameter[k]
        sums[k] = sums[k] * beta1 + g
        squares[k] = squares[k] * beta2 + g * g
        parameter[k] = parameter[k] * kept - size * sums[k] / (np.sqrt(squares[k]) + eps)
