"""The constant baseline: the loss of the best prediction that does not depend on the inputs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.loss.sigmoid_loss import is_binary


def entropy(counts: npt.ArrayLike) -> float:
    r"""The entropy in nats of a distribution that is known from counts, with the Miller-Madow bias correction.

    .. math:: -\sum_i p_i \ln p_i + \frac{m - 1}{2 n}

    with :math:`p_i` the relative frequencies, m the number of outcomes with a count above 0, and n the sum of the
    counts. 0 if all counts are 0.

    Source: Miller, "Note on the bias of information estimates", Information theory in psychology (1955).

    Example
    -------
    >>> round(entropy([500_000, 500_000]), 4)  # ln 2
    0.6931
    """
    seen = np.asarray(counts, dtype=np.float64).ravel()
    seen = seen[seen > 0]
    total = float(seen.sum())
    if not total:
        return 0.0
    shares = seen / total
    return -float((shares * np.log(shares)).sum()) + (len(seen) - 1) / (2 * total)


def constant_baseline_loss(targets: Array) -> float:
    """The loss of a constant prediction: the entropy of classes in nats, the mean square of other numbers.

    Floating-point targets that are all whole numbers are classes. The mean square is the squared error of the
    prediction 0, the output of an untrained network. 0 for no targets.

    Example
    -------
    >>> constant_baseline_loss(np.array([0.5, -1.5]))
    1.25
    """
    if not targets.size:
        return 0.0
    if targets.dtype.kind == "f" and not np.array_equal(targets, np.rint(targets)):
        return float(np.mean(np.square(targets, dtype=np.float64)))
    return entropy(np.unique(targets, return_counts=True)[1])


def constant_losses(targets: Array) -> list[float]:
    """The losses of the best constant prediction: the entropy of classes in nats, negative ones left out.

    Of real numbers, of shape (sequences, ...), the variance, half of it, and the mean absolute deviation from the
    median, as the loss function is not known; of zeros and ones the binary cross-entropy as well, with
    a probability for each output on the third axis. Empty for no targets; 0 if all are the same.

    Example
    -------
    >>> constant_losses(np.array([0.5, -0.5]))
    [0.25, 0.125, 0.5]
    """
    if targets.dtype.kind == "i":
        counts = np.unique(targets[targets >= 0], return_counts=True)[1]
        return [entropy(counts) if len(counts) > 1 else 0.0] if len(counts) else []
    return _real_losses(targets, is_binary(targets)) if targets.size else []


def constant_losses_of_sequences(targets: Array) -> list[float]:
    """The losses of the best prediction that is constant within each sequence: those of each one, averaged.

    Example
    -------
    >>> constant_losses_of_sequences(np.array([[0.25, 0.25], [0.0, 1.0]]))
    [0.125, 0.0625, 0.25]
    """
    sequences = [targets[row : row + 1] for row in range(len(targets))]
    if targets.dtype.kind == "i":
        rows = [losses for one in sequences if (losses := constant_losses(one))]
    else:
        binary = is_binary(targets)
        rows = [_real_losses(one, binary) for one in sequences]
    return [sum(values) / len(rows) for values in zip(*rows, strict=True)]


def _real_losses(targets: Array, binary: bool) -> list[float]:
    variance = float(np.var(targets, dtype=np.float64))
    found = [variance, variance / 2, float(np.mean(np.abs(targets - np.median(targets))))]
    if binary:
        shares = targets.mean(axis=(0, 1)) if targets.ndim == 3 else targets.mean(keepdims=True)
        both = np.clip([shares, 1.0 - shares], 1e-300, 1.0)
        found.append(-float(np.mean((both * np.log(both)).sum(axis=0))))
    return found
