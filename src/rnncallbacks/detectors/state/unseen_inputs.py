r"""Inputs that no guard sees, by the gradients of the input weights and of their bias: too large, or constant.

The gradients of a layer's input weights and of its bias are sums over the same errors :math:`\delta_{tb}`,

.. math:: G = \sum_{t, b} \delta_{tb} x_{tb}^T, \qquad g = \sum_{t, b} \delta_{tb},

so :math:`\lVert G \rVert / \lVert g \rVert` is about the size of the inputs, and :math:`G = g x^T` if they are all the
same vector x. Where errors of both signs cancel in g and not in G, as those that follow the inputs do, the ratio is
larger. That of the recurrent weights, whose inputs are states between -1 and 1, is then as large, and divides it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.layer_shapes import GATE_COUNTS, vector_lengths
from rnncallbacks.detectors.state.input_scale import INPUT_SCALE
from rnncallbacks.detectors.update.metrics import has_initial_biases


@attrs.frozen(kw_only=True)
class UnseenInputThresholds:
    """When gradients show what the inputs are. The limit of their products with weights is that of shown inputs.

    In fourteen healthy scripts, ratios were 0.4 to 11, and products 0.2 to 2.8.
    """

    batches: int = 8
    """First training batches that are compared. Chosen by eye."""
    large_ratio: float = 50.0
    """Median ratio of the norms, from which inputs are large: 186 to 945 were measured with inputs 300 to 1,000 times
    too large."""
    tolerance: float = 1e-6
    """Largest relative distance between the gradient of the weights and the product of that of the bias and one input
    vector, and between two such vectors: rounding. Chosen by eye."""


UNSEEN_INPUTS = UnseenInputThresholds()


@attrs.define(eq=False)
class UnseenInputs:
    """Compares gradients of input weights with those of their biases, in the first batches of a run.

    Example
    -------
    >>> unseen, generator = UnseenInputs(), np.random.default_rng(0)
    >>> params = {"Wx": generator.normal(size=(6, 2)), "Wh": np.eye(6), "b": np.zeros(6)}
    >>> for _ in range(8):
    ...     errors, inputs = generator.normal(size=(30, 6)), 400 * generator.normal(size=(30, 2))
    ...     finding = unseen.check(params, {"Wx": errors.T @ inputs, "Wh": np.eye(6), "b": errors.sum(0)})
    >>> finding.code
    'RNN407'
    """

    over: bool = state_field(False)
    _biases: dict[str, list[str]] = state_field(factory=dict, saved=False)  # that may belong to each matrix
    _products: dict[str, float] = state_field(factory=dict, saved=False)  # with the first weights, of inputs of size 1
    _ratios: dict[str, list[float]] = state_field(factory=dict, saved=False)
    _constant: dict[str, dict[str, Array]] = state_field(factory=dict, saved=False)  # the inputs, by the bias
    _batches: int = state_field(0)

    def check(self, params: Mapping[str, Array], gradients: Mapping[str, Array]) -> Finding | None:
        """Add a training batch before its update; RNN407 or RNN603 at the last of ``batches``."""
        if not self._batches:
            self._begin(params)
        self._batches += 1
        with np.errstate(all="ignore"):
            others = {name: one for name, one in gradients.items() if name not in self._biases}
            for name, biases in self._biases.items():
                sums = {bias: gradients[bias].reshape(-1) for bias in biases if bias in gradients}
                if name in gradients and sums:
                    self._add(name, gradients[name], sums, _cancellation(others, sums))
        self.over = self._batches >= UNSEEN_INPUTS.batches or not self._ratios
        return self._find() if self.over else None

    def _begin(self, params: Mapping[str, Array]) -> None:
        for name, biases in _input_weights(params):
            self._biases[name] = biases
            self._products[name] = global_norm([params[name]]) / math.sqrt(params[biases[0]].size)

    def _add(self, name: str, gradient: Array, sums: Mapping[str, Array], cancellation: float) -> None:
        units = next(iter(sums.values())).size
        gradient = gradient if gradient.shape[0] == units else gradient.T
        size, tolerance = global_norm([gradient]), UNSEEN_INPUTS.tolerance
        ratios, largest = self._ratios.setdefault(name, []), max(global_norm([one]) for one in sums.values())
        if largest:  # else no error reaches the layer, or all of them cancel
            ratios.append(size / largest / cancellation)
        before, constant = self._constant.get(name), {}
        for bias, one in sums.items():
            inputs = one @ gradient / (one @ one)
            same = global_norm([gradient - np.outer(one, inputs)]) <= tolerance * size
            if before is not None:
                same = same and bias in before and np.allclose(inputs, before[bias], rtol=tolerance, atol=0.0)
            if same and size > 0.0:
                constant[bias] = inputs
        self._constant[name] = constant

    def _find(self) -> Finding | None:
        if all(self._constant.values()) and self._constant:
            name, by_bias = next(iter(self._constant.items()))
            inputs = next(iter(by_bias.values()))
            values = ", ".join(f"{value:.4g}" for value in inputs[:4]) + (", ..." if inputs.size > 4 else "")
            return Finding(
                "RNN603",
                f"the inputs are constant: in the first {self._batches} batches, the gradient of {name!r} is that of "
                f"its bias times ({values}), as if each step of each sequence had this input",
                {"array": name, "batches": self._batches},
                cause="inputs that are all the same",
                remedy="print the first inputs of two batches, as they enter the network",
            )
        for name, ratios in self._ratios.items():
            ratio = float(np.median(ratios or [0.0]))
            preactivation = ratio * self._products[name]
            if ratio >= UNSEEN_INPUTS.large_ratio and preactivation >= INPUT_SCALE.large_preactivation:
                return Finding(
                    "RNN407",
                    f"the inputs are too large for the units: the gradient of {name!r} is {ratio:.3g} times as long as "
                    "that of its bias, beyond what recurrent weights have, as inputs of that size make it, and their "
                    f"products with the initial weights are about {preactivation:.3g}, about 1 expected; tanh is "
                    "saturated from 2.7",
                    {"array": name, "input_rms": ratio, "preactivation_rms": preactivation},
                    "warning",
                    cause="inputs too large: units saturate",
                    remedy="scale the inputs: subtract their mean, and divide them by their standard deviation",
                )
        return None


def _cancellation(gradients: Mapping[str, Array], sums: Mapping[str, Array]) -> float:
    """The largest ratio of a gradient of recurrent weights to that of the bias, per root of the states; 1 or more."""
    smallest = max(min(global_norm([one]) for one in sums.values()), 1e-300)
    units = next(iter(sums.values())).size
    recurrent = [array for array in gradients.values() if _hidden_units({"": array}, units)]
    return max([1.0, *(global_norm([one]) / (smallest * math.sqrt(min(one.shape))) for one in recurrent)])


def _input_weights(params: Mapping[str, Array]) -> Iterator[tuple[str, list[str]]]:
    """The matrices that are input weights by their shapes, and the biases that may be theirs, before any training.

    A matrix with an axis of a bias's length is not one if it may be recurrent, or the output weights.
    """
    lengths = vector_lengths(params)
    vectors = {name: array.size for name, array in params.items() if has_initial_biases([array])}
    for name, weights in params.items():
        if weights.ndim != 2 or min(weights.shape) < 2 or weights.dtype.kind != "f":
            continue
        others = {other: array for other, array in params.items() if other != name}
        for units, features in (weights.shape, weights.shape[::-1]):
            biases = [bias for bias, size in vectors.items() if size == units]
            hidden = _hidden_units(others, units) - {features}
            is_output = units in hidden and features in lengths
            if biases and features < units and hidden and not is_output:
                yield name, biases


def _hidden_units(params: Mapping[str, Array], gates: int) -> set[int]:
    """The numbers of units of recurrent matrices, square or fused, that have this many gates."""
    found = set()
    for array in params.values():
        units, length = (min(array.shape), max(array.shape)) if array.ndim == 2 else (0, 0)
        if gates == length and units > 1 and length in {count * units for count in (1, *GATE_COUNTS)}:
            found.add(units)
    return found
