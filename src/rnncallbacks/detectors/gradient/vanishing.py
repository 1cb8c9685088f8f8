"""RNN402: gradients that vanish on the way back through time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class VanishingGradientThresholds:
    """Thresholds of a vanished gradient."""

    checked_batches: tuple[int, ...] = (5, 10, 15)
    """Numbers of the training batches that are checked, all of which must show it. Chosen by eye."""
    norm_ratio: float = 1e-4
    """Norm at the first time step over the largest norm, below which the gradient has vanished. Chosen by eye."""
    shortest_sequence: int = 10
    """Time steps of the shortest sequence that is checked. Chosen by eye."""


VANISHING = VanishingGradientThresholds()


@attrs.define(eq=False)
class VanishingGradientDetector:
    """Follows the gradient with respect to the hidden state back to the first time step, in a few batches.

    Example
    -------
    >>> detector, gradients = VanishingGradientDetector(), [np.full(3, 0.1**t) for t in range(19, -1, -1)]
    >>> [detector.check(batch, gradients).finding is not None for batch in (5, 10, 15)]
    [False, False, True]

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2.
    """

    _vanished_batches: int = state_field(0)

    def due(self, batch_number: int) -> bool:
        """Whether this training batch, counted from 1, is checked."""
        return batch_number in VANISHING.checked_batches

    def next_due(self, batch_number: int) -> float:
        """The first batch after this one that is checked; infinite if none is."""
        return min((number for number in VANISHING.checked_batches if number > batch_number), default=math.inf)

    def check_batch(self, batch_number: int, batch: Batch) -> CheckResult:
        """Check the gradients that a batch observed, if it is due."""
        hidden_gradients, shown = batch.observed.get("hidden_gradients"), sequences_of(batch)
        known = hidden_gradients is not None and shown.targets is not None and shown.inputs is not None
        return self.check(batch_number, hidden_gradients, shown.per_step if known else None)

    def check(self, batch_number: int, hidden_gradients: Any, loss_at_each_step: bool | None = None) -> CheckResult:
        """Check the observed gradients of a batch that is due: arrays of any shape, one per time step.

        Where each step has a loss of its own, its gradient hides what vanishes on the way from later steps;
        ``loss_at_each_step`` is None if that is unknown.
        """
        limits = VANISHING
        ratio = first_to_largest_norm(hidden_gradients)
        if ratio is None:
            lacking = "run.observe(hidden_gradients=...), one a time step, of sequences of ten steps or more"
            return CheckResult(not_checked={"RNN402": lacking})
        self._vanished_batches += ratio < limits.norm_ratio
        if batch_number < limits.checked_batches[-1]:
            return CheckResult()
        if self._vanished_batches < len(limits.checked_batches):
            if loss_at_each_step is not False:
                own = "each step has a loss of its own" if loss_at_each_step else "each step may have a loss of its own"
                lacking = f"{own}, which hides what later steps send back; observe hidden_gradients of the last loss"
                return CheckResult(cannot_tell={"RNN402": lacking})
            batches = f"in {len(limits.checked_batches)} batches"
            compared = f"the norm at the first time step is {ratio:.2g} of the largest one in batch {batch_number}"
            return CheckResult(checked={"RNN402": f"{compared}; {batches}, not all below {limits.norm_ratio:g}"})
        finding = Finding(
            "RNN402",
            f"the gradient vanishes on the way back through time: its norm at the first time step is {ratio:.2g} of "
            f"the largest (expected more than {limits.norm_ratio:g})",
            {"norm_ratio": ratio, "expected": limits.norm_ratio},
        )
        return CheckResult(finding=finding)


def first_to_largest_norm(hidden_gradients: Any) -> float | None:
    r"""The norm of the gradient at the first time step over the largest one, from 0 to 1.

    .. math:: \lVert \partial L / \partial h_1 \rVert / \max_t \lVert \partial L / \partial h_t \rVert

    ``hidden_gradients`` is a list of arrays, one per time step, or an array with time on the first axis. None if there
    are fewer than ten steps, or numbers that are not finite, or if backpropagation was truncated: the gradient is then
    exactly zero at the first step and large where it ends.

    Example
    -------
    >>> first_to_largest_norm([np.full(3, 0.5**t) for t in range(19, -1, -1)]) < 1e-5
    True
    """
    if not isinstance(hidden_gradients, np.ndarray | Sequence) or len(hidden_gradients) < VANISHING.shortest_sequence:
        return None
    steps = [np.asarray(step) for step in hidden_gradients]
    if any(step.dtype.kind != "f" for step in steps):
        return None
    norms = [global_norm([step]) for step in steps]
    largest = max(norms)
    if not math.isfinite(largest) or largest == 0.0:
        return None
    reached = [norm for norm in norms if norm > 0.0]
    if norms[0] == 0.0 and reached[0] > VANISHING.norm_ratio * largest:
        return None
    return norms[0] / largest
