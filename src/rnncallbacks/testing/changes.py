"""The changes that faults and traps make to a setup."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.testing.setups import Arrays, Setup
from rnncallbacks.testing.tasks import Changed


def setting(**fields: object) -> Callable[[Setup], None]:
    """A change that sets fields of the setup."""

    def change(setup: Setup) -> None:
        for name, value in fields.items():
            setattr(setup, name, value)

    return change


def rate(factor: float) -> Callable[[Setup], None]:
    def change(setup: Setup) -> None:
        setup.learning_rate *= factor

    return change


# Reports -------------------------------------------------------------------------------------------------------------


def by_samples(losses: list[float], sizes: list[int]) -> float:
    """The sum of the batch losses over the number of sequences."""
    return sum(losses) / sum(sizes)


def by_nothing(losses: list[float], sizes: list[int]) -> float:
    """The sum of the batch losses."""
    return sum(losses)


def by_batch_size(losses: list[float], sizes: list[int]) -> float:
    """The sum of the batch losses over the batch size."""
    return sum(losses) / sizes[0]


# Weights, gradients and losses ---------------------------------------------------------------------------------------


def scaled_weights(**factors: float) -> Callable[[Setup], None]:
    def weights(arrays: Arrays) -> None:
        for role, factor in factors.items():
            arrays[role][...] *= factor

    return setting(weights=weights)


def amplified_unclipped(setup: Setup) -> None:
    scaled_weights(recurrent=1.6)(setup)
    setup.max_norm = None


def scaled_gradient(role: str, factor: float) -> Callable[[Setup], None]:
    def gradients(arrays: Arrays, step: int) -> None:
        arrays[role][...] *= factor

    return setting(gradients=gradients)


def steps(batch: SequenceBatch) -> float:
    return float(len(batch.inputs))


def rows(batch: SequenceBatch) -> float:
    return float(batch.size)


def tokens(batch: SequenceBatch) -> float:
    return float(batch.tokens)


POISONED = 37
"""The batch in which a value is not finite."""


def nan_gradient(arrays: Arrays, step: int) -> None:
    if step == POISONED:
        arrays["recurrent"][0, 0] = np.nan


def nan_everywhere(arrays: Arrays, step: int) -> None:
    if step == POISONED:
        for array in arrays.values():
            array[...] = np.nan


def infinite_loss(loss: float, step: int) -> float:
    return np.inf if step == POISONED else loss


def nan_input(x: Array, step: int) -> None:
    if step == POISONED:
        x[3, 0, 0] = np.nan


def untransposed(matrix: Array) -> Array:
    return matrix


def no_recurrence(matrix: Array) -> Array:
    return np.zeros_like(matrix)


# Data ----------------------------------------------------------------------------------------------------------------


def shuffled_labels(setup: Setup) -> None:
    generator = np.random.default_rng([setup.seed, 4])

    def shuffled(batch: SequenceBatch) -> SequenceBatch:
        flat = generator.permutation(batch.targets.reshape(-1)) if batch.mask is None else batch.targets.reshape(-1)
        return attrs.evolve(batch, targets=flat.reshape(batch.targets.shape))

    setup.train = Changed(setup.train, shuffled)
    setup.validation = Changed(setup.validation, shuffled)


def few_samples(setup: Setup) -> None:
    setup.train = list(setup.train)[:2]
    setup.epochs = 120
