r"""The factor between the gradient of the output bias and the targets' frequencies: the scale of the loss function.

For a mean negative log-likelihood, the gradient of the output bias is :math:`\bar p - f`: the mean prediction minus the
frequencies of the targets in the batch. An untrained network predicts almost the same in each batch, so that from batch
to batch the gradient changes by :math:`-\Delta f`. Another loss function has another factor: :math:`1 / V` for a second
softmax, and the loss's own factor for a sum or a mean that is divided twice. Neither logits nor a closure are needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.clipped import find_clipping
from rnncallbacks.detectors.loss.initial_loss_findings import (
    divided_twice_by_gradient,
    second_softmax_by_floor,
    second_softmax_by_gradient,
)
from rnncallbacks.detectors.loss.layer_shapes import sums_to_zero
from rnncallbacks.detectors.loss.second_softmax import is_divided_at_absent_classes
from rnncallbacks.detectors.loss.summation_counts import summation_counts
from rnncallbacks.detectors.loss.target_classes import smallest_class_count
from rnncallbacks.detectors.sequences import mask_of, sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class OutputGradientThresholds:
    """Tolerances of the agreement of gradients with targets: the ranges of the independent scripts, with a margin."""

    batches: int = 12
    """First training batches that are compared: later ones are those of a trained network. Chosen by eye."""

    mean_correlation: float = 0.85
    """Smallest correlation that identifies a mean. Healthy scripts have 0.56 to 1; the others are unclear."""

    fault_correlation: float = 0.95
    """Smallest correlation that identifies another scale; 0.99 and more were measured on means divided twice."""

    smallest_mean_factor: float = 0.75
    """Smallest factor of a mean: 0.96 to 1.6 were measured in nine of ten healthy scripts."""

    largest_mean_factor: float = 1.4
    """Largest factor of a mean."""

    smallest_second_softmax: float = 0.85
    """Smallest factor of a second softmax, in units of 1 / V: 0.95 to 1.3 in nine of ten scripts, and 2 for a squared
    error."""

    largest_second_softmax: float = 1.3
    """Largest factor of a second softmax, in units of 1 / V."""

    second_softmax_loss: float = 0.05
    """Largest relative distance of all losses of a second softmax from ln V: 0.01 was measured."""

    division_tolerance: float = 0.12
    """Largest relative difference between the factor, the first loss in units of ln V, and 1 / count: 0.06 was
    measured."""

    real_division_tolerance: float = 0.7
    """Largest logarithm of the ratio of these in a regression, whose first outputs are not 0: 0.6 was measured."""

    floor_tolerance: float = 0.03
    """Largest relative distance above the smallest loss of a second softmax, at which losses have converged to it: 0.01
    was measured. Other losses fall below it in some batches."""

    losses_on_floor: int = 50
    """Losses in a row that lie within this distance, and never below. Chosen by eye."""

    smallest_uniform_share: float = 0.8
    """Smallest first loss of a negative log-likelihood in units of ln V. The squared error of a uniform softmax has
    0.72 and less, for any number of classes."""

    smallest_division: int = 6
    """Smallest count of a mean that is divided twice. Chosen by eye: trained networks also have low losses."""
    most_classes: int = 1 << 20
    """Targets from this number on are whole numbers such as times, and no classes. Chosen by eye."""


OUTPUT_GRADIENT = OutputGradientThresholds()


@attrs.define(eq=False)
class OutputGradientDetector:
    """Compares the gradients of the output bias with the targets of the first training batches (RNN301, RNN302).

    Scripts that clip gradients before ``run.backward``, and those without an output bias, are not checked.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> detector = OutputGradientDetector()
    >>> for seed in range(12):
    ...     targets = np.random.default_rng(seed).integers(0, 3, (8, 4))
    ...     frequencies = np.bincount(targets.ravel(), minlength=3) / 32
    ...     batch = Batch((targets, targets), "train", 1, batch_size=4)
    ...     result = detector.check(batch, math.log(3), {"bias": (1 / 3 - frequencies) / 3})
    >>> result.finding.message.partition(":")[0]
    'the loss applies a softmax to probabilities'
    """

    done: bool = state_field(False)
    _targets: list[Array] = state_field(factory=list)
    _gradients: dict[str, list[Array]] = state_field(factory=dict)
    _losses: list[float] = state_field(factory=list)
    _mean_square: float = state_field(0.0)
    _floor: float = state_field(0.0)
    _on_floor: int = state_field(0)
    _began_uniform: bool = state_field(False)  # the first loss was not that of a squared error

    @property
    def watching(self) -> bool:
        """Whether losses are compared with the smallest one of a second softmax."""
        return self.done and self._floor > 0.0

    def stop(self) -> None:
        """End the comparison: the loss is known to be wrong, or the network is pretrained."""
        self.done, self._floor = True, 0.0
        self._targets, self._gradients = [], {}

    def watch(self, loss: float) -> CheckResult:
        """Compare a later loss with the smallest loss of a second softmax, to which such a loss converges."""
        if loss < self._floor:
            below, self._floor = self._floor, 0.0
            if not self._began_uniform:  # a squared error is low from the first batch on
                return NOTHING_COMPARED
            compared = f"a loss of {loss:.4g}, below {below:.4g}, the smallest of a second softmax"
            return CheckResult(checked={"RNN302": compared})
        self._on_floor = self._on_floor + 1 if loss <= (1.0 + OUTPUT_GRADIENT.floor_tolerance) * self._floor else 0
        if self._on_floor < OUTPUT_GRADIENT.losses_on_floor:
            return NOTHING_COMPARED
        floor, self._floor = self._floor, 0.0
        return CheckResult(
            finding=second_softmax_by_floor(loss, floor, self._on_floor, OUTPUT_GRADIENT.floor_tolerance)
        )

    def check(self, batch: Batch, loss: float, gradients: Mapping[str, Array]) -> CheckResult:
        """Add a training batch; at the last of ``batches``, all of them are checked."""
        shown = sequences_of(batch)
        targets = shown.targets
        clipping = find_clipping(gradients)
        clipped = clipping.norm is not None or clipping.value is not None or bool(clipping.arrays)
        if targets is None and not clipped:
            return self._check_without_targets(loss, self._output_vectors(gradients, real=False, classes=3))
        if targets is None or not targets.size or clipped:
            self.stop()
            return NOTHING_COMPARED
        real = targets.dtype.kind == "f"
        vectors = self._output_vectors(gradients, real, shown.vocab_size or smallest_class_count(targets))
        if not self._losses:
            self._gradients = {name: [] for name in vectors}
            self._mean_square = float(np.mean(np.square(targets, dtype=np.float64)))
        self._gradients = {name: [*kept, vectors[name]] for name, kept in self._gradients.items() if name in vectors}
        if real:
            self._targets.append(np.array([targets.mean()]))
        else:
            mask = mask_of(batch, shown)
            counted = targets[mask] if mask is not None and mask.shape == targets.shape else targets
            known = counted[(counted >= 0) & (counted < OUTPUT_GRADIENT.most_classes)]
            self._targets.append(np.bincount(known.ravel()) / max(known.size, 1))
        self._losses.append(loss)
        if len(self._losses) < OUTPUT_GRADIENT.batches:
            return NOTHING_COMPARED
        self.done = True
        counts = summation_counts(batch)
        result = self._check_real(counts) if real else self._check_classes(counts)
        if not real and result.finding is None and "RNN302" not in result.checked:
            fit = self._fit()
            classes = max(len(one) for one in self._targets) if fit is None else fit[2]
            self._floor = math.log1p((classes - 1) / math.e) if classes > 1 else 0.0
            self._began_uniform = self._losses[0] >= OUTPUT_GRADIENT.smallest_uniform_share * math.log(max(classes, 2))
        self._targets, self._gradients = [], {}
        return result

    def _check_without_targets(self, loss: float, vectors: Mapping[str, Array]) -> CheckResult:
        """Look at the first batch alone: a short one lacks several classes."""
        self.stop()
        if len(vectors) != 1:
            return NOTHING_COMPARED
        ((name, gradient),) = vectors.items()
        classes = gradient.size
        if not is_divided_at_absent_classes(gradient, loss):
            return NOTHING_COMPARED
        factor = float(gradient.max()) * classes
        compared = (
            f"the gradient of {name!r} is {factor:.3g} / {classes} at the classes that the first batch lacks, the "
            f"largest entries (1 / {classes} for a uniform softmax)"
        )
        return CheckResult(finding=second_softmax_by_gradient(factor, loss, classes, compared))

    def _output_vectors(self, gradients: Mapping[str, Array], real: bool, classes: int) -> dict[str, Array]:
        """The gradients that may be the output bias's: of one number, or of classes, over which they sum to zero."""
        flat = {name: array.reshape(-1) for name, array in gradients.items() if array.size == max(array.shape or (1,))}
        if real:
            return {name: array.copy() for name, array in flat.items() if array.size == 1}
        sized = {name: array for name, array in flat.items() if array.size >= max(classes, 2)}
        return {name: array.copy() for name, array in sized.items() if sums_to_zero(array, 0)}

    def _fit(self) -> tuple[float, float, int] | None:
        """The factor, the correlation and the length of the output bias; None if it is ambiguous."""
        if len(self._gradients) != 1:
            return None
        ((_, kept),) = self._gradients.items()
        length = len(kept[0])
        if any(len(one) != length for one in kept) or any(len(one) > length for one in self._targets):
            return None
        frequencies = np.zeros((len(self._targets), length))
        for row, one in zip(frequencies, self._targets, strict=True):
            row[: len(one)] = one
        x, y = -np.diff(frequencies, axis=0).ravel(), np.diff(np.array(kept, dtype=np.float64), axis=0).ravel()
        squares, product = float(x @ x), float(x @ y)
        size = math.sqrt(squares * float(y @ y))
        if not squares or not size or not math.isfinite(size):
            return None
        return product / squares, product / size, length

    def _check_classes(self, counts: Mapping[str, float]) -> CheckResult:
        fit = self._fit()
        if fit is None:
            return NOTHING_COMPARED
        factor, correlation, classes = fit
        uniform = math.log(classes)
        compared = (
            f"from batch to batch, the gradient of the output bias changes by {factor:.3g} times the change of the "
            f"targets' frequencies (1 for a mean), with a correlation of {correlation:.2g}"
        )
        limits = OUTPUT_GRADIENT
        mean = limits.smallest_mean_factor <= factor <= limits.largest_mean_factor
        if mean and correlation >= limits.mean_correlation:
            return CheckResult(checked={"RNN301": compared, "RNN302": compared})
        if correlation < limits.fault_correlation:
            return NOTHING_COMPARED
        near = max(abs(loss / uniform - 1.0) for loss in self._losses) <= limits.second_softmax_loss
        if near and limits.smallest_second_softmax <= factor * classes <= limits.largest_second_softmax:
            return CheckResult(finding=second_softmax_by_gradient(factor, self._losses[0], classes, compared))
        ratio = float(np.median(self._losses[:3])) / uniform
        return self._divided(factor, ratio, counts, f"ln {classes}", compared, math.log1p(limits.division_tolerance))

    def _check_real(self, counts: Mapping[str, float]) -> CheckResult:
        fit = self._fit()
        if fit is None or fit[1] < OUTPUT_GRADIENT.fault_correlation or not self._mean_square:
            return NOTHING_COMPARED
        factor, correlation, _ = fit
        ratio = float(np.median(self._losses[:3])) / self._mean_square
        compared = (
            f"from batch to batch, the gradient of the output bias changes by {factor:.3g} times the change of the "
            f"mean target (2 for a mean squared error), with a correlation of {correlation:.2g}"
        )
        tolerance = OUTPUT_GRADIENT.real_division_tolerance
        return self._divided(factor / 2.0, ratio, counts, "mean(y^2)", compared, tolerance)

    def _divided(
        self, factor: float, ratio: float, counts: Mapping[str, float], unit: str, compared: str, tolerance: float
    ) -> CheckResult:
        """RNN301 if loss and gradient are both those of a mean, over one of the counts."""
        for name, count in counts.items():
            distances = [abs(math.log(one * count)) for one in (factor, ratio) if one > 0.0]
            if count >= OUTPUT_GRADIENT.smallest_division and len(distances) == 2 and max(distances) <= tolerance:
                return CheckResult(finding=divided_twice_by_gradient(factor, ratio, count, name, unit, compared))
        return NOTHING_COMPARED
