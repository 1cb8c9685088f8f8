"""The mean negative log-likelihood of targets under observed logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.detectors.loss.target_classes import class_axis


def nll_under_logits(logits: Any, targets: Array) -> float | None:
    r"""The mean negative log-likelihood in nats; None if the shapes do not agree, or the targets are no classes.

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
    scores = np.asarray(logits)
    if scores.dtype.kind != "f" or targets.dtype.kind not in "iu" or not targets.size:
        return None
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
    scores, classes = scores[counted], targets[counted]
    if (scores >= 0.0).all() and np.allclose(scores.sum(axis=-1), 1.0, atol=1e-4):  # probabilities
        scores = np.log(np.maximum(scores, 1e-300))
    scores = scores - scores.max(axis=-1, keepdims=True)
    log_probabilities = scores[np.arange(len(classes)), classes] - np.log(np.exp(scores).sum(axis=-1))
    return float(-log_probabilities.mean())
