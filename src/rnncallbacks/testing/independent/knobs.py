"""The settings of an independent script that faults and traps change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.testing.independent.independent_losses import LossWithDerivative
from rnncallbacks.testing.independent.independent_tasks import IndependentTask, Pair
from rnncallbacks.testing.independent.styled_network import (
    CORRECT_BACKPROPAGATION,
    Backpropagation,
    Role,
    StyledNetwork,
)

Factor: TypeAlias = Callable[[int, int], float]
"""From the numbers of steps and of sequences of a batch to a factor."""


def one(steps: int, rows: int) -> float:
    """The factor of a mean."""
    return 1.0


def mean_of_batches(losses: Sequence[float], rows: int) -> float:
    """An epoch's loss: the mean over its batches."""
    return sum(losses) / len(losses)


@attrs.frozen(kw_only=True)
class Knobs:
    """The settings of an independent script; the defaults are a healthy training run.

    Attributes
    ----------
    objective:
        The loss; None: the correct one of the task.
    loss_factor, gradient_factor:
        Multiply loss and gradient, and the gradient alone.
    l2:
        Coefficient of half the squared norm of all parameters in the loss.
    backpropagation:
        How the backward pass goes through time.
    gradients:
        Changes gradients in place, by path, before ``run.backward``.
    never_zeroed:
        Whether gradients add up over all batches.
    poisoned_step:
        The training batch, counted from 1, in which the gradient of one array is NaN.
    rate:
        Multiplies the learning rate.
    schedule:
        From the share of the run that is over, 0 to 1, to a factor of the learning rate.
    max_norm:
        The global norm to which the script clips gradients after ``run.backward``; None for no clipping.
    update:
        How an update is applied.
    frozen:
        The role whose weights are not updated, on purpose.
    forgotten:
        The role whose first array is not updated, by mistake.
    decay:
        Coefficient of decoupled weight decay.
    micro_batches:
        Number of batches of one update.
    growing_gradients:
        Whether ``run.backward`` receives the sum of the gradients since the last update, in place of the batch's own.
    weights:
        Changes the initial weights, given by role, in place.
    prior_bias:
        Whether the output bias begins at the logarithms of the classes' frequencies.
    leaks:
        Whether the state is carried into unrelated sequences.
    resets:
        Whether a stream's state is reset in each batch.
    input_scale:
        Multiplies the inputs of the network.
    data:
        Changes the batches of training and validation; held-out data are unchanged.
    shuffled:
        Whether the batches have another order in each epoch.
    yields_numbers:
        Whether the loader of the training yields numbers of batches in place of their data.
    trains_in_validation:
        Whether the batches of the validation update the parameters, too.
    scheduled_sampling:
        Whether inputs are replaced by the network's own predictions, more and more often.
    report:
        From the losses of an epoch and the batch size to the loss that is logged.
    closure_adds:
        Whether the closure, as a side effect, adds its gradients to those that the script holds.
    """

    objective: LossWithDerivative | None = None
    loss_factor: Factor = one
    gradient_factor: Factor = one
    l2: float = 0.0
    backpropagation: Backpropagation = CORRECT_BACKPROPAGATION
    gradients: Callable[[Mapping[str, Array], StyledNetwork], None] | None = None
    never_zeroed: bool = False
    poisoned_step: int | None = None
    rate: float = 1.0
    schedule: Callable[[float], float] | None = None
    max_norm: float | None = 5.0
    update: Literal["applied", "none", "of a copy", "flipped"] = "applied"
    frozen: Role | None = None
    forgotten: Role | None = None
    decay: float = 0.0
    micro_batches: int = 1
    growing_gradients: bool = False
    weights: Callable[[Mapping[Role, list[Array]]], None] | None = None
    prior_bias: bool = False
    leaks: bool = False
    resets: bool = False
    input_scale: float = 1.0
    data: Callable[[list[Pair], np.random.Generator, IndependentTask], list[Pair]] | None = None
    shuffled: bool = True
    yields_numbers: bool = False
    trains_in_validation: bool = False
    scheduled_sampling: bool = False
    report: Callable[[Sequence[float], int], float] = mean_of_batches
    closure_adds: bool = False
