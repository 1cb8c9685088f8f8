"""The strongest dependence of targets on inputs by all tests, and whether it is one of their own sequence and step."""

from __future__ import annotations

import math

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.progress.dependence import DEPENDENCE_TESTS, Dependence, strongest_dependence
from rnncallbacks.detectors.progress.real_dependence import (
    REAL_DEPENDENCE,
    SINGLE_INPUTS,
    dependence_on_whole_sequences,
    dependence_within_sequences,
    strongest_real_dependence,
)


@attrs.frozen(kw_only=True)
class DependenceSearchThresholds:
    """Thresholds of the tests that are made, and of their results, set on half of the seeds of the fault benchmark."""

    dependent_z: float = 5.0
    """Standard normal quantile above which there is a dependence."""
    independent_z: float = 4.0
    """Standard normal quantile below which there is none, if it could have been detected."""
    detectable_association: float = 0.25
    """Largest Cramér's V, in [0, 1], that the tests may have missed."""
    detectable_by_correlation: float = 0.5
    """The same, up to which correlations of single classes are tested too: they need fewer tokens. Chosen by eye."""
    pairs_of_a_class: int = 10
    """Fewest targets of a class for these. Chosen by eye."""
    orders: int = 8
    """Other orders of the targets within their sequences that are compared with theirs."""
    deviations_of_orders: float = 3.0
    """Significance relative to those of other orders, in their standard deviations, from which the order matters."""
    steps_of_rolled: int = 4
    """Fewest time steps of sequences whose last target may be rolled. Chosen by eye."""


DEPENDENCE_SEARCH = DependenceSearchThresholds()

Way = tuple[Array, Array, Array | None]
"""Inputs, targets and the groups of positions: a way to read the arrays of a run."""


def strongest_of(ways: list[Way], tokens: bool) -> Dependence:
    """The strongest dependence over all ways to read the arrays; ``tokens``: they are token numbers.

    Example
    -------
    >>> tokens = np.random.default_rng(0).integers(0, 4, (100, 20))
    >>> strongest_of([(tokens, np.roll(tokens, 1, axis=1), None)], tokens=True).between
    'the input 1 steps before'
    """
    limits = DEPENDENCE_SEARCH
    found: list[Dependence] = []
    for inputs, targets, groups in ways:
        found.append(_strongest(inputs, targets, groups, tokens))
        detectable = found[-1].detectable_association
        few = limits.detectable_association <= detectable < limits.detectable_by_correlation
        few = few and tokens and found[-1].pairs >= limits.pairs_of_a_class * (int(targets.max()) + 1)
        if few and groups is None and found[-1].z < limits.independent_z:
            found.append(strongest_real_dependence(inputs, targets))  # needs fewer tokens of a class
        if not _is_per_step(inputs, targets) and found[-1].z < limits.dependent_z:
            found.append(dependence_on_whole_sequences(inputs, targets))
        if found[-1].z > limits.dependent_z:
            break
    return attrs.evolve(
        max(found, key=lambda one: one.z),
        tests=sum(one.tests for one in found),
        detectable_association=min(one.detectable_association for one in found),
    )


def single_input_association(dependence: Dependence) -> float:
    """About Cramér's V of targets and the input that they depend on; 1 for several inputs together.

    The statistic is about z standard deviations above independence, and that of the smallest detectable V is 5.
    """
    if dependence.between not in SINGLE_INPUTS:
        return 1.0
    deviations = dependence.z / DEPENDENCE_TESTS.detectable_deviations
    return min(1.0, dependence.detectable_association * math.sqrt(deviations))


def of_other_sequences(dependence: Dependence, way: Way) -> float:
    """The significance of the same dependence for the targets of other sequences.

    Steps of one sequence depend on each other, and two series that change slowly seem to depend on one another.

    Example
    -------
    >>> random = np.random.default_rng(0)
    >>> tokens = random.integers(0, 4, (100, 20))
    >>> way = (tokens, np.roll(tokens, 1, axis=1), None)
    >>> of_other_sequences(strongest_of([way], tokens=True), way) < 4
    True
    """
    inputs, targets, groups = way
    axis = 0 if groups is None else 1
    others = np.roll(targets, targets.shape[axis] // 2, axis=axis)
    tokens = inputs.dtype.kind == targets.dtype.kind == "i"
    return _strongest(inputs, others, groups, tokens, only=dependence.between).z


def within_sequences(dependence: Dependence, inputs: Array, targets: Array) -> Dependence | None:
    """The dependence within sequences, if that on one input, or all so far, is none of a target on its own step.

    None if it is one, or if that is not known.
    """
    steps, limits = inputs.shape[1], DEPENDENCE_SEARCH
    tested = (*SINGLE_INPUTS[: min(steps // 2, REAL_DEPENDENCE.largest_lag) + 1], *SINGLE_INPUTS[-2:])
    if not _is_per_step(inputs, targets) or dependence.between not in tested or steps < limits.steps_of_rolled:
        return None
    within = dependence_within_sequences(inputs, targets)
    none = within.z < limits.independent_z and within.detectable_association < limits.detectable_association
    return within if none and _is_of_any_order(dependence, inputs, targets) else None


def _is_of_any_order(dependence: Dependence, inputs: Array, targets: Array) -> bool:
    """Whether targets in another order within their sequences depend on the inputs as much."""
    tokens = inputs.dtype.kind == targets.dtype.kind == "i"
    random = np.random.default_rng(0)
    orders = [random.permuted(np.arange(targets.shape[1])) for _ in range(DEPENDENCE_SEARCH.orders)]
    others = [_strongest(inputs, targets[:, order], None, tokens, only=dependence.between).z for order in orders]
    own = _strongest(inputs, targets, None, tokens, only=dependence.between).z
    deviation = max(float(np.std(others)), 1.0)
    return own <= float(np.mean(others)) + DEPENDENCE_SEARCH.deviations_of_orders * deviation


def is_of_last_target(dependence: Dependence, way: Way) -> bool:
    """Whether the strongest dependence is that of each sequence's last target on its first input."""
    inputs, targets, groups = way
    steps = inputs.shape[1]
    if groups is not None or not _is_per_step(inputs, targets) or steps < DEPENDENCE_SEARCH.steps_of_rolled:
        return False
    of_first = dependence.between == f"the input {steps - 1} steps before"
    return dependence.z > DEPENDENCE_SEARCH.dependent_z and of_first


def without_last_step(inputs: Array, targets: Array, groups: Array | None) -> Way:
    """The arrays without the last step of each sequence."""
    return inputs[:, :-1], targets[:, :-1], groups


def _strongest(inputs: Array, targets: Array, groups: Array | None, tokens: bool, only: str = "") -> Dependence:
    if tokens:
        return strongest_dependence(inputs, targets, groups, only=only)
    return strongest_real_dependence(inputs, targets, only=only)


def _is_per_step(inputs: Array, targets: Array) -> bool:
    return targets.ndim > 1 and targets.shape[1] == inputs.shape[1]
