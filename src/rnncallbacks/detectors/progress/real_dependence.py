"""Tests whether real targets depend on inputs, or classes on real inputs: correlations with products, sums and lags.

Each sequence counts as one observation, as its steps are correlated with each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, combinations_with_replacement

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.progress.dependence import (
    DEPENDENCE_TESTS,
    PRESENT_INPUT,
    Dependence,
    strongest_dependence,
)


@attrs.frozen(kw_only=True)
class RealDependenceLimits:
    """Limits of the tests of :func:`strongest_real_dependence`, for their cost. Chosen by eye."""

    sequences: int = 1000
    """Most sequences that are compared."""
    features: int = 4
    """Most features of an input that are compared, and most outputs."""
    classes: int = 12
    """Most classes, the most frequent ones, that become columns of zeros and ones."""
    quantiles: int = 8
    """Quantile classes of real numbers for the chi-squared tests."""
    largest_lag: int = 16
    """Largest lag between input and target, in time steps."""
    largest_product_lag: int = 5
    """Largest lag of the two factors of a product, in time steps."""
    pairs_of_positions: int = 2500
    """Most products of two entries of a sequence that are compared with its target."""
    entries_of_triples: int = 16
    """Most entries of a sequence that are compared with its target by threes."""
    largest_deviation: float = 6.0
    """Standard deviations to which values are clipped, so that no single one decides."""
    fewest_sequences: int = 30
    """Fewest sequences whose correlation is tested."""
    alike_sequences: int = 400
    """Most sequences that are compared with each other as a whole."""
    permutations: int = 100
    """Permutations of the targets that give the mean and the deviation of that statistic."""
    smallest_share_within: float = 0.01
    """Share of the targets' variance that is one within sequences, up to which each sequence has one target."""
    certain_z: float = 6.5
    """Significance above which the number of tests, at most 100,000, cannot make a correlation one of chance: it stays
    4.3 or more."""


REAL_DEPENDENCE = RealDependenceLimits()

INPUTS_SO_FAR = ("the sum of the inputs so far", "the size of the inputs so far")
"""What targets depend on in the words of two tests of all inputs up to their step."""


def _lagged(lag: int) -> str:
    return PRESENT_INPUT if lag == 0 else f"the input {lag} steps before"


SINGLE_INPUTS = (*map(_lagged, range(REAL_DEPENDENCE.largest_lag + 1)), *INPUTS_SO_FAR)
"""The same of the tests of single inputs, and of these two."""


def strongest_real_dependence(inputs: Array, targets: Array, *, only: str = "") -> Dependence:
    r"""The strongest correlation between targets and the inputs up to the same step, by many tests.

    For targets per step, these are correlated with the input at each lag, products of two inputs, the sum of all inputs
    so far, and the input times the target before; the same holds for the targets' changes. For targets per sequence:
    with each entry of the sequence, with products of two entries, and with sums of entries and of products. Values are
    taken relative to the mean of their position. Real numbers are also replaced by quantiles, for the chi-squared tests
    of :func:`~rnncallbacks.detectors.progress.dependence.strongest_dependence`.

    With :math:`c_n` the sum over the steps of sequence n of the product of both deviations, the significance of N
    sequences is :math:`z = \sqrt N\,\bar c / s_c`, corrected for the number of tests as in ``strongest_dependence``.

    Parameters
    ----------
    inputs:
        Token numbers of shape (sequences, seq_len), or features of shape (sequences, seq_len, features).
    targets:
        Classes or real numbers of shape (sequences,) or (sequences, seq_len), or with a last axis of outputs.
    only:
        The words of the only tests that are made; empty for all.

    Example
    -------
    >>> marked = np.random.default_rng(0).random((300, 10, 2))
    >>> strongest_real_dependence(marked, (marked[:, :, 0] * marked[:, :, 1]).sum(axis=1)).z > 8
    True
    >>> strongest_real_dependence(marked, np.random.default_rng(1).random(300)).z < 4
    True
    """
    inputs, targets = inputs[: REAL_DEPENDENCE.sequences], targets[: REAL_DEPENDENCE.sequences]
    per_step = targets.ndim > 1 and targets.shape[1] == inputs.shape[1] and not _is_vector(inputs, targets)
    x = _columns(inputs, 2)
    y = _columns(targets, 2 if per_step else 1)
    found: list[tuple[float, str]] = []
    tests = 0
    smallest_detectable = 1.0
    for feature, between in _step_features(x, y) if per_step else _sequence_features(x):
        if only and between != only:
            continue
        z, detectable, number = _strongest(feature, y)
        tests += number
        if not found:
            smallest_detectable = detectable
        found.append((z, between))
        if found[-1][0] > DEPENDENCE_TESTS.conclusive_z:
            break
    largest, between = max(found, default=(0.0, "nothing"))
    corrected = math.sqrt(max(largest**2 - 2 * math.log(max(tests, 1)), 0.0))
    by_classes = [
        strongest_dependence(_quantiles(inputs[:, :, one] if inputs.ndim == 3 else inputs), classes, only=only)
        for one in range(min(x.shape[2], REAL_DEPENDENCE.features) if inputs.ndim == 3 else 1)
        for classes in _target_quantiles(targets, per_step)
        if corrected <= DEPENDENCE_TESTS.conclusive_z
    ]
    own = Dependence(corrected, between, tests, int(y[..., 0].size), smallest_detectable)
    best = max([own, *by_classes], key=lambda one: one.z)
    tests += sum(one.tests for one in by_classes)
    return attrs.evolve(best, tests=tests, detectable_association=smallest_detectable)


def dependence_on_whole_sequences(inputs: Array, targets: Array) -> Dependence:
    r"""Test whether sequences that are alike have targets that are alike, for one target a sequence.

    It finds dependences on many entries together that show in no test of one or two entries. The statistic is the
    Hilbert-Schmidt independence criterion :math:`\operatorname{tr}(Y^T K Y)` with K the Gaussian kernel of the
    distances between sequences, as wide as their median, and Y the targets minus their mean. Its significance is
    relative to the statistics of permuted targets.

    Source: Gretton et al., "A kernel statistical test of independence", NIPS (2007).

    Example
    -------
    >>> series = np.random.default_rng(0).normal(size=(200, 10, 1))
    >>> dependence_on_whole_sequences(series, series.mean(axis=(1, 2))).z > 5
    True
    >>> dependence_on_whole_sequences(series, np.random.default_rng(1).normal(size=200)).z < 4
    True
    """
    most = REAL_DEPENDENCE.alike_sequences
    x, y = _columns(inputs[:most], 2), _columns(targets[:most], 1)
    y = y - y.mean(axis=0)
    scale = x.std(axis=(0, 1))
    flat = (x / np.where(scale > 0.0, scale, 1.0)).reshape(len(x), -1)
    none = Dependence(0.0, "the whole sequence", 1, len(y), 1.0)
    if len(y) < REAL_DEPENDENCE.fewest_sequences or not np.ptp(y):
        return none
    squares = (flat * flat).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2.0 * flat @ flat.T, 0.0)
    width = float(np.median(distances))
    if not width > 0.0:
        return none
    kernel = np.exp(-distances / width)
    np.fill_diagonal(kernel, 0.0)
    random = np.random.default_rng(0)
    every = np.stack([y, *(random.permutation(y) for _ in range(REAL_DEPENDENCE.permutations))], axis=1)
    products = (kernel @ every.reshape(len(y), -1)).reshape(every.shape)
    statistics = (products * every).sum(axis=(0, 2))
    deviation = float(statistics[1:].std())
    z = float(statistics[0] - statistics[1:].mean()) / deviation if deviation > 0.0 else 0.0
    return attrs.evolve(none, z=max(z, 0.0))


def dependence_within_sequences(inputs: Array, targets: Array) -> Dependence:
    """A correlation of one target a step with the inputs, of deviations from the mean of their sequence.

    It is the first one that is certain, or the strongest if none is.

    Targets that were shuffled among the steps of their sequence still depend on the inputs of the sequence as a whole,
    but not on those of a step. Where each sequence has one target, repeated at each step, nothing is tested.

    Example
    -------
    >>> random = np.random.default_rng(0)
    >>> series = random.normal(size=(200, 10, 1)) + random.normal(size=(200, 1, 1))
    >>> dependence_within_sequences(series, series).z > 8
    True
    >>> dependence_within_sequences(series, random.permuted(series, axis=1)).z < 4
    True
    """
    most = REAL_DEPENDENCE.sequences
    x, y = _columns(inputs[:most], 2), _columns(targets[:most], 2)
    y = y - y.mean(axis=0)
    size = float(np.square(y).mean())
    y = y - y.mean(axis=1, keepdims=True)
    changes = float(np.square(y).mean()) > REAL_DEPENDENCE.smallest_share_within * size
    found: list[tuple[float, float, int, str]] = []
    for feature, between in _step_features(x, y) if changes else ():
        found.append((*_strongest(feature, y), between))
        if found[-1][0] > REAL_DEPENDENCE.certain_z:
            break
    tests = sum(number for _, _, number, _ in found)
    z, _, _, between = max(found, default=(0.0, 1.0, 0, "nothing"))
    corrected = math.sqrt(max(z**2 - 2 * math.log(max(tests, 1)), 0.0))
    return Dependence(corrected, between, tests, int(y[..., 0].size), found[0][1] if found else 1.0)


def _strongest(feature: Array, y: Array) -> tuple[float, float, int]:
    z, detectable = _correlation(feature, y)
    return float(z.max(initial=0.0)), detectable, z.size


def _is_vector(inputs: Array, targets: Array) -> bool:
    """Whether targets (sequences, outputs) are one vector for each sequence: of real numbers, fewer than steps."""
    return targets.ndim == 2 and targets.dtype.kind == "f" and targets.shape[1] != inputs.shape[1]


def _columns(values: Array, axes: int) -> Array:
    """Values with a last axis of features: that which they have, or one for each class."""
    if values.dtype.kind == "f":
        features = values.reshape(*values.shape[:axes], -1)[..., : REAL_DEPENDENCE.features]
        with np.errstate(all="ignore"):
            return np.asarray(np.nan_to_num(features, posinf=0.0, neginf=0.0), dtype=np.float64)
    classes, counts = np.unique(values[values >= 0], return_counts=True)
    chosen = classes[np.argsort(-counts, kind="stable")][: REAL_DEPENDENCE.classes]
    return np.asarray(values[..., None] == chosen, dtype=np.float64)


def _correlation(feature: Array, y: Array) -> tuple[Array, float]:
    """|z| of each feature with each column of y, and the smallest correlation that would have been detected.

    Features have the shape (sequences, steps, features), y the last steps of (sequences, seq_len, outputs); or neither
    has the axis of time.
    """
    if feature.ndim == 2:
        feature, y = feature[:, None], y[:, None]
    y = y[:, y.shape[1] - feature.shape[1] :]
    count = len(feature)
    if count < REAL_DEPENDENCE.fewest_sequences:
        return np.zeros(1), 1.0
    a, b = _standardized(feature), _standardized(y)
    steps = feature.shape[1]
    # Of each sequence, the sum over its steps of the products; its mean and variance over the sequences.
    products = np.matmul(a.transpose(0, 2, 1), b)
    mean, deviation = products.mean(axis=0), products.std(axis=0)
    error = np.maximum(deviation, 1e-12) / math.sqrt(count - 1)
    z = np.where(deviation > 1e-9, np.abs(mean) / error, 0.0)
    used = deviation[deviation > 1e-9]
    if not used.size:
        return z, 1.0
    detectable = DEPENDENCE_TESTS.detectable_deviations * float(np.median(used)) / steps / math.sqrt(count)
    return z, min(1.0, detectable)


def _standardized(values: Array) -> Array:
    """Deviations from the mean of each position, in units of the standard deviation of all positions, cut."""
    deviations = values - values.mean(axis=0)
    scale = deviations.std(axis=(0, 1))
    bound = REAL_DEPENDENCE.largest_deviation
    cut: Array = np.clip(deviations / np.where(scale > 0.0, scale, 1.0), -bound, bound)
    return cut


def _step_features(x: Array, y: Array) -> Iterator[tuple[Array, str]]:
    steps, most = x.shape[1], REAL_DEPENDENCE.largest_product_lag
    for lag in range(min(steps, REAL_DEPENDENCE.largest_lag + 1)):
        yield x[:, : steps - lag], _lagged(lag)
    yield x.cumsum(axis=1), INPUTS_SO_FAR[0]
    yield np.abs(x - x.mean(axis=(0, 1))).cumsum(axis=1), INPUTS_SO_FAR[1]
    for later, earlier in combinations_with_replacement(range(min(steps, most + 1)), 2):
        product = x[:, earlier - later : steps - later, :, None] * x[:, : steps - earlier, None, :]
        words = f"the product of the inputs {later} and {earlier} steps before"
        yield product.reshape(*product.shape[:2], -1), words
    if steps > 1:
        together = (x - x.mean(axis=0))[:, 1:, :, None] * y[:, :-1, None, :]
        yield together.reshape(len(x), steps - 1, -1), "the present input times the target before"


def _sequence_features(x: Array) -> Iterator[tuple[Array, str]]:
    flat = x.reshape(len(x), -1)
    yield flat[:, : REAL_DEPENDENCE.pairs_of_positions], "an entry of the sequence"
    pairs = (x[:, :, :, None] * x[:, :, None, :]).sum(axis=1).reshape(len(x), -1)
    neighbors = (x[:, 1:, :, None] * x[:, :-1, None, :]).sum(axis=1).reshape(len(x), -1)
    signs = np.sign(x - x.mean(axis=(0, 1))).prod(axis=1)  # the median of two values is one of them
    sums = np.hstack([signs, x.sum(axis=1), pairs, neighbors, np.abs(x).max(axis=1), x.argmax(axis=1), x.std(axis=1)])
    yield sums, "a sum over the sequence"
    first, second = np.triu_indices(min(flat.shape[1], math.isqrt(2 * REAL_DEPENDENCE.pairs_of_positions)))
    yield flat[:, first] * flat[:, second], "the product of two entries of the sequence"
    above = np.sign(flat - flat.mean(axis=0))[:, : REAL_DEPENDENCE.entries_of_triples]
    triples = np.array([*combinations(range(above.shape[1]), 3)], dtype=np.intp).reshape(-1, 3)
    yield above[:, triples].prod(axis=2), "the signs of three entries of the sequence together"


def _quantiles(values: Array) -> Array:
    """Token numbers as they are, real numbers by quantile."""
    if values.dtype.kind != "f":
        return values
    levels = np.linspace(0.0, 1.0, REAL_DEPENDENCE.quantiles + 1)[1:-1]
    return np.searchsorted(np.unique(np.quantile(values, levels)), values)


def _target_quantiles(targets: Array, per_step: bool) -> list[Array]:
    if targets.dtype.kind != "f":
        return [targets]
    axes = 2 if per_step else 1
    columns = targets.reshape(*targets.shape[:axes], -1)
    return [_quantiles(columns[..., one]) for one in range(min(columns.shape[-1], REAL_DEPENDENCE.features))]
