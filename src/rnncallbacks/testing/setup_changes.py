"""Changes that faults make to a setup."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.testing.setups import Arrays, Setup
from rnncallbacks.testing.tasks import MappedLoader


def set_fields(**fields: object) -> Callable[[Setup], None]:
    """Sets fields of a setup."""

    def change(setup: Setup) -> None:
        for name, value in fields.items():
            setattr(setup, name, value)

    return change


def scale_learning_rate(factor: float) -> Callable[[Setup], None]:
    """Multiplies the learning rate."""

    def change(setup: Setup) -> None:
        setup.learning_rate *= factor

    return change


# --- reports of the epoch loss


def per_sequence(losses: list[float], sizes: list[int]) -> float:
    """Divides the sum of the batch losses by the number of sequences."""
    return sum(losses) / sum(sizes)


def undivided(losses: list[float], sizes: list[int]) -> float:
    """The sum of the batch losses, not divided."""
    return sum(losses)


def per_batch_size(losses: list[float], sizes: list[int]) -> float:
    """Divides the sum of the batch losses by the batch size."""
    return sum(losses) / sizes[0]


# --- weights, gradients and losses


def scale_weights(**factors: float) -> Callable[[Setup], None]:
    """Multiplies initial weights by a factor for each role."""

    def weights(arrays: Arrays) -> None:
        for role, factor in factors.items():
            arrays[role][...] *= factor

    return set_fields(change_weights=weights)


def amplify_without_clipping(setup: Setup) -> None:
    """Recurrent weights that amplify the state, and no clipping."""
    scale_weights(recurrent=1.6)(setup)
    setup.max_norm = None


def scale_gradient(role: str, factor: float) -> Callable[[Setup], None]:
    """Multiplies the gradient of one role."""

    def gradients(arrays: Arrays, step: int) -> None:
        arrays[role][...] *= factor

    return set_fields(change_gradients=gradients)


def time_steps(batch: SequenceBatch) -> float:
    """Number of time steps."""
    return float(len(batch.inputs))


def sequences(batch: SequenceBatch) -> float:
    """Number of sequences."""
    return float(batch.size)


def positions(batch: SequenceBatch) -> float:
    """Number of positions that count in the loss."""
    return float(batch.tokens)


NON_FINITE_BATCH = 37
"""Training batch, counted from 1, in which a value is not finite."""


def nan_gradient(arrays: Arrays, step: int) -> None:
    """A NaN in one entry of the gradient."""
    if step == NON_FINITE_BATCH:
        arrays["recurrent"][0, 0] = np.nan


def nan_everywhere(arrays: Arrays, step: int) -> None:
    """Every gradient is NaN."""
    if step == NON_FINITE_BATCH:
        for array in arrays.values():
            array[...] = np.nan


def infinite_loss(loss: float, step: int) -> float:
    """An infinite loss."""
    return np.inf if step == NON_FINITE_BATCH else loss


def nan_input(x: Array, step: int) -> None:
    """A NaN in one input."""
    if step == NON_FINITE_BATCH:
        x[3, 0, 0] = np.nan


def not_transposed(matrix: Array) -> Array:
    """The recurrent matrix itself, as if its transpose were forgotten."""
    return matrix


def no_backward_recurrence(matrix: Array) -> Array:
    """Zeros: no gradient reaches earlier time steps."""
    return np.zeros_like(matrix)


# --- data


def shuffled_labels(setup: Setup) -> None:
    """Targets shuffled within each batch."""
    generator = np.random.default_rng([setup.seed, 4])

    def shuffled(batch: SequenceBatch) -> SequenceBatch:
        flat = generator.permutation(batch.targets.reshape(-1)) if batch.mask is None else batch.targets.reshape(-1)
        return attrs.evolve(batch, targets=flat.reshape(batch.targets.shape))

    setup.train = MappedLoader(setup.train, shuffled)
    setup.validation = MappedLoader(setup.validation, shuffled)


def few_samples(setup: Setup) -> None:
    """Two training batches, seen in 120 epochs."""
    setup.train = list(setup.train)[:2]
    setup.epochs = 120
