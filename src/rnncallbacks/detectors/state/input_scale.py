"""RNN407, real inputs so large that they saturate the units for any state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.loss.layer_shapes import GATE_COUNTS, hidden_sizes, vector_lengths
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class InputScaleThresholds:
    """Thresholds of inputs that are too large: for the inputs, and for their products with the initial weights."""

    large_inputs: float = 10.0
    """Smallest root mean square of the inputs. Standardized ones have 1. Chosen by eye."""

    large_preactivation: float = 20.0
    """Smallest root mean square of the inputs' part of a unit's argument: tanh is within 0.01 of 1 from 2.7. Chosen by
    eye. Measured later, on the independent benchmark's task of sines, with 240 runs of each kind (vanilla cells,
    LSTMs and GRUs): healthy scripts have 0.12 to 0.36, and those with inputs two hundred times too large 25 to 72."""


INPUT_SCALE = InputScaleThresholds()


def check_input_scale(batch: Batch, params: Mapping[str, Array]) -> CheckResult:
    """Check the first training batch: the scale of real inputs, times that of the input weights.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> rng = np.random.default_rng(0)
    >>> inputs = 140 * rng.normal(size=(9, 4, 1))
    >>> params = {"u": 0.7 * rng.normal(size=(16, 1)), "w": np.eye(16), "v": 0.1 * rng.normal(size=(1, 16))}
    >>> finding = check_input_scale(Batch((inputs, inputs), "train", 1, batch_size=4), params).finding
    >>> finding.message.partition(":")[0]
    'the inputs are too large for the units'
    """
    inputs = sequences_of(batch).inputs
    if inputs is None or inputs.dtype.kind != "f" or not inputs.size:
        return CheckResult(finding=_find_large_embedding(params))
    with np.errstate(all="ignore"):
        size = float(np.sqrt(np.mean(np.square(inputs, dtype=np.float64))))
        deviation = float(np.std(inputs, dtype=np.float64))
    weights = max(_input_weights(params, set(inputs.shape)), default=0.0)
    preactivation = size * weights
    if not math.isfinite(size) or size < INPUT_SCALE.large_inputs or preactivation < INPUT_SCALE.large_preactivation:
        return CheckResult()
    divisor = deviation or size
    return CheckResult(
        finding=Finding(
            "RNN407",
            f"the inputs are too large for the units: their root mean square is {size:.4g}, and that of their "
            f"products with the initial weights {preactivation:.3g}, about 1 expected; tanh is saturated from 2.7",
            {"input_rms": size, "input_deviation": deviation, "preactivation_rms": preactivation},
            "warning",
            cause="inputs too large: units saturate",
            remedy=f"scale the inputs: subtract their mean, and divide them by their standard deviation, {divisor:.4g}",
        )
    )


def _find_large_embedding(params: Mapping[str, Array]) -> Finding | None:
    """RNN407 if the rows of an embedding are so large that they saturate the units.

    An embedding is a matrix whose columns are the inputs of another one, the input weights.
    """
    for name, array in params.items():
        if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
            continue
        with np.errstate(all="ignore"):
            size = float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
        if not INPUT_SCALE.large_inputs <= size < math.inf:
            continue
        others = {other: weights for other, weights in params.items() if other != name}
        preactivation = size * max(_input_weights(others, {array.shape[1]}), default=0.0)
        if preactivation < INPUT_SCALE.large_preactivation:
            continue
        return Finding(
            "RNN407",
            f"the embeddings are too large for the units: the root mean square of {name!r} is {size:.4g}, and that of "
            f"its products with the initial input weights {preactivation:.3g}, about 1 expected",
            {"input_rms": size, "preactivation_rms": preactivation},
            "warning",
            cause="embeddings too large: units saturate",
            remedy=f"divide the initial embeddings in {name!r} by about {size:.2g}",
        )
    return None


def _input_weights(params: Mapping[str, Array], lengths: set[int]) -> Iterator[float]:
    """For each matrix that may be the input weights, the root mean square of a unit's sum over inputs of size 1.

    Arrays of one value, as biases are, are left out. With a single feature, output weights have the same shape.
    """
    vectors = vector_lengths(params)
    for array in params.values():
        if array.ndim != 2 or (array == array.flat[0]).all():
            continue
        for axis in (0, 1):
            inputs, gates = array.shape[axis], array.shape[1 - axis]
            units = {gates // k for k in (1, 2, *GATE_COUNTS) if gates % k == 0} & (
                hidden_sizes(params).units | vectors
            )
            for hidden in units:
                for features in {inputs, inputs - hidden} & lengths:
                    matrix = np.moveaxis(array, axis, 0)
                    blocks = [matrix[:features], matrix[-features:]]
                    yield min(math.sqrt(features * float(np.mean(np.square(block)))) for block in blocks)
