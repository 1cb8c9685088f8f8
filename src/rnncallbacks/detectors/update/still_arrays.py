"""RNN503: an array that no update changes, although its gradient is not zero and other arrays change."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays.containers import Array, parameters_of, without_views
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.plugin_state import state_field


@attrs.frozen(kw_only=True)
class StillArrayThresholds:
    """The thresholds of RNN503 for single arrays."""

    updates: int = 8
    """Measured updates that change other arrays and must all leave the array the same. Chosen by eye."""
    gradient_share: float = 1e-3
    """Norm of the array's gradient / norm of all gradients, above which an update should change it. Chosen by eye."""
    rounding_units: float = 16.0
    """Expected step / rounding error of the array, above which the step cannot be lost in rounding. Chosen by eye."""


STILL_ARRAYS = StillArrayThresholds()


@attrs.define(eq=False)
class StillArrays:
    """Counts, for each array, the updates that should have changed it and did not.

    An array that changed once is never reported: a layer may be frozen for a while.

    Example
    -------
    >>> still, gradients = StillArrays(), {"w": np.ones(2), "b": np.ones(1)}
    >>> params = {"w": np.zeros(2), "b": np.zeros(1)}
    >>> for _ in range(8):
    ...     still.add(params, {"w": -0.1 * np.ones(2), "b": np.zeros(1)}, gradients)
    >>> still.check().finding.evidence["array"]
    'b'
    """

    unchanged: dict[str, int] = state_field(factory=dict)
    moved: dict[str, int] = state_field(factory=dict)
    shapes: dict[str, str] = state_field(factory=dict)
    updates: int = state_field(0)
    first_matrix: str = state_field("")
    matrices: int = state_field(0)
    without_gradient: int = state_field(0)  # updates in a row in which the gradient of every matrix is exactly zero
    zero_weights: bool = state_field(False)  # whether all matrices are zero then
    found: bool = state_field(False)

    def add(self, params: Mapping[str, Array], updates: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Add an update that changed at least one array: the parameters after it, its steps and its gradients."""
        if gradients and self.moved.keys() >= gradients.keys():  # none of them can be reported
            self.updates += 1
            return
        step_norm, gradient_norm = global_norm(without_views(updates)), global_norm(without_views(gradients))
        if len(updates) < 2 or not 0.0 < step_norm < np.inf or not 0.0 < gradient_norm < np.inf:
            return
        self.updates += 1
        self.first_matrix = next((name for name, gradient in gradients.items() if gradient.ndim == 2), "")
        matrices = [name for name, one in gradients.items() if one.ndim == 2 and min(one.shape) > 1]
        self.matrices = len(matrices)
        vectors = [one.size for name, one in gradients.items() if name not in matrices and one.any()]
        # Next to the bias of a single output, a vector that changes is that output's weights, as a reservoir trains.
        trains_output = len(vectors) > 1 and min(vectors) == 1
        idle = len(matrices) > 1 and not trains_output and not any(gradients[name].any() for name in matrices)
        of_matrices = {name: gradients[name] for name in matrices}
        steps, values = parameters_of(of_matrices, updates), parameters_of(of_matrices, params)
        idle = idle and len(steps) == len(matrices) and not any(array.any() for array in steps.values())
        self.without_gradient = self.without_gradient + 1 if idle else 0
        self.zero_weights = idle and not any(array.any() for array in values.values())
        for name, step in parameters_of(gradients, updates).items():
            if step.any():
                self.moved[name] = self.moved.get(name, 0) + 1
                continue
            share = global_norm([gradients[name]]) / gradient_norm
            weights = parameters_of({name: gradients[name]}, params).get(name, step)
            rounding = np.finfo(weights.dtype).eps * global_norm([weights])
            if share > STILL_ARRAYS.gradient_share and share * step_norm > STILL_ARRAYS.rounding_units * rounding:
                self.unchanged[name] = self.unchanged.get(name, 0) + 1
                self.shapes[name] = str(weights.shape)

    @property
    def still(self) -> list[str]:
        """The arrays that never changed, although their gradients were large enough."""
        limit = STILL_ARRAYS.updates
        return [name for name, count in self.unchanged.items() if count >= limit and not self.moved.get(name, 0)]

    @property
    def may_be_frozen(self) -> bool:
        """Whether the still arrays may be frozen on purpose.

        More than half of all arrays are still, as in fine-tuning; or one is, and it is the first matrix, or has "emb"
        in its name: scripts freeze embeddings and input weights. The first of two matrices has the recurrent weights.
        """
        still = self.still
        if 2 * len(still) > len(self.moved.keys() | self.unchanged.keys()):
            return True
        return len(still) == 1 and ((still[0] == self.first_matrix and self.matrices != 2) or "emb" in still[0].lower())

    @property
    def comparison(self) -> str:
        """The still arrays that may be frozen on purpose, in words; empty if there are none."""
        return f"; {', '.join(self.still)} never changed, as if frozen on purpose" if self.still else ""

    def check(self) -> CheckResult:
        """RNN503 if an array never changed and is probably not frozen on purpose, once."""
        still = self.still
        if not self.found and self.without_gradient >= STILL_ARRAYS.updates:
            self.found = True
            return CheckResult(finding=self._no_matrix_changes())
        if self.found or not still or self.may_be_frozen:
            return NOTHING_COMPARED
        self.found = True
        name, *others = still
        count = self.unchanged[name]
        more = f"; {len(others)} more do not: {', '.join(others)}" if others else ""
        finding = Finding(
            "RNN503",
            f"array {name!r} never changes: {count} of {self.updates} updates changed other arrays and left it bit for "
            f"bit the same, although its gradient was not zero; its shape is {self.shapes[name]}{more}",
            {"array": name, "updates": count, "still_arrays": len(still)},
            cause="an array does not change",
            remedy=f"update {name!r} with the others, unless it is frozen on purpose",
        )
        return CheckResult(finding=finding)

    def _no_matrix_changes(self) -> Finding:
        zero = "all of them are zero" if self.zero_weights else "the units may be dead"
        remedy = "draw the initial weights at random" if self.zero_weights else "lower the learning rate"
        return Finding(
            "RNN503",
            f"no weight matrix changes: the gradients of all {self.matrices} are exactly zero in "
            f"{self.without_gradient} updates in a row, in which only vectors changed; {zero}",
            {"updates": self.without_gradient, "still_arrays": self.matrices},
            cause="no weight matrix changes",
            remedy=f"{remedy}: no unit passes a gradient on",
        )
