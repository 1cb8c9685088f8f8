"""The number of classes V that a batch's targets belong to, from the batch and the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.loss.layer_shapes import (
    hidden_sizes,
    matrix_shapes,
    vector_lengths,
    zero_sum_lengths,
)
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen
class TargetClasses:
    """The possible numbers of classes.

    Parameters
    ----------
    candidates:
        The possible numbers of classes, in increasing order; empty if nothing is known.
    certain:
        Whether the number was seen, as the length of one-hot targets or of logits, so that it is the only candidate.
    regression:
        Whether the targets are real numbers.
    known:
        Whether targets are known, or gradients show that they are classes.
    """

    candidates: tuple[int, ...]
    certain: bool
    regression: bool
    known: bool


def find_target_classes(
    batch: Batch, params: Mapping[str, Array], at_least: int = 0, gradients: Mapping[str, Array] | None = None
) -> TargetClasses:
    """The number of classes: the length of one-hot targets or of logits, else that of a bias that may be the output's.

    ``at_least`` is a lower bound from earlier batches, such as :func:`smallest_class_count` of their targets. With
    ``gradients``, the output bias is the one whose gradient sums to zero, if there is one.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> targets = np.array([[0, 2], [1, 0]])
    >>> params = {"recurrent": np.zeros((32, 32)), "head": np.zeros((5, 32)), "bias": np.zeros(5)}
    >>> find_target_classes(Batch((targets, targets), "train", 1), params).candidates
    (5,)
    """
    shown = sequences_of(batch)
    if shown.vocab_size is not None:
        return TargetClasses((shown.vocab_size,), certain=True, regression=False, known=True)
    targets = shown.targets
    if targets is None:
        by_gradients = tuple(sorted(zero_sum_lengths(gradients or {})))  # those of a softmax sum to zero
        # A regression whose targets are not shown may have no other length than that of its hidden units.
        others = set(_bias_lengths(params, 2)) - hidden_sizes(params).units
        candidates = by_gradients or tuple(sorted(others))
        return TargetClasses(candidates, certain=False, regression=False, known=bool(by_gradients))
    if targets.dtype.kind == "f":
        count = _soft_target_classes(targets)
        return TargetClasses((count,) if count else (), certain=bool(count), regression=not count, known=True)
    at_least = max(at_least, smallest_class_count(targets), 2)
    logits = batch.observed.get("logits")
    if isinstance(logits, np.ndarray) and logits.ndim > 1:
        axis = class_axis(logits.shape, targets.shape)
        if axis is not None and logits.shape[axis] >= at_least:
            return TargetClasses((int(logits.shape[axis]),), certain=True, regression=False, known=True)
    shown_by_gradients = sorted(size for size in zero_sum_lengths(gradients or {}) if size >= at_least)
    candidates = tuple(shown_by_gradients) or tuple(_bias_lengths(params, at_least)) or (at_least,)
    return TargetClasses(candidates, certain=False, regression=False, known=True)


def smallest_class_count(targets: Array | None) -> int:
    """The smallest number of classes that holds all targets: the largest one plus 1; 0 if they are not classes.

    Example
    -------
    >>> smallest_class_count(np.array([0, 3, 1])), smallest_class_count(np.array([0.5])), smallest_class_count(None)
    (4, 0, 0)
    """
    if targets is None or targets.dtype.kind not in "iu" or not targets.size:
        return 0
    return int(targets.max()) + 1


def class_axis(logits_shape: tuple[int, ...], targets_shape: tuple[int, ...]) -> int | None:
    """The axis of the classes: the one axis of the logits that the targets lack, in any order; None if ambiguous.

    Example
    -------
    >>> class_axis((20, 27, 16), (20, 16)), class_axis((20, 16, 27), (16, 20)), class_axis((20, 16), (20, 16))
    (1, 2, None)
    """
    lengths = sorted(targets_shape)
    axes = [
        axis for axis in range(len(logits_shape)) if sorted(logits_shape[:axis] + logits_shape[axis + 1 :]) == lengths
    ]
    return axes[-1] if axes and len({logits_shape[axis] for axis in axes}) == 1 else None


def _soft_target_classes(targets: Array) -> int | None:
    """The number of classes of targets that are probabilities."""
    for axis in range(1, targets.ndim) if (targets >= 0.0).all() else ():
        if targets.shape[axis] > 1 and np.allclose(targets.sum(axis=axis), 1.0, atol=1e-5):
            return int(targets.shape[axis])
    return None


def _bias_lengths(params: Mapping[str, Array], at_least: int) -> Iterator[int]:
    """Lengths of vectors that are also a length of a matrix, as that of the output bias is; else those of matrices.

    The lengths of recurrent layers are left out if others remain.
    """
    matrices = {length for shape in matrix_shapes(params) for length in shape if length >= at_least}
    common, hidden = vector_lengths(params) & matrices, hidden_sizes(params)
    of_layers = hidden.units | hidden.others
    for lengths in (common - of_layers, matrices - of_layers, common - hidden.units, common, matrices):
        if lengths:
            yield from sorted(lengths)
            return
