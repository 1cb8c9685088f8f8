"""RNN603 where no data are shown: updates move the parameters, and the loss stays where it began for the whole run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.layer_shapes import zero_sum_lengths
from rnncallbacks.detectors.update.metrics import has_initial_biases


@attrs.frozen(kw_only=True)
class UnlearnedRunThresholds:
    """When a run has learned nothing. Numbers without a source were chosen by eye."""

    first_losses: int = 10
    """First losses, whose mean is that of the untrained network."""
    epochs: int = 4
    """Fewest epochs of the run."""
    batches: int = 160
    """Fewest training batches of the run."""
    lowest_loss: float = 0.98
    """Smallest mean loss of an epoch / mean of the first losses, or ln V if that is smaller: 0.98 to 1 where targets
    were shuffled, 0.95 and less in healthy runs, most of them below 0.8."""
    highest_loss: float = 1.25
    """Largest such ratio of the last epoch: a run that diverges has another cause."""
    moved: float = 0.1
    """Smallest distance of the last parameters from the first ones / norm of the first ones."""
    smallest_weights: float = 0.3
    """Root mean square of the sums that the largest matrix makes of values of size 1, below which learning begins late:
    0.58 and more in the scripts, 0.1 and less in those with initial weights ten times smaller."""


UNLEARNED_RUN = UnlearnedRunThresholds()


@attrs.define(eq=False)
class UnlearnedRun:
    """Compares the losses of all epochs with the first ones, in a run whose network was not trained before.

    Example
    -------
    >>> run, params = UnlearnedRun(), {"W": np.eye(3), "b": np.zeros(3)}
    >>> run.begin(params)
    >>> run.add_losses([1.1] * 200)
    >>> params["W"][0, 1] = 0.5
    >>> run.check([1.1, 1.09, 1.1, 1.11], params, batches=200).code
    'RNN603'
    """

    _start: dict[str, Array] = state_field(factory=dict, saved=False)
    _first: list[float] = state_field(factory=list)
    _uniform_loss: float = state_field(math.inf)

    def begin(self, params: Mapping[str, Array]) -> None:
        """Copy the parameters before the first update, unless they were trained before, or are small."""
        matrices = [array for array in params.values() if array.ndim == 2 and array.size]
        sums = [global_norm([array]) / math.sqrt(max(array.shape)) for array in matrices]
        if has_initial_biases(params.values()) and max(sums, default=0.0) >= UNLEARNED_RUN.smallest_weights:
            self._start = {name: array.copy() for name, array in params.items()}

    def stop(self) -> None:
        """End the check, as other evidence decides, and release the copy."""
        self._start = {}

    def add_gradients(self, gradients: Mapping[str, Array]) -> None:
        """Find the number of classes in the first gradients: those of the output bias sum to zero."""
        lengths = zero_sum_lengths(gradients) if self._start else set()
        self._uniform_loss = math.log(max(lengths)) if lengths else math.inf

    def add_losses(self, losses: Sequence[float]) -> None:
        """Add the losses of training batches, in their order."""
        self._first.extend(losses[: UNLEARNED_RUN.first_losses - len(self._first)])

    def check(self, epochs: Sequence[float], params: Mapping[str, Array], batches: int) -> Finding | None:
        """RNN603 at the end of a run, from the mean loss of each epoch and the number of batches."""
        limits, start = UNLEARNED_RUN, self._start
        enough = len(epochs) >= limits.epochs and batches >= limits.batches
        first = min(float(np.mean(self._first)), self._uniform_loss) if self._first else math.nan
        if not (enough and start and first > 0.0) or [*start] != [*params]:
            return None
        if min(epochs) < limits.lowest_loss * first or epochs[-1] > limits.highest_loss * first:
            return None
        with np.errstate(invalid="ignore"):  # a parameter may be infinite
            distance = global_norm([params[name] - array for name, array in start.items()])
        moved = distance / max(global_norm([*start.values()]), 1e-300)
        if not limits.moved <= moved < math.inf:
            return None
        before = "equal probabilities" if first == self._uniform_loss else f"the first {len(self._first)} batches"
        return Finding(
            "RNN603",
            f"nothing is learned from the inputs: {batches} updates moved the parameters by {moved:.2g} of their norm "
            f"and the mean loss of the best of {len(epochs)} epochs is {min(epochs):.4g}, that of {before} "
            f"{first:.4g}; targets that belong to other inputs are the usual reason; without the data, a backward pass "
            "that pairs errors with other steps, and learning that has not begun, look alike",
            {"loss": min(epochs), "first_loss": first, "moved": moved, "epochs": len(epochs)},
            "info",
            cause="nothing is learned from the inputs",
            remedy="print the first inputs of a batch next to their targets, and show them to the guards: "
            "run.observe(inputs=..., targets=...)",
        )
