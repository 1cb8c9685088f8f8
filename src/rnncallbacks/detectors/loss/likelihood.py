"""The mean negative log-likelihood of targets under observed logits, and errors without a logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.loss.target_classes import class_axis


def nll_under_logits(logits: Any, targets: Array) -> float | None:
    r"""The mean negative log-likelihood in nats; None if the shapes do not agree, or the targets are not classes.

    .. math:: -\frac{1}{N} \sum_n \ln \operatorname{softmax}(z_n)_{y_n}

    Parameters
    ----------
    logits:
        Scores z or probabilities, with the axes of the targets, in any order, and one more for the classes.
    targets:
        Class numbers y; those below 0 are left out.

    Example
    -------
    >>> logits = np.array([[0.0, 0.0], [0.0, np.log(3.0)]])
    >>> round(nll_under_logits(logits, np.array([0, 1])), 4)  # the mean of ln 2 and -ln 0.75
    0.4904
    """
    found = _scores_of_targets(logits, targets)
    if found is None:
        return None
    scores, classes = found
    if _are_probabilities(scores):
        scores = np.log(np.maximum(scores, 1e-300))
    return float(-_log_softmax(scores)[np.arange(len(classes)), classes].mean())


def nll_of_softmax_twice(logits: Any, targets: Array) -> float | None:
    r"""The mean negative log-likelihood if a softmax is applied to probabilities; None as in :func:`nll_under_logits`.

    It cannot fall below :math:`\ln(1 + (V - 1) / e)` for V classes.

    Example
    -------
    >>> round(nll_of_softmax_twice(np.array([[100.0, 0.0, 0.0]]), np.array([0])), 4)  # ln(1 + 2 / e)
    0.5514
    """
    found = _scores_of_targets(logits, targets)
    if found is None:
        return None
    scores, classes = found
    return float(-_log_softmax(_probabilities(scores))[np.arange(len(classes)), classes].mean())


def uniform_nll_under_logits(logits: Any, targets: Array, *, twice: bool) -> float | None:
    r"""The mean negative log-likelihood of all classes alike, the part of a loss with smoothed labels.

    .. math:: -\frac{1}{N V} \sum_n \sum_v \ln \operatorname{softmax}(z_n)_v

    ``twice``: a softmax is applied to the probabilities. None as in :func:`nll_under_logits`.

    Example
    -------
    >>> round(uniform_nll_under_logits(np.array([[0.0, np.log(3.0)]]), np.array([0]), twice=False), 4)
    0.837
    """
    found = _scores_of_targets(logits, targets)
    if found is None:
        return None
    scores = found[0]
    if twice:
        scores = _probabilities(scores)
    elif _are_probabilities(scores):
        scores = np.log(np.maximum(scores, 1e-300))
    return float(-_log_softmax(scores).mean())


def squared_errors_under_logits(logits: Any, targets: Array) -> dict[str, float]:
    """Mean squared errors against the one-hot targets, of the softmax and of the logits, by name; none as above.

    The mean is over positions and classes.

    Example
    -------
    >>> errors = squared_errors_under_logits(np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([0, 1]))
    >>> print(*(f"{name}: {error}" for name, error in errors.items()), sep=", ")
    softmax: 0.25, outputs: 0.5
    """
    found = _scores_of_targets(logits, targets)
    if found is None:
        return {}
    scores, classes = found
    one_hot = np.zeros_like(scores)
    one_hot[np.arange(len(classes)), classes] = 1.0
    return {
        name: float(np.mean(np.square(array - one_hot)))
        for name, array in (("softmax", _probabilities(scores)), ("outputs", scores))
    }


def missing_probability_under_logits(logits: Any, targets: Array) -> float | None:
    r"""One minus the probability of the target, the mean over positions; None as in :func:`nll_under_logits`.

    .. math:: \frac{1}{N} \sum_n (1 - p_{n, y_n}) = \frac{1}{2N} \sum_n \sum_v |p_{nv} - [v = y_n]|

    Example
    -------
    >>> missing_probability_under_logits(np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([0, 1]))
    0.5
    """
    found = _scores_of_targets(logits, targets)
    if found is None:
        return None
    scores, classes = found
    return float(1.0 - _probabilities(scores)[np.arange(len(classes)), classes].mean())


def _are_probabilities(scores: Array) -> bool:
    return bool((scores >= 0.0).all() and np.allclose(scores.sum(axis=-1), 1.0, atol=1e-4))


def _probabilities(scores: Array) -> Array:
    return scores if _are_probabilities(scores) else np.exp(_log_softmax(scores))


def _log_softmax(scores: Array) -> Array:
    scores = scores - scores.max(axis=-1, keepdims=True)
    logarithms: Array = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return logarithms


def _scores_of_targets(logits: Any, targets: Array) -> tuple[Array, Array] | None:
    """The scores of each position that counts, (positions, classes), and its class; None if the shapes disagree."""
    scores = np.asarray(logits)
    if scores.dtype.kind != "f" or targets.dtype.kind not in "iu" or not targets.size:
        return None
    axis = class_axis(scores.shape, targets.shape)
    if axis is None and targets.ndim == 2 and 1 in targets.shape:  # a single sequence, whose logits have no batch axis
        targets = targets.reshape(-1)
        axis = class_axis(scores.shape, targets.shape)
    if axis is None:
        return None
    scores = np.moveaxis(scores, axis, -1).astype(np.float64)
    if scores.shape[:-1] != targets.shape:
        if targets.ndim != 2 or scores.shape[:-1] != targets.T.shape:
            return None
        targets = targets.T
    counted = targets >= 0
    if not counted.any() or int(targets.max()) >= scores.shape[-1]:
        return None
    return scores[counted], targets[counted]
