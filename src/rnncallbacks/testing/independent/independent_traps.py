"""Healthy variants of the independent scripts with a single symptom of a fault."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rnncallbacks.testing.independent.independent_changes import (
    clipped_entries,
    clipped_norm,
    growing_values,
    longer_and_longer,
    noisier_and_noisier,
    rare_class,
    scaled_weights,
    warm_restarts,
)
from rnncallbacks.testing.independent.independent_fault import IndependentFault, with_classes, with_next_tokens
from rnncallbacks.testing.independent.independent_losses import smoothed
from rnncallbacks.testing.independent.independent_tasks import IndependentTask
from rnncallbacks.testing.independent.knobs import Knobs


def _real(task: IndependentTask) -> bool:
    return task.kind == "real"


def _shortened(task: IndependentTask) -> bool:
    return task.where == "each step" and not task.stream


def _noisy(task: IndependentTask) -> bool:
    return task.kind == "classes" and not task.stream


def _imbalanced(task: IndependentTask) -> bool:
    return task.name in ("copy", "dyck", "bag", "permuted")


INDEPENDENT_HEALTHY = IndependentFault(name="healthy", about="nothing is wrong")

_ALL = (
    IndependentFault(
        name="curriculum_of_lengths",
        about="short sequences first, in the same order in each epoch",
        knobs=Knobs(data=longer_and_longer, shuffled=False),
        tasks=_shortened,
    ),
    IndependentFault(
        name="curriculum_of_noise",
        about="clean labels first, in the same order in each epoch",
        knobs=Knobs(data=noisier_and_noisier, shuffled=False),
        tasks=_noisy,
    ),
    IndependentFault(
        name="chronological",
        about="a series whose values grow, in chronological order",
        knobs=Knobs(data=growing_values, shuffled=False),
        tasks=_real,
    ),
    IndependentFault(
        name="numbers_of_batches",
        about="a loader that yields numbers of batches in place of their data",
        knobs=Knobs(yields_numbers=True),
        levels=("bare",),
    ),
    IndependentFault(
        name="accumulation",
        about="one update for four batches, each of which shows its own gradients",
        knobs=Knobs(micro_batches=4),
    ),
    IndependentFault(
        name="growing_accumulation",
        about="one update for four batches, which add to the gradients of those before",
        knobs=Knobs(micro_batches=4, growing_gradients=True),
    ),
    IndependentFault(
        name="class_imbalance",
        about="a rare class, and an output bias that begins at the frequencies",
        knobs=Knobs(data=rare_class, prior_bias=True),
        tasks=_imbalanced,
    ),
    IndependentFault(
        name="scheduled_sampling",
        about="inputs replaced by predictions, more and more often",
        knobs=Knobs(scheduled_sampling=True),
        tasks=with_next_tokens,
    ),
    IndependentFault(
        name="label_smoothing",
        about="a tenth of each target spread over all classes",
        knobs=Knobs(objective=smoothed(0.1)),
        tasks=with_classes,
    ),
    IndependentFault(name="decoupled_decay", about="decoupled weight decay", knobs=Knobs(decay=1e-3)),
    IndependentFault(name="decay_in_loss", about="half the squared norm in the loss", knobs=Knobs(l2=1e-4)),
    IndependentFault(
        name="warm_restarts",
        about="a cosine schedule that restarts three times",
        knobs=Knobs(schedule=warm_restarts),
    ),
    IndependentFault(
        name="frozen_inputs", about="input weights that are left as they were drawn", knobs=Knobs(frozen="input")
    ),
    IndependentFault(
        name="early_plateau",
        about="initial weights ten times smaller, so that learning begins late",
        knobs=Knobs(weights=scaled_weights(input=0.1, recurrent=0.1, output=0.1)),
        styles=("lists", "rows"),
    ),
    IndependentFault(
        name="small_weights",
        about="initial weights of about 0.01, and one sequence per batch",
        knobs=Knobs(weights=scaled_weights(input=0.03, recurrent=0.05, output=0.15)),
        styles=("single",),
    ),
    IndependentFault(
        name="clips_entries",
        about="the script clips each entry before it shows the gradients",
        knobs=Knobs(gradients=clipped_entries(0.02), max_norm=None),
    ),
    IndependentFault(
        name="clips_norm",
        about="the script clips the norm before it shows the gradients",
        knobs=Knobs(gradients=clipped_norm(0.3), max_norm=None),
    ),
    IndependentFault(name="no_clipping", about="nothing clips, and nothing explodes", knobs=Knobs(max_norm=None)),
    IndependentFault(
        name="closure_adds_gradients",
        about="a closure that adds its gradients to those that the script holds",
        knobs=Knobs(closure_adds=True),
        levels=("closure",),
    ),
)

INDEPENDENT_TRAPS: Mapping[str, IndependentFault] = MappingProxyType({trap.name: trap for trap in _ALL})
"""The traps by name."""
