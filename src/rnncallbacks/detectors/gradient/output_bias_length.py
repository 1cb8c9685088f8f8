r"""RNN405 and RNN406 by the gradient of the output bias, which the loss bounds by its own value.

At one position, the cross-entropy of a softmax has the gradient :math:`p - y` with respect to the output bias, of the
length :math:`\lVert p - y \rVert_1 = 2 (1 - p_y) \le -2 \ln p_y`. A mean or sum over positions, with or without weights
or a mask, adds up both sides: the gradient's entries sum to zero, and their absolute values to no more than twice the
loss. A longer gradient is not that of the reported loss. Neither logits nor a closure are needed.

The mean squared error L of errors e has the gradient :math:`2 \overline{e}`, and :math:`\overline{e}^2 \le
\overline{e^2} = L`: its length is at most :math:`2 \sqrt{L}`, and that of a mean absolute error :math:`\sqrt{O}` for O
outputs. A sum over positions is not bounded so; it is told by the first loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.layer_shapes import sums_to_zero
from rnncallbacks.detectors.loss.target_classes import smallest_class_count
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class OutputBiasLengthThresholds:
    """When a gradient of the output bias is too long. Numbers without a source were chosen by eye."""

    excess: float = 1.5
    """Smallest length / largest length that the loss allows: a focal loss and label smoothing may exceed it by less.
    Chosen by eye."""
    batches: int = 3
    """Batches in which it is that long. Chosen by eye."""
    fewest_batches: int = 6
    """Batches that are compared before a finding. Chosen by eye."""
    large_excess: float = 5.0
    """Such length in the first batches of a regression from which two are enough: its run may diverge at once."""
    batches_of_large_excess: int = 2
    """These batches. Chosen by eye."""
    largest_square_share: float = 4.0
    """Largest first loss of a regression, in units of the mean squared target of one output, times their number: that
    of a mean. Untrained networks had up to 1.2."""
    smallest_uniform_share: float = 0.5
    """Smallest first loss, in units of ln V: less is the loss of a pretrained network, or one that is divided."""


OUTPUT_BIAS_LENGTH = OutputBiasLengthThresholds()


@attrs.define(eq=False)
class OutputBiasLengthDetector:
    """Compares the length of the output bias's gradient with the loss, in the first training batches.

    The output bias of classes is the only vector whose gradient sums to zero in all batches, and has no negative entry
    for a class that no target had so far. That of a regression is the only vector with an entry for each output.
    Scripts without such a vector are not checked.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> detector, generator = OutputBiasLengthDetector(), np.random.default_rng(0)
    >>> for _ in range(6):
    ...     targets = generator.integers(0, 4, (20, 5))
    ...     counts = np.bincount(targets.ravel(), minlength=4)
    ...     finding = detector.check(Batch((targets, targets), "train", 1), math.log(4), {"by": 25.0 - counts})
    >>> finding.code
    'RNN405'
    """

    over: bool = state_field(False)
    _first_loss: float = state_field(0.0)
    _outputs: int = state_field(0)  # of a regression
    _seen: set[int] = state_field(factory=set)
    _kept: dict[str, Array] = state_field(factory=dict)  # of the last batch
    _lengths: dict[str, list[float]] = state_field(factory=dict)
    _increments: dict[str, list[float]] = state_field(factory=dict)

    def check(
        self,
        batch: Batch,
        loss: float,
        gradients: Mapping[str, Array],
        *,
        updates_each_batch: bool = False,
        follows_gradient: bool = True,
    ) -> Finding | None:
        """Add a training batch, and return a finding if the gradient is too long in enough of them.

        ``updates_each_batch`` says whether parameters are known to have changed after each batch, without which sums
        over batches may be meant; ``follows_gradient`` whether the length of an update is that of the gradient.
        """
        targets = sequences_of(batch).targets
        if self.over or targets is None or not targets.size or targets.dtype.kind not in "iuf" or not loss > 0.0:
            self.over = True
            return None
        if targets.dtype.kind == "f":
            self._outputs = targets.shape[-1] if targets.ndim > 2 else 1
            vectors = _vectors_of_size(gradients, self._outputs)
        else:
            self._seen |= {int(one) for one in np.unique(targets)}
            vectors = self._output_vectors(gradients, smallest_class_count(targets))
        if not self._first_loss:
            squares = float(np.mean(np.square(targets, dtype=np.float64)))
            if self._outputs and loss > OUTPUT_BIAS_LENGTH.largest_square_share * self._outputs * squares:
                self.over = True
                return None
            self._first_loss = loss
            self._lengths, self._increments = {name: [] for name in vectors}, {name: [] for name in vectors}
        self._add(vectors, loss)
        self.over = not self._lengths
        if len(self._lengths) != 1:
            return None
        ((name, lengths),) = self._lengths.items()
        if not self._is_too_long(lengths, 1 if self._outputs else vectors[name].size):
            return None
        self.over = True
        return self._found(name, lengths, updates_each_batch, follows_gradient)

    def _add(self, vectors: dict[str, Array], loss: float) -> None:
        """Add the lengths of the vectors that were candidates so far, and of their differences from the last batch."""
        self._lengths = {name: kept for name, kept in self._lengths.items() if name in vectors}
        for name, lengths in self._lengths.items():
            lengths.append(self._length(vectors[name], loss))
            if name in self._kept:
                self._increments[name].append(self._length(vectors[name] - self._kept[name], loss))
        self._kept = vectors

    def _is_too_long(self, lengths: list[float], classes: int) -> bool:
        limits = OUTPUT_BIAS_LENGTH
        if self._first_loss < limits.smallest_uniform_share * math.log(classes):
            return False
        first = lengths[: limits.batches_of_large_excess]
        if self._outputs and len(first) == limits.batches_of_large_excess and min(first) >= limits.large_excess:
            return True
        enough = len(lengths) >= limits.fewest_batches
        return enough and sum(length >= limits.excess for length in lengths) >= limits.batches

    def _length(self, vector: Array, loss: float) -> float:
        """The length of a gradient over the largest one that the loss allows."""
        if self._outputs:
            return float(np.linalg.norm(vector)) / max(2.0 * math.sqrt(loss), math.sqrt(self._outputs))
        return float(np.abs(vector).sum()) / (2.0 * loss)

    def _found(
        self, name: str, lengths: list[float], updates_each_batch: bool, follows_gradient: bool
    ) -> Finding | None:
        limits, increments = OUTPUT_BIAS_LENGTH, self._increments[name]
        evidence: dict[str, float | int | str] = {
            "array": name,
            "length_to_bound": max(lengths),
            "expected": 1.0,
            "batches": len(lengths),
        }
        too_long = (
            f"the gradient of {name!r} sums to zero, as that of the output bias does, and is up to {max(lengths):.3g} "
            "times as long as the reported cross-entropy allows, whose gradient has absolute values that add up to no "
            "more than twice the loss"
        )
        if self._outputs:
            too_long = (
                f"the gradient of {name!r}, the output bias, is up to {max(lengths):.3g} times as long as the reported "
                "squared error allows, whose gradient is at most twice its square root"
            )
        if max(lengths[0], *increments) <= 1.0:
            if not updates_each_batch:
                return None
            message = f"{too_long}; from batch to batch it grows by no more than that: it adds up over the batches"
            return Finding("RNN406", message, evidence)
        if median(lengths) < limits.excess:
            return None
        message = f"{too_long}, in most of {len(lengths)} batches (median {median(lengths):.3g})"
        return Finding("RNN405", message, evidence, None if follows_gradient else "info")

    def _output_vectors(self, gradients: Mapping[str, Array], classes: int) -> dict[str, Array]:
        """The gradients that may be the output bias's, in float64."""
        found = {}
        for name, array in gradients.items():
            vector = array.reshape(-1)
            if vector.size != max(array.shape or (1,)) or vector.size < max(classes, 2) or not sums_to_zero(vector, 0):
                continue
            unseen = [index for index in range(vector.size) if index not in self._seen]
            if not (vector[unseen] < 0.0).any():
                found[name] = vector.astype(np.float64)
        return found


def _vectors_of_size(gradients: Mapping[str, Array], size: int) -> dict[str, Array]:
    """The gradients that are vectors of this size, in float64."""
    return {
        name: array.reshape(-1).astype(np.float64)
        for name, array in gradients.items()
        if array.size == size == max(array.shape or (1,))
    }
