"""Whether targets depend on inputs at all, from counts alone: chi-square tests by time lag, position by position.

Shuffled labels have one sign that no plateau has: no input, at no lag, tells anything of the target. A task whose loss
rests for hundreds of epochs does depend on its inputs, long before the network finds out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays import Array

IntArray = npt.NDArray[np.intp]

CLASSES = 32
"""Tokens are put into so many classes at most, each of about a 32nd of all: rare ones together."""

LAGS, PAIRED_LAGS = 32, 8
"""Lags that are tried alone, and together with the present input."""

CELLS = 50_000
"""Most counts in one table; positions are put together until it is no larger."""

MISSING = -1

SURE = 8.0
"""A standard normal number beyond which no further test is made."""


@attrs.frozen
class Dependence:
    """The strongest dependence that was found.

    ``z`` is how surely there is one, as a standard normal number that counts but one of the ``tests``; ``where`` says
    between what. ``pairs`` is the number of inputs with their targets, and ``visible`` the least association, of 1,
    that could not have been missed in so many.
    """

    z: float
    where: str
    tests: int
    pairs: int
    visible: float


def grouped(tokens: Array, most: int = CLASSES) -> IntArray:
    """Class numbers for tokens; what is below 0 is ``MISSING``.

    Of more than ``most`` tokens, the commonest have half of the classes for themselves, and the others share the rest.

    Example
    -------
    >>> grouped(np.array([7, 7, 9, 9, 3, 4, 5, -1]), most=4)
    array([ 0,  0,  1,  1,  2,  3,  2, -1])
    """
    values, places, counts = np.unique(tokens, return_inverse=True, return_counts=True)
    real = values >= 0
    order = np.argsort(np.where(real, -counts, 1), kind="stable")[: int(real.sum())]
    ranks = np.arange(len(order))
    own = most if len(order) <= most else most // 2
    classes = np.full(len(values), MISSING, dtype=np.intp)
    classes[order] = np.where(ranks < own, ranks, own + (ranks - own) % max(most - own, 1))
    return classes[places].reshape(tokens.shape)


def chi_square(x: Array, y: Array, strata: Array) -> tuple[float, float]:
    r"""How surely ``x`` and ``y`` depend on each other within the strata, and the least association seen for sure.

    Pearson's :math:`X^2` is summed over the tables of all strata. Its mean and variance are those over all
    permutations within a stratum, which holds for few counts too, and a chi-square distribution of this mean and
    variance turns it into a standard normal number. The association is Cramér's V, in [0, 1].

    Source: Haldane, "The mean and variance of chi-squared, when used as a test of homogeneity, when expectations are
    small", Biometrika 31 (1940); Wilson and Hilferty, "The distribution of chi-square" (1931).

    Example
    -------
    >>> coin = np.arange(400) % 2
    >>> z, visible = chi_square(coin, coin, np.zeros(400, dtype=int))
    >>> z > 10, visible < 0.4
    (True, True)
    """
    kept = (x >= 0) & (y >= 0) & (strata >= 0)
    x, y, strata = x[kept], y[kept], strata[kept]
    if not len(x):
        return 0.0, 1.0
    width, height, depth = int(x.max()) + 1, int(y.max()) + 1, int(strata.max()) + 1
    n = np.bincount(strata, minlength=depth).astype(np.float64)
    rows = np.bincount(strata * width + x, minlength=depth * width).reshape(depth, width)
    columns = np.bincount(strata * height + y, minlength=depth * height).reshape(depth, height)
    over_rows, over_columns = (
        np.divide(1.0, some, out=np.zeros(some.shape), where=some > 0) for some in (rows, columns)
    )
    # The sum of (o - e)^2 / e over a table is n (sum of o^2 / (row column) - 1), so that only its filled cells count.
    counts = np.bincount((strata * width + x) * height + y)
    cells = np.flatnonzero(counts)
    stratum, row, column = cells // (width * height), cells // height % width, cells % height
    shares = counts[cells].astype(np.float64) ** 2 * over_rows[stratum, row] * over_columns[stratum, column]
    squares = np.bincount(stratum, shares, minlength=depth)
    used = n > 3  # the variance has no meaning below
    if not used.any():
        return 0.0, 1.0
    n, squares = n[used], squares[used]
    statistic = float((n * (squares - 1.0)).sum())
    r, c = (rows[used] > 0).sum(axis=1), (columns[used] > 0).sum(axis=1)
    inverse_rows, inverse_columns = over_rows[used], over_columns[used]
    mean = float((n * (r - 1) * (c - 1) / (n - 1)).sum())
    variance = float(_variance(n, r, c, inverse_rows.sum(axis=1), inverse_columns.sum(axis=1)).sum())
    if mean <= 0.0 or variance <= 0.0:
        return 0.0, 1.0
    spread = 2.0 * mean * mean / variance
    root = max(statistic, 0.0) / mean
    z = (root ** (1 / 3) - (1 - 2 / (9 * spread))) / math.sqrt(2 / (9 * spread))
    full = float((n * (np.minimum(r, c) - 1)).sum())
    return z, min(1.0, math.sqrt(5.0 * math.sqrt(variance) / full)) if full else 1.0


def _variance(n: Array, r: Array, c: Array, over_rows: Array, over_columns: Array) -> Array:
    """Of each table's chi-square over all permutations, from the sums of one over its margins."""
    v_rows, v_columns = ((n - k) * (k - 1) / (n - 1) for k in (r, c))
    w_rows, w_columns = ((n * some - k * k) / (n - 2) for some, k in ((over_rows, r), (over_columns, c)))
    value: Array = 2 * n / (n - 3) * (v_rows - w_rows) * (v_columns - w_columns) + n * n / (n - 1) * w_rows * w_columns
    return value


def dependence(inputs: Array, targets: Array, groups: Array | None = None) -> Dependence:
    """Look for any dependence of targets on inputs.

    ``inputs`` are token numbers of shape (sequences, seq_len), below 0 where there is none; ``targets`` are likewise,
    or one per sequence. ``groups`` numbers, from 0 and rising, the columns that may each have a distribution of their
    own; None: every column, as where sequences begin in the first. Tried are the input at each lag; at some lags also
    for each present input, which finds what only two inputs together tell; and the present input for each target before
    it, which finds what adds up. For targets of whole sequences: the input at each position, and how often each token
    occurs.

    Example
    -------
    >>> tokens = np.random.default_rng(0).integers(0, 4, (100, 20))
    >>> found = dependence(tokens, np.roll(tokens, 2, axis=1))
    >>> found.where, found.z > 8
    ('the input 2 steps before', True)
    >>> dependence(tokens, np.random.default_rng(1).integers(0, 4, (100, 20))).z < 4
    True
    """
    x, y = grouped(inputs), grouped(targets)
    tests: list[tuple[tuple[float, float], str]] = []
    for test in (
        _of_sequences(x, y) if y.ndim == 1 else _of_steps(x, y, np.arange(x.shape[1]) if groups is None else groups)
    ):
        tests.append(test)
        if test[0][0] > SURE:  # nothing more is needed, and many others would follow from it
            break
    (z, _), where = max(tests, key=lambda test: test[0][0])
    # The chance that one of so many tests goes so far is at most their number times that of one.
    several = math.sqrt(max(z * z - 2 * math.log(len(tests)), 0.0)) if z > 0.0 else 0.0
    pairs = len(y) if y.ndim == 1 else int(((x >= 0) & (y >= 0)).sum())
    return Dependence(several, where, len(tests), pairs, tests[0][0][1])


def _of_steps(x: IntArray, y: IntArray, groups: Array) -> Iterator[tuple[tuple[float, float], str]]:
    length = x.shape[1]
    width, height = int(x.max()) + 1, int(y.max()) + 1

    def strata(cells: int, lag: int, given: Array | None = None) -> Array:
        most, count = max(CELLS // max(cells, 1), 1), int(groups.max()) + 1
        position = np.broadcast_to(groups * min(most, count) // count, x.shape)[:, lag:].ravel()
        if given is None:
            return position
        return np.where(given >= 0, position * (int(given.max()) + 1) + given, MISSING)

    for lag in range(min(length, LAGS + 1)):
        found = chi_square(_before(x, lag), _from(y, lag), strata(width * height, lag))
        yield found, "the present input" if lag == 0 else f"the input {lag} steps before"
    for lag in range(1, min(length, PAIRED_LAGS + 1)):
        given = strata(width * height * width, lag, _from(x, lag))
        name = f"the present input and that {lag} steps before together"
        yield chi_square(_before(x, lag), _from(y, lag), given), name
    if length > 1:
        given = strata(width * height * height, 1, _before(y, 1))
        yield chi_square(_from(x, 1), _from(y, 1), given), "the present input and the target before together"


def _from(array: IntArray, step: int) -> IntArray:
    return array[:, step:].ravel()


def _before(array: IntArray, lag: int) -> IntArray:
    return array[:, : array.shape[1] - lag].ravel()


def _of_sequences(x: IntArray, y: IntArray) -> Iterator[tuple[tuple[float, float], str]]:
    none = np.zeros(len(y), dtype=np.intp)
    for step in range(x.shape[1]):
        yield chi_square(x[:, step], y, none), f"the input at step {step + 1}"
    for token in range(int(x.max()) + 1):
        counts = (x == token).sum(axis=1)
        edges = np.unique(np.quantile(counts, [0.25, 0.5, 0.75]))
        yield chi_square(np.searchsorted(edges, counts), y, none), "how often a token occurs"
        yield chi_square(counts % 2, y, none), "whether a token occurs an even number of times"
