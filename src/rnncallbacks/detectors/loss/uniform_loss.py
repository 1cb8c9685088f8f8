r"""On which scale a loss is: the number that a network which knows nothing must have, and what it is multiplied with.

With all parameters zero, each softmax is even. A mean negative log-likelihood over V classes is then :math:`\ln V`
exactly, whatever the initial weights were; smoothed labels and penalties do not change that. A sum is
:math:`T \ln V`, :math:`B \ln V` or :math:`T B \ln V`, and squared errors have exact values of their own. A new network
with small weights comes near these numbers, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

EXACT = 2e-5
"""How near a loss at zero parameters must lie to a number: sums in float32 are no nearer."""

WHOLE = 1e-7
"""How near to a whole multiple of ln V it must lie if nothing is known of counts: sums in float64 are far nearer."""

SUMMED = (0.9, 1.12)
"""Beside a count, the first loss of a sum over so many positions; that of a mean is 0.94 to 1.03 times ln V."""

LEAST_COUNT = 4
"""A first loss is taken for a sum over no fewer: an initialisation that is too large may double it."""

Kind = Literal["right", "summed", "divided", "other"]


@attrs.frozen
class Match:
    """What explains a loss.

    ``kind``: "right"; "summed" over ``factor`` positions; "divided" by them once more than it should be; "other", a
    loss that is no negative log-likelihood. ``expected`` is its value, ``form`` the loss in words or as a formula, and
    ``count`` says what ``factor`` counts.
    """

    kind: Kind
    expected: float
    form: str
    factor: float = 1.0
    count: str = ""


@attrs.frozen
class Classes:
    """What is known of the targets.

    ``sizes`` are the numbers of classes that may be; ``certain`` says that the only one was seen. ``regression`` says
    that targets are no classes. ``known`` is False if no target was seen.
    """

    sizes: tuple[int, ...]
    certain: bool
    regression: bool
    known: bool


def classes_of(batch: Batch, params: Mapping[str, Array], least: int = 0) -> Classes:
    """The number of classes: the length of one-hot targets or of logits, else that of a bias that may be it.

    ``least`` is what the batches before showed: one more than their largest target.
    """
    shown = sequences_of(batch)
    if shown.vocab_size is not None:
        return Classes((shown.vocab_size,), certain=True, regression=False, known=True)
    targets = shown.targets
    if targets is None:
        return Classes(tuple(_bias_sizes(params, 2)), certain=False, regression=False, known=False)
    if targets.dtype.kind == "f":
        size = _distribution(targets)
        return Classes((size,) if size else (), certain=bool(size), regression=not size, known=True)
    least = max(least, least_classes(targets), 2)
    logits = batch.observed.get("logits")
    if isinstance(logits, np.ndarray) and logits.ndim > 1:
        axis = class_axis(logits.shape, targets.shape)
        if axis is not None and logits.shape[axis] >= least:
            return Classes((int(logits.shape[axis]),), certain=True, regression=False, known=True)
    return Classes(tuple(_bias_sizes(params, least)) or (least,), certain=False, regression=False, known=True)


def least_classes(targets: Array | None) -> int:
    """One more than the largest target, 0 if there are none that are classes."""
    if targets is None or targets.dtype.kind not in "iu" or not targets.size:
        return 0
    return int(targets.max()) + 1


def class_axis(shape: tuple[int, ...], targets: tuple[int, ...]) -> int | None:
    """The axis of logits that the shape of the targets lacks, in whatever order they lie; None if nothing tells.

    Example
    -------
    >>> class_axis((20, 27, 16), (20, 16)), class_axis((20, 16, 27), (16, 20)), class_axis((20, 16), (20, 16))
    (1, 2, None)
    """
    fitting = [axis for axis in range(len(shape)) if sorted(shape[:axis] + shape[axis + 1 :]) == sorted(targets)]
    return fitting[-1] if fitting and len({shape[axis] for axis in fitting}) == 1 else None


def _distribution(targets: Array) -> int | None:
    """The number of classes over which soft targets are spread."""
    for axis in range(1, targets.ndim) if (targets >= 0.0).all() else ():
        if targets.shape[axis] > 1 and np.allclose(targets.sum(axis=axis), 1.0, atol=1e-5):
            return int(targets.shape[axis])
    return None


def _bias_sizes(params: Mapping[str, Array], least: int) -> Iterator[int]:
    """Lengths of vectors that are also a length of a matrix: the bias of the outputs is one. Without it, all lengths.

    The number of hidden units is left out, and what gates make of it, if something else remains.
    """
    shapes = [array.shape for array in params.values() if min(array.shape, default=0) > 1]
    matrices = {length for shape in shapes for length in shape if length >= least}
    vectors = {max(array.shape) for array in params.values() if array.shape and array.size == max(array.shape)}
    recurrent = {length for shape in shapes for length in shape if max(shape) in (min(shape) * k for k in (1, 3, 4))}
    for found in (vectors & matrices - recurrent, matrices - recurrent, vectors & matrices, matrices):
        if found:
            yield from sorted(found)
            return


def explain(loss: float, sizes: tuple[int, ...], counts: Mapping[str, float], precision: float = EXACT) -> Match | None:
    """What a loss at zero parameters is; None if nothing fits.

    Example
    -------
    >>> found = explain(20 * math.log(36), (36,), {"the number of time steps": 20.0, "the batch size": 16.0})
    >>> found.kind, found.count
    ('summed', 'the number of time steps')
    >>> explain(35 / 36**2, (36,), {}).form
    'the mean squared error of softmax and one-hot target, (V - 1) / V^2'
    """
    for wanted in ("right", "summed", "divided", "other"):
        for match in _candidates(sizes, counts):
            if match.kind == wanted and abs(loss - match.expected) <= precision * abs(match.expected):
                return match
    return None


def explain_whole(loss: float, sizes: tuple[int, ...]) -> Match | None:
    """The sum over a number of positions of which nothing is known, that a loss at zero parameters is; or None.

    Example
    -------
    >>> explain_whole(112 * math.log(4), (4,)).factor, explain_whole(112.3 * math.log(4), (4,))
    (112.0, None)
    """
    for size in sizes:
        factor = loss / math.log(size)
        if round(factor) > 1 and abs(factor - round(factor)) <= WHOLE * factor:
            return Match("summed", loss, f"ln {size}", float(round(factor)), "a whole number")
    return None


def _candidates(sizes: tuple[int, ...], counts: Mapping[str, float]) -> Iterator[Match]:
    for size in sizes:
        for form, value in {f"ln {size}": math.log(size), f"log2 {size}": math.log2(size)}.items():
            yield Match("right", value, form)
            yield Match("other", -value, f"the log-likelihood without its minus, -{form}")
            for name, count in counts.items():
                yield Match("summed", value * count, form, count, name)
                yield Match("divided", value / count, form, count, name)
        for form, value in squared_errors(size).items():
            yield Match("other", value, form)
            for name, count in counts.items():
                yield Match("other", value * count, f"{form}, summed over {name}", count, name)


def squared_errors(size: int) -> dict[str, float]:
    """What squared errors of an even softmax, and of outputs of zero, are for ``size`` classes, by their words."""
    of_softmax, of_outputs = "of softmax and one-hot target", "of outputs and one-hot target"
    errors = {
        f"the mean squared error {of_softmax}, (V - 1) / V^2": (size - 1) / size**2,
        f"the summed squared error {of_softmax}, (V - 1) / V": (size - 1) / size,
        f"the mean squared error {of_outputs}, 1 / V": 1 / size,
        f"the summed squared error {of_outputs}, 1": 1.0,
    }
    halves = {f"half {form}": value / 2 for form, value in errors.items()}
    return {**errors, **halves, "the probability of the target without a logarithm, -1 / V": -1 / size}


def explain_first(loss: float, sizes: tuple[int, ...], counts: Mapping[str, float]) -> Match | None:
    """What the first loss of a new network seems to be: "right", or "summed" over one of the counts; or None."""
    ratios = [(loss / math.log(size), f"ln {size}", size) for size in sizes]
    for ratio, form, size in ratios:
        if SUMMED[0] <= ratio <= 1.5:
            return Match("right", math.log(size), form)
    for ratio, form, size in ratios:
        for name, count in counts.items():
            if count >= LEAST_COUNT and SUMMED[0] <= ratio / count <= SUMMED[1]:
                return Match("summed", count * math.log(size), form, count, name)
    return None


def explain_low(losses: list[float], sizes: tuple[int, ...]) -> Match | None:
    """The squared error that the first losses lie at, and stay near; None if they may be a trained network's.

    A new network's squared error is nearer to that of an even softmax the more classes there are. It hardly moves
    within three batches, whereas small negative log-likelihoods differ from batch to batch.
    """
    if max(losses) > 1.12 * min(losses):
        return None
    for size in sizes:
        for form, value in squared_errors(size).items():
            if value > 0.0 and "softmax" in form and abs(losses[0] / value - 1.0) <= 0.01 + 0.5 / size**1.5:
                return Match("other", value, form)
    return None


def weight_scale(params: Mapping[str, Array], size: int) -> float:
    """The standard deviation of a logit if all hidden units were at 1 or -1: about 0.6 for customary initial weights.

    Taken from the matrices that have ``size`` rows or columns, of which one is the output layer's.
    """
    scales = [0.0]
    for array in params.values():
        if array.ndim == 2 and size in array.shape and min(array.shape) > 1:
            units = array.shape[1] if array.shape[0] == size else array.shape[0]
            scales.append(float(np.sqrt(units * np.mean(np.square(array, dtype=np.float64)))))
    return max(scales)


def true_nll(logits: Any, targets: Array) -> float | None:
    """The mean negative log-likelihood of targets under logits, or under probabilities; None if shapes do not tell."""
    shown = np.asarray(logits)
    if shown.dtype.kind != "f" or targets.dtype.kind not in "iu" or not targets.size:
        return None
    axis = class_axis(shown.shape, targets.shape)
    if axis is None:
        return None
    scores = np.moveaxis(shown, axis, -1).astype(np.float64)
    if scores.shape[:-1] != targets.shape:
        if targets.ndim != 2 or scores.shape[:-1] != targets.T.shape:
            return None
        targets = targets.T
    counted = targets >= 0
    if not counted.any() or int(targets.max()) >= scores.shape[-1]:
        return None
    scores, chosen = scores[counted], targets[counted]
    if (scores >= 0.0).all() and np.allclose(scores.sum(axis=-1), 1.0, atol=1e-4):
        scores = np.log(np.maximum(scores, 1e-300))
    scores = scores - scores.max(axis=-1, keepdims=True)
    logarithms = scores[np.arange(len(chosen)), chosen] - np.log(np.exp(scores).sum(axis=-1))
    return float(-logarithms.mean())
