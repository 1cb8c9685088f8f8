r"""Targets that a script trains on in place of its loader's, by what the gradients of its output layer say of them.

For a mean cross-entropy over N positions with states :math:`h_i`, outputs :math:`z_i`, probabilities :math:`p_i`, the
gradients of the output bias and weights give the number of targets of each class, and the sums of their states,

.. math:: n = \sum_i p_i - N g_b, \qquad M = \sum_i p_i h_i^T - N G_W,

whatever the targets are. If the network is the script's, n are whole numbers that sum to N, and the loss is

.. math:: L = \frac{1}{N} \sum_i \ln \sum_v e^{z_{iv}} - \frac{\langle W, M \rangle + b \cdot n}{N}.

A squared error has such sums too, where the targets are those of the loader in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.progress.other_targets import LOOK_BETWEEN, OTHER_TARGETS
from rnncallbacks.detectors.progress.shifted_targets import target_shift_of
from rnncallbacks.detectors.reconstruction.batch_readings import BatchReading
from rnncallbacks.detectors.reconstruction.loss_formulas import formula_factors, matching_formula
from rnncallbacks.detectors.reconstruction.recognized_network import RECOGNITION, RecognizedNetwork, network_passes

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

ReplacedTargets: TypeAlias = Literal["the inputs", "the next inputs in another order", "others"]


@attrs.frozen(kw_only=True)
class ReplacedTargetThresholds:
    """Tolerances of two computations in double precision."""

    tolerance: float = 1e-7
    """Distance of the numbers of targets from whole numbers, and relative distance of a loss. Chosen by eye: rounding
    is below 1e-12."""
    difference: float = 1e-3
    """Smallest relative distance of the loss from that of the loader's targets. Chosen by eye."""


REPLACED_TARGETS = ReplacedTargetThresholds()


def find_replaced_targets(
    arrays: Mapping[str, Array], gradients: Mapping[str, Array], batch: Batch, loss: float
) -> ReplacedTargets | None:
    """What the script's targets are, if they are certainly not those of the batch; None if that is not known.

    ``arrays`` are the parameters before the update of the batch, none of whose networks gives the loss.
    """
    if not np.isfinite(loss) or any(array.dtype.itemsize < 8 for array in arrays.values()):
        return None
    for network, reading, outputs, passed in network_passes(arrays, batch):
        if not _has_plain_outputs(network):
            continue
        with np.errstate(all="ignore"):
            numbers = _numbers_of_targets(network, reading, outputs, passed[-1].states[1:], arrays, gradients, loss)
        if numbers is None:
            continue
        inputs = reading.inputs
        if reading.readout != "each" or inputs.shape[:2] != reading.targets.shape[:2]:
            return "others"
        same = inputs if inputs.shape == reading.targets.shape else None
        if same is not None and matching_formula(outputs, same, loss, RECOGNITION.tolerance) is not None:
            return "the inputs"
        is_next = same is not None and target_shift_of(same, reading.targets) == 1
        if network.formula.classes:
            is_next = is_next and np.array_equal(numbers, np.bincount(reading.targets.ravel(), minlength=len(numbers)))
        return "the next inputs in another order" if is_next else "others"
    return None


def replaced_targets_finding(found: ReplacedTargets) -> Finding | None:
    """RNN603 for targets that are wrong whatever the task is.

    Example
    -------
    >>> replaced_targets_finding("the inputs").cause
    'the script trains on other targets than its loader yields'
    """
    if found == "others":
        return None
    what = "the inputs of the same step"
    if found != "the inputs":
        what = "not the next inputs that the loader yields, but these in another order"
    return Finding(
        "RNN603",
        f"the targets that the script trains on are {what}: the network of its arrays gives the loss and the gradients "
        "of the output layer with these alone",
        {"expected": "the loader's targets", "found": found},
        cause=OTHER_TARGETS,
        remedy=LOOK_BETWEEN,
    )


def _has_plain_outputs(network: RecognizedNetwork) -> bool:
    """Whether outputs are a linear function of states, with gradients of weights and bias by themselves."""
    parts = {part for _, part in network.roles.blocks}
    return "head" not in parts and "output bias" in parts


def _numbers_of_targets(
    network: RecognizedNetwork,
    reading: BatchReading,
    outputs: Array,
    states: Array,
    arrays: Mapping[str, Array],
    gradients: Mapping[str, Array],
    loss: float,
) -> Array | None:
    """The number or sum of the targets of each output; None unless gradients and loss are the network's with others."""
    weights = network.roles.take(arrays)
    try:
        parts = network.roles.take(gradients)
    except (KeyError, ValueError):
        return None
    weight, bias = weights[0, "output"], weights[0, "output bias"]
    d_weight, d_bias = parts[0, "output"], parts[0, "output bias"]
    used = {"each": states, "last": states[-1:], "mean": states.mean(axis=0, keepdims=True)}[reading.readout]
    states, flat = used.reshape(-1, used.shape[-1]), outputs.reshape(-1, outputs.shape[-1])
    count, limit = len(flat), REPLACED_TARGETS.tolerance
    highest = flat.max(axis=1, keepdims=True)
    exponentials = np.exp(flat - highest)
    sums = exponentials.sum(axis=1, keepdims=True)
    probabilities, logarithms = exponentials / sums, float((np.log(sums) + highest).sum())
    for factor in dict.fromkeys(formula_factors(*outputs.shape).tolist()):
        scale = factor / count
        if network.formula.classes:
            numbers = probabilities.sum(axis=0) - d_bias / scale
            whole = np.rint(numbers)
            if np.abs(numbers - whole).max() > limit * count or whole.min() < 0.0 or whole.sum() != count:
                continue
            targets = probabilities.T @ states - d_weight / scale
            value = logarithms - float((weight * targets).sum() + bias @ whole)
        else:
            wanted = reading.targets.reshape(-1, flat.shape[1]).astype(np.float64)
            half = scale / flat.shape[1]
            numbers = flat.sum(axis=0) - d_bias / (2.0 * half)
            if np.abs(numbers - wanted.sum(axis=0)).max() > limit * max(float(np.abs(wanted).sum()), 1e-300):
                continue
            targets = flat.T @ states - d_weight / (2.0 * half)
            product = float((weight * targets).sum() + bias @ numbers)
            value = (float(np.square(flat).sum() + np.square(wanted).sum()) - 2.0 * product) / flat.shape[1]
        if abs(value * scale - loss) <= limit * abs(loss):
            shown: float = factor * network.formula.value(outputs, reading.targets)
            return np.rint(numbers) if abs(shown - loss) > REPLACED_TARGETS.difference * abs(loss) else None
    return None
