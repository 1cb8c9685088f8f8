"""Chi-squared tests of independence between inputs and targets, lag by lag, stratified by position.

Shuffled labels differ from any plateau in one respect: the target is independent of the input at every lag. In a task
whose loss stays flat for hundreds of epochs, the target does depend on the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, islice

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays.containers import Array

ClassNumbers = npt.NDArray[np.intp]

MISSING_TOKEN = -1
"""The token number of a position without a token, such as padding."""


PRESENT_INPUT = "the present input"
"""What targets depend on in the words of a test: of all dependences on one input, the only one without a lag."""


@attrs.frozen(kw_only=True)
class DependenceTestLimits:
    """Limits of the tests of :func:`strongest_dependence`, for their cost. Chosen by eye."""

    token_classes: int = 32
    """Largest number of classes of tokens."""
    largest_lag: int = 32
    """Largest lag between input and target that is tested, in time steps."""
    largest_joint_lag: int = 8
    """Largest lag at which two inputs are tested together, in time steps."""
    joint_positions: int = 120
    """Most pairs of positions whose inputs are tested together for a target per sequence: all of 16 positions."""
    table_cells: int = 50_000
    """Most cells of all contingency tables of one test; neighboring positions share a table until this holds."""
    conclusive_z: float = 8.0
    """Standard normal quantile after which no further test is made."""
    compared_tokens: int = 4
    """Most tokens, the most frequent ones, whose numbers in a sequence are compared: brackets are balanced only if
    both occur as often."""
    largest_difference: int = 3
    """Largest difference of these numbers that has a class of its own; larger ones share it."""
    smallest_table: int = 3
    """Counts up to which a table is left out, as the variance of its statistic is not defined."""
    detectable_deviations: float = 5.0
    """Standard deviations of the statistic that a dependence must exceed to be detected."""


DEPENDENCE_TESTS = DependenceTestLimits()


@attrs.frozen
class Dependence:
    """The strongest dependence that was found.

    Parameters
    ----------
    z:
        Its significance as a standard normal quantile, corrected for the number of tests; 0 for none.
    between:
        The variables that the target depends on, in words.
    tests:
        Number of tests made.
    pairs:
        Number of inputs with a target.
    detectable_association:
        The smallest Cramér's V, in [0, 1], that the first test would have detected.
    """

    z: float
    between: str
    tests: int
    pairs: int
    detectable_association: float


def token_classes(tokens: Array, most: int = DEPENDENCE_TESTS.token_classes) -> ClassNumbers:
    """Map tokens to at most ``most`` classes, numbered from 0 in order of frequency.

    If there are more than ``most`` distinct tokens, the most frequent ones get half of the classes for themselves, and
    the others share the rest. ``tokens`` may have any shape, which the result has too; values below 0 become
    ``MISSING_TOKEN``.

    Example
    -------
    >>> token_classes(np.array([7, 7, 9, 9, 3, 4, 5, -1]), most=4)
    array([ 0,  0,  1,  1,  2,  3,  2, -1])
    """
    values, places, counts = np.unique(tokens, return_inverse=True, return_counts=True)
    present = values >= 0
    order = np.argsort(np.where(present, -counts, 1), kind="stable")[: int(present.sum())]
    ranks = np.arange(len(order))
    own = most if len(order) <= most else most // 2
    classes = np.full(len(values), MISSING_TOKEN, dtype=np.intp)
    classes[order] = np.where(ranks < own, ranks, own + (ranks - own) % max(most - own, 1))
    return classes[places].reshape(tokens.shape)


def chi_squared_test(x: Array, y: Array, strata: Array) -> tuple[float, float]:
    r"""Test whether ``x`` and ``y`` are independent within the strata.

    Pearson's statistic :math:`X^2 = \sum (o - e)^2 / e` is summed over the contingency tables of all strata. Its mean
    and variance are the exact ones over all permutations within each stratum, so that the test holds for small counts
    too. The statistic is compared with a chi-squared distribution of that mean and variance, by Wilson and Hilferty's
    approximation.

    Parameters
    ----------
    x, y, strata:
        Class numbers of shape (n,); entries where one of them is below 0 are left out.

    Returns
    -------
    z:
        The statistic as a standard normal quantile; 0 if there is nothing to test.
    detectable_association:
        The smallest Cramér's V, in [0, 1], that is detected: 5 standard deviations above independence.

    Source: Haldane, "The mean and variance of chi-squared, when used as a test of homogeneity, when expectations are
    small", Biometrika 31 (1940); Wilson and Hilferty, "The distribution of chi-square", Proceedings of the National
    Academy of Sciences 17 (1931).

    Example
    -------
    >>> coin = np.arange(400) % 2
    >>> z, detectable = chi_squared_test(coin, coin, np.zeros(400, dtype=int))
    >>> z > 10, detectable < 0.4
    (True, True)
    """
    known = (x >= 0) & (y >= 0) & (strata >= 0)
    x, y, strata = x[known], y[known], strata[known]
    if not len(x):
        return 0.0, 1.0
    width, height, depth = int(x.max()) + 1, int(y.max()) + 1, int(strata.max()) + 1
    n = np.bincount(strata, minlength=depth).astype(np.float64)
    rows = np.bincount(strata * width + x, minlength=depth * width).reshape(depth, width)
    columns = np.bincount(strata * height + y, minlength=depth * height).reshape(depth, height)
    inverse_rows, inverse_columns = (
        np.divide(1.0, margin, out=np.zeros(margin.shape), where=margin > 0) for margin in (rows, columns)
    )
    # The sum of (o - e)^2 / e over a table is n (sum of o^2 / (row column) - 1), so that only its filled cells count.
    counts = np.bincount((strata * width + x) * height + y)
    cells = np.flatnonzero(counts)
    stratum, row, column = cells // (width * height), cells // height % width, cells % height
    terms = counts[cells].astype(np.float64) ** 2 * inverse_rows[stratum, row] * inverse_columns[stratum, column]
    squares = np.bincount(stratum, terms, minlength=depth)
    used = n > DEPENDENCE_TESTS.smallest_table
    if not used.any():
        return 0.0, 1.0
    n, squares = n[used], squares[used]
    statistic = float((n * (squares - 1.0)).sum())
    r, c = (rows[used] > 0).sum(axis=1), (columns[used] > 0).sum(axis=1)
    mean = float((n * (r - 1) * (c - 1) / (n - 1)).sum())
    variance = float(
        _permutation_variance(n, r, c, inverse_rows[used].sum(axis=1), inverse_columns[used].sum(axis=1)).sum()
    )
    if mean <= 0.0 or variance <= 0.0:
        return 0.0, 1.0
    degrees = 2.0 * mean * mean / variance
    ratio = max(statistic, 0.0) / mean
    z = (ratio ** (1 / 3) - (1 - 2 / (9 * degrees))) / math.sqrt(2 / (9 * degrees))
    largest = float((n * (np.minimum(r, c) - 1)).sum())
    if not largest:
        return z, 1.0
    return z, min(1.0, math.sqrt(DEPENDENCE_TESTS.detectable_deviations * math.sqrt(variance) / largest))


def _permutation_variance(n: Array, r: Array, c: Array, inverse_rows: Array, inverse_columns: Array) -> Array:
    """Haldane's variance of each table's statistic; the last two are the sums of 1 / margin over rows and columns."""
    v_rows, v_columns = ((n - k) * (k - 1) / (n - 1) for k in (r, c))
    w_rows, w_columns = ((n * total - k * k) / (n - 2) for total, k in ((inverse_rows, r), (inverse_columns, c)))
    value: Array = 2 * n / (n - 3) * (v_rows - w_rows) * (v_columns - w_columns) + n * n / (n - 1) * w_rows * w_columns
    return value


def strongest_dependence(inputs: Array, targets: Array, groups: Array | None = None, *, only: str = "") -> Dependence:
    r"""Test the targets for dependence on the inputs in many ways, and return the strongest one.

    For targets per step, these are tested: the input at each lag; the inputs at lags 0 and k together, which detects
    their joint effect; and the input and the target before together, which detects running sums. For targets per
    sequence: the input at each position, how often each token occurs, how much more often than another one, and the
    inputs at two positions together.

    Testing stops at a conclusive result. Otherwise the significance is corrected for the number k of tests,
    :math:`\sqrt{z^2 - 2 \ln k}`: by the bound :math:`e^{-z^2/2}` on the normal tail, one of k tests exceeds z with at
    most the probability of one test exceeding this.

    Parameters
    ----------
    inputs:
        Token numbers of shape (sequences, seq_len); below 0 where there is none.
    targets:
        Token numbers of shape (sequences, seq_len), or one class per sequence, of shape (sequences,).
    groups:
        Numbers of shape (seq_len,), from 0 and rising: positions of one number have one distribution. By default each
        position has its own, as where sequences begin at the first one.
    only:
        The words of the only tests that are made; empty for all.

    Example
    -------
    >>> tokens = np.random.default_rng(0).integers(0, 4, (100, 20))
    >>> found = strongest_dependence(tokens, np.roll(tokens, 2, axis=1))
    >>> found.between, found.z > 8
    ('the input 2 steps before', True)
    >>> strongest_dependence(tokens, np.random.default_rng(1).integers(0, 4, (100, 20))).z < 4
    True
    """
    if not inputs.size or not targets.size:  # as of sequences of a single step without their last one
        return Dependence(0.0, only, 0, 0, 1.0)
    x, y = token_classes(inputs), token_classes(targets)
    per_sequence = y.ndim == 1
    results: list[tuple[tuple[float, float], str]] = []
    for result in (
        _tests_per_sequence(x, y)
        if per_sequence
        else _tests_per_step(x, y, np.arange(x.shape[1]) if groups is None else groups)
    ):
        if only and result[1] != only:
            continue
        results.append(result)
        is_only = only and not per_sequence  # tests per sequence share their words
        if is_only or result[0][0] > DEPENDENCE_TESTS.conclusive_z:
            break
    if not results:
        return Dependence(0.0, only, 0, 0, 1.0)
    (z, _), between = max(results, key=lambda result: result[0][0])
    corrected = math.sqrt(max(z * z - 2 * math.log(len(results)), 0.0)) if z > 0.0 else 0.0
    pairs = len(y) if per_sequence else int(((x >= 0) & (y >= 0)).sum())
    return Dependence(corrected, between, len(results), pairs, results[0][0][1])


def _tests_per_step(x: ClassNumbers, y: ClassNumbers, groups: Array) -> Iterator[tuple[tuple[float, float], str]]:
    length = x.shape[1]
    width, height = int(x.max()) + 1, int(y.max()) + 1

    def strata(cells: int, lag: int, given: Array | None = None) -> Array:
        most, count = max(DEPENDENCE_TESTS.table_cells // max(cells, 1), 1), int(groups.max()) + 1
        position = np.broadcast_to(groups * min(most, count) // count, x.shape)[:, lag:].ravel()
        if given is None:
            return position
        return np.where(given >= 0, position * (int(given.max()) + 1) + given, MISSING_TOKEN)

    for lag in range(min(length, DEPENDENCE_TESTS.largest_lag + 1)):
        result = chi_squared_test(_before(x, lag), _from(y, lag), strata(width * height, lag))
        yield result, PRESENT_INPUT if lag == 0 else f"the input {lag} steps before"
    for lag in range(1, min(length, DEPENDENCE_TESTS.largest_joint_lag + 1)):
        given = strata(width * height * width, lag, _from(x, lag))
        between = f"the present input and that {lag} steps before together"
        yield chi_squared_test(_before(x, lag), _from(y, lag), given), between
    if length > 1:
        given = strata(width * height * height, 1, _before(y, 1))
        between = "the present input and the target before together"
        yield chi_squared_test(_from(x, 1), _from(y, 1), given), between


def _from(array: ClassNumbers, step: int) -> ClassNumbers:
    return array[:, step:].ravel()


def _before(array: ClassNumbers, lag: int) -> ClassNumbers:
    return array[:, : array.shape[1] - lag].ravel()


def _tests_per_sequence(x: ClassNumbers, y: ClassNumbers) -> Iterator[tuple[tuple[float, float], str]]:
    one_stratum = np.zeros(len(y), dtype=np.intp)
    for step in range(x.shape[1]):
        yield chi_squared_test(x[:, step], y, one_stratum), f"the input at step {step + 1}"
    for token in range(int(x.max()) + 1):
        counts = (x == token).sum(axis=1)
        quartiles = np.unique(np.quantile(counts, [0.25, 0.5, 0.75]))
        yield chi_squared_test(np.searchsorted(quartiles, counts), y, one_stratum), "how often a token occurs"
        yield chi_squared_test(counts % 2, y, one_stratum), "whether a token occurs an even number of times"
    for one, other in combinations(range(min(int(x.max()) + 1, DEPENDENCE_TESTS.compared_tokens)), 2):
        difference = np.abs((x == one).sum(axis=1) - (x == other).sum(axis=1))
        alike = np.minimum(difference, DEPENDENCE_TESTS.largest_difference)
        yield chi_squared_test(alike, y, one_stratum), "how much more often one token occurs than another"
    for one, other in islice(combinations(range(x.shape[1]), 2), DEPENDENCE_TESTS.joint_positions):
        strata = x[:, other]
        yield chi_squared_test(x[:, one], y, strata), f"the inputs at steps {one + 1} and {other + 1} together"
