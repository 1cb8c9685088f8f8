"""The parameters of the batches with the lowest losses: the distance of a run from them, and losses there."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, copied, named_arrays
from rnncallbacks.core.closure import evaluate_closure, restore_afterwards
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.snapshots import Snapshot


@attrs.frozen(kw_only=True)
class ParameterHistoryLimits:
    """The limits of :class:`BestParameters`."""

    copies: int = 9
    """Recent copies that are kept, so that one is older than a window of losses."""
    copied_bytes: int = 64 * 2**20
    """Largest size of all copies, in bytes. Larger networks are not copied. Chosen by eye."""


PARAMETER_HISTORY = ParameterHistoryLimits()


@attrs.define(eq=False)
class BestParameters:
    """Copies of the parameters before some of the last batches, and of those of the best batches.

    Example
    -------
    >>> weights = {"w": np.array([3.0, 4.0])}
    >>> best = BestParameters()
    >>> best.add(0, weights)
    >>> best.choose(0)
    >>> weights["w"][:] = [3.0, 1.0]
    >>> best.distance(weights)
    0.6
    >>> best.loss_at(weights, lambda: float(weights["w"].sum())), weights["w"]
    (7.0, array([3., 1.]))
    """

    recent: list[Snapshot] = state_field(factory=list)
    best: Snapshot | None = state_field(None)
    first: Snapshot | None = state_field(None)
    too_large: bool = state_field(False)

    def add(self, step: int, params: Any) -> None:
        """Copy the parameters before the update of a batch."""
        if self.too_large or params is None:
            return
        arrays = named_arrays(params, "params")
        size = sum(array.nbytes for array in arrays.values())
        if size * (PARAMETER_HISTORY.copies + 1) > PARAMETER_HISTORY.copied_bytes:
            self.too_large = True
            return
        dropped = self.recent.pop(0) if len(self.recent) == PARAMETER_HISTORY.copies else None
        reusable = {} if dropped is None or dropped in (self.best, self.first) else dropped.arrays
        self.recent.append(Snapshot(step, copied(arrays, reusable)))
        self.first = self.first or self.recent[0]

    def choose(self, step: int) -> None:
        """Keep the copy of this step, or the last one before it, as that of the best batches."""
        self.best = next((copy for copy in reversed(self.recent) if copy.step <= step), self.best or self.first)

    def return_to_first(self) -> None:
        """Compare with the first copy: the first batch was the best one."""
        self.best = self.first

    def distance(self, params: Any) -> float | None:
        """norm(W - W_best) / norm(W_best); None if no copy is comparable, or the parameters have not moved."""
        arrays = self._comparable(params)
        if self.best is None or not arrays:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            moved = sum(float(np.sum((array - self.best.arrays[name]) ** 2)) for name, array in arrays.items())
            norm = sum(float(np.sum(copy**2)) for copy in self.best.arrays.values())
        return math.sqrt(moved / norm) if moved > 0.0 and norm > 0.0 else None

    def loss_at(self, params: Any, closure: Any) -> float | None:
        """The closure's loss at the copy; None if there is no comparable one. The parameters are restored bit for bit.

        Raises
        ------
        ClosureError
            As :func:`~rnncallbacks.core.closure.evaluate_closure`.
        """
        arrays = self._comparable(params)
        if self.best is None or not arrays or not all(array.flags.writeable for array in arrays.values()):
            return None
        with restore_afterwards(arrays.values()):
            self.best.restore(arrays)
            return evaluate_closure(closure)

    def _comparable(self, params: Any) -> dict[str, Array]:
        """The parameters by name, if they have the names and shapes of the copy; else none."""
        if params is None or self.best is None:
            return {}
        arrays = named_arrays(params, "params")
        copies = self.best.arrays
        same = arrays.keys() == copies.keys() and all(arrays[name].shape == copies[name].shape for name in arrays)
        return arrays if same else {}
