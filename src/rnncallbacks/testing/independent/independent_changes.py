"""The changes that faults and traps make to gradients, weights, data and reports of an independent script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.testing.independent.independent_tasks import IndependentTask, Pair
from rnncallbacks.testing.independent.styled_network import Role, StyledNetwork

Pairs = list[Pair]
GradientChange = Callable[[Mapping[str, Array], StyledNetwork], None]

# Factors of a loss ---------------------------------------------------------------------------------------------------


def number_of_steps(steps: int, rows: int) -> float:
    return float(steps)


def number_of_sequences(steps: int, rows: int) -> float:
    return float(rows)


def number_of_positions(steps: int, rows: int) -> float:
    return float(steps * rows)


def inverse_number_of_positions(steps: int, rows: int) -> float:
    return 1.0 / (steps * rows)


# Reports -------------------------------------------------------------------------------------------------------------


def over_sequences(losses: Sequence[float], rows: int) -> float:
    """The sum of the batch losses over the number of sequences of the epoch."""
    return sum(losses) / (rows * len(losses))


def over_nothing(losses: Sequence[float], rows: int) -> float:
    """The sum of the batch losses."""
    return sum(losses)


def over_batch_size(losses: Sequence[float], rows: int) -> float:
    """The sum of the batch losses over the sequences of one batch."""
    return sum(losses) / rows


# Backward passes -----------------------------------------------------------------------------------------------------


def untransposed(matrix: Array) -> Array:
    return matrix


def no_recurrence(matrix: Array) -> Array:
    return np.zeros_like(matrix)


# Gradients and weights -----------------------------------------------------------------------------------------------


def scaled_array(role: Role, factor: float) -> GradientChange:
    """Multiplies the gradient of one array."""

    def change(grads: Mapping[str, Array], net: StyledNetwork) -> None:
        grads[net.representatives[role]][...] *= factor

    return change


def clipped_entries(bound: float) -> GradientChange:
    """Clips each entry of each gradient, before the run is shown it."""

    def change(grads: Mapping[str, Array], net: StyledNetwork) -> None:
        for grad in grads.values():
            np.clip(grad, -bound, bound, out=grad)

    return change


def clipped_norm(bound: float) -> GradientChange:
    """Clips the global norm, before the run is shown the gradients."""

    def change(grads: Mapping[str, Array], net: StyledNetwork) -> None:
        norm = np.sqrt(sum(float(np.sum(grad**2)) for grad in grads.values()))
        for grad in grads.values():
            grad *= min(1.0, bound / max(norm, 1e-30))

    return change


def scaled_weights(**factors: float) -> Callable[[Mapping[Role, list[Array]]], None]:
    """Multiplies initial weights by role."""

    def change(blocks: Mapping[Role, list[Array]]) -> None:
        for role, arrays in blocks.items():
            for array in arrays:
                array *= factors.get(role, 1.0)

    return change


# Data ----------------------------------------------------------------------------------------------------------------


def shuffled_targets(pairs: Pairs, generator: np.random.Generator, task: IndependentTask) -> Pairs:
    """Each target changes places with another one of any batch."""
    axes = 2 if task.where == "each step" else 1
    every = np.concatenate([y.reshape(-1, *y.shape[axes:]) for _, y in pairs])
    generator.shuffle(every)
    ends = np.cumsum([int(np.prod(y.shape[:axes])) for _, y in pairs])
    return [(x, part.reshape(y.shape)) for (x, y), part in zip(pairs, np.split(every, ends[:-1]), strict=True)]


def targets_equal_inputs(pairs: Pairs, generator: np.random.Generator, task: IndependentTask) -> Pairs:
    """The target of each step is the input of the same step."""
    return [(x, x.copy()) for x, _ in pairs]


def targets_one_step_late(pairs: Pairs, generator: np.random.Generator, task: IndependentTask) -> Pairs:
    """The target of each step is that of the next one, so the last step of a batch is lost."""
    return [(x[:-1], y[1:]) for x, y in pairs]


def longer_and_longer(pairs: Pairs, generator: np.random.Generator, task: IndependentTask) -> Pairs:
    """Short sequences first: the lengths rise from a quarter to all of the steps."""
    steps = len(pairs[0][0])
    lengths = [max(2, round(steps * (0.25 + 0.75 * n / max(len(pairs) - 1, 1)))) for n in range(len(pairs))]
    return [(x[:length], y[:length]) for (x, y), length in zip(pairs, lengths, strict=True)]


def noisier_and_noisier(pairs: Pairs, generator: np.random.Generator, task: IndependentTask) -> Pairs:
    """Clean labels first: the share of random ones rises from none to three in ten."""
    changed = []
    for n, (x, y) in enumerate(pairs):
        noisy = generator.random(y.shape) < 0.3 * n / max(len(pairs) - 1, 1)
        changed.append((x, np.where(noisy, generator.integers(0, task.outputs, y.shape), y)))
    return changed


def growing_values(pairs: Pairs, generator: np.random.Generator, task: IndependentTask) -> Pairs:
    """Real numbers in chronological order: the scale rises tenfold, from 0.2 to 2."""
    scales = 0.2 + 1.8 * np.arange(len(pairs)) / max(len(pairs) - 1, 1)
    changed = []
    for scale, (x, y) in zip(scales, pairs, strict=True):
        scaled = x.copy()
        scaled[..., 0] *= scale
        changed.append((scaled, y * scale))
    return changed


def rare_class(pairs: Pairs, generator: np.random.Generator, task: IndependentTask) -> Pairs:
    """The targets say whether the class is the last one, which is rare."""
    last = task.outputs - 1
    return [(x, np.where(y == last, last, 0)) for x, y in pairs]


# Schedules -----------------------------------------------------------------------------------------------------------


def warm_restarts(share: float) -> float:
    """Four cosines from 1 to 0."""
    return float(0.5 * (1.0 + np.cos(np.pi * (4.0 * share % 1.0))))


def late_rise(share: float) -> float:
    """1 in the first half of the run, 40 in the second."""
    return 1.0 if share < 0.5 else 40.0
