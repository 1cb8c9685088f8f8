"""What a network loses that knows its targets' distribution and nothing of its inputs. Pure functions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays import Array


def entropy(counts: npt.ArrayLike) -> float:
    r"""The entropy in nats of a distribution seen as counts, with Miller and Madow's correction for few counts.

    .. math:: -\sum_i p_i \ln p_i + \frac{m - 1}{2 n}

    with m the number of outcomes that were seen, and n that of all counts. 0 for no count.

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


def blind_loss(targets: Array) -> float:
    """The least loss of a constant output: the entropy of tokens, the mean square of other numbers.

    The mean square is that of the output 0, with which networks begin.

    Example
    -------
    >>> blind_loss(np.array([0.5, -1.5]))
    1.25
    """
    if not targets.size:
        return 0.0
    if targets.dtype.kind == "f" and not np.array_equal(targets, np.rint(targets)):
        return float(np.mean(np.square(targets, dtype=np.float64)))
    return entropy(np.unique(targets, return_counts=True)[1])
