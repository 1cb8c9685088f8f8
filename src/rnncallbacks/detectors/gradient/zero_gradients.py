"""RNN404 without a closure: matrices whose gradient is exactly zero in every batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array, named_arrays
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.gradient_history import sample_entries
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.detectors.training_batch import TrainingBatch


@attrs.frozen(kw_only=True)
class ZeroGradientThresholds:
    """How long a gradient must be zero."""

    updates: int = 10
    """Fewest updates during which the gradient is zero: output weights may be zero initially, and then pass nothing
    back before the first update. Chosen by eye."""
    batches: int = 100
    """Batches within which these updates must occur. Chosen by eye."""
    share_of_dead: float = 0.5
    """Share of arrays with zero gradient in a batch, from which units are dead and the backward pass may be correct.
    Chosen by eye."""


ZERO_GRADIENT = ZeroGradientThresholds()


@attrs.define(eq=False)
class ZeroGradientDetector:
    """Follows the matrices whose gradient has been exactly zero in every training batch so far.

    Vectors are left out, as they may be biases or initial states that have no gradient for a reason. ``over`` is True
    when nothing is left to follow.

    Example
    -------
    >>> ZeroGradientDetector().over
    False
    """

    over: bool = state_field(False)
    _names: set[str] | None = state_field(None)  # of the matrices; None before the first batch
    _updates: int = state_field(0)
    _entries: Array | None = state_field(None)  # of the parameters in the batch before

    def stop(self) -> None:
        """End the check and release the copy of the parameters' entries."""
        self.over, self._names, self._entries = True, None, None

    def check(self, given: TrainingBatch) -> Finding | None:
        """Add a training batch before its update."""
        gradients, known, limits = given.gradients, self._names, ZERO_GRADIENT
        self._names = {
            name
            for name, gradient in gradients.items()
            if (known is None or name in known) and gradient.ndim > 1 and min(gradient.shape) > 1 and not gradient.any()
        }
        if not self._names:
            self.stop()
            return None
        entries, before = sample_entries(named_arrays(given.params).values()), self._entries
        self._entries = entries
        moved = before is not None and before.shape == entries.shape and not np.array_equal(before, entries)
        # In sequences of one step the recurrent matrix has no gradient.
        self._updates += moved and not _may_be_single_steps(given.batch)
        enough = self._updates >= limits.updates
        if not enough and given.number < limits.batches:
            return None
        zeros = sum(not gradient.any() for gradient in gradients.values())
        names = [name for name in gradients if name in self._names]
        self.stop()
        dead = zeros >= limits.share_of_dead * len(gradients)
        return None if dead or not enough else always_zero(names, given.number)


def always_zero(names: list[str], batches: int) -> Finding:
    """RNN404, for matrices of these names whose gradient was zero in each of the first batches.

    Example
    -------
    >>> print(always_zero(["Whh"], 11).message)
    the gradient of 'Whh' is exactly zero: in each of the first 11 batches; the backward pass does not reach it, or
    nothing uses the array
    """
    others = f" ({', '.join(map(repr, names))})" if len(names) > 1 else ""
    more = f" and of {len(names) - 1} more" if len(names) > 1 else ""
    return Finding(
        "RNN404",
        f"the gradient of {names[0]!r}{more} is exactly zero: in each of the first {batches} batches{others}; the "
        "backward pass does not reach it, or nothing uses the array",
        {"array": names[0], "ratio": 0.0, "expected": 1.0, "batches": batches},
        "warning",
        remedy=f"compute the gradient of {names[0]!r}, or do not pass arrays that are not trained to run.backward",
    )


def without_effect(name: str, batches: int) -> Finding:
    """RNN404, for a matrix whose gradient is correctly zero: the loss does not depend on it.

    Example
    -------
    >>> print(without_effect("Whh", 11).message)
    the loss does not depend on the matrix 'Whh': its gradient is exactly zero in each of the first 11 batches, and
    matches the loss; if it is the recurrent matrix, the state of the step before is not used
    """
    return Finding(
        "RNN404",
        f"the loss does not depend on the matrix {name!r}: its gradient is exactly zero in each of the first {batches} "
        "batches, and matches the loss; if it is the recurrent matrix, the state of the step before is not used",
        {"array": name, "ratio": 0.0, "expected": 1.0, "batches": batches},
        "warning",
        remedy=f"use {name!r} in the forward pass: let each step get the state that the step before returned",
    )


def _may_be_single_steps(batch: Batch) -> bool:
    """Whether the sequences of a batch may have one step only."""
    shown = sequences_of(batch)
    if shown.seq_len is not None or shown.inputs is None:
        return shown.seq_len == 1
    return 1 in shown.inputs.shape[:2]
