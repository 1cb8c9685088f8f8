"""Restores healthy parameters, with the optimizer state that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, all_finite, named_arrays
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.snapshots import Snapshots


@attrs.define(eq=False)
class Rollback:
    """Snapshots of a run's parameters and optimizer state, in the script's own containers.

    Parameters
    ----------
    every:
        Steps between two snapshots.

    Example
    -------
    >>> params = {"w": np.array([1.0])}
    >>> rollback = Rollback(every=20)
    >>> rollback.begin(0, params, None)
    >>> params["w"] += 5.0
    >>> rollback.restore(1, params, None), params["w"]
    (0, array([1.]))
    """

    every: int
    _snapshots: Snapshots = state_field(attrs.Factory(lambda self: Snapshots(self.every), takes_self=True))
    _first_params: dict[str, Array] | None = state_field(None)
    _restored: int | None = state_field(None)  # the step of the last restored snapshot

    @property
    def has_begun(self) -> bool:
        """Whether there is a first snapshot."""
        return self._first_params is not None

    def begin(self, step: int, params: Any, optimizer_state: Any) -> None:
        """Take the first snapshot, at the current step.

        Later, other containers with the same names and shapes may replace these.
        """
        self._snapshots.begin(step, _arrays(params, optimizer_state))
        self._first_params = {name: array.copy() for name, array in named_arrays(params, "params").items()}

    @property
    def has_diverged(self) -> bool:
        """Whether the loss is above the first one of the run, or not finite."""
        return self._snapshots.has_diverged

    def follow(self, step: int, loss: float, params: Any, optimizer_state: Any) -> None:
        """Add the loss of a batch, and take a snapshot after its update if one is due."""
        arrays = _arrays(params, optimizer_state) if self._snapshots.is_due(step) else {}
        self._snapshots.follow(step, loss, arrays)

    def restore(self, step: int, params: Any, optimizer_state: Any) -> int | None:
        """Write the last healthy snapshot into the containers and return its step.

        None if there is no such snapshot, or if the parameters never changed: the script then trains arrays that the
        run does not know, and restoring would have no effect. Also if the same snapshot was restored before and the
        run has learned since: a second start costs more updates than it repairs.
        """
        if self._first_params is None:
            return None
        arrays = named_arrays(params, "params")
        if step > 1 and all(np.array_equal(array, self._first_params[name]) for name, array in arrays.items()):
            return None
        healthy = self._snapshots.healthy
        again = healthy is not None and healthy.step == self._restored
        if again and self._snapshots.has_fallen and all_finite(arrays.values()):
            return None
        self._restored = self._snapshots.restore(_arrays(params, optimizer_state))
        return self._restored

    def restore_again(self, params: Any, optimizer_state: Any) -> None:
        """Write the snapshot that was restored last, if something moved the parameters since."""
        self._snapshots.restore(_arrays(params, optimizer_state))

    def displacement(self, params: Any) -> dict[str, Array]:
        """The parameters minus those of the healthy snapshot, by name; empty if there is none."""
        healthy = self._snapshots.healthy
        arrays = named_arrays(params, "params")
        return {} if healthy is None else {name: arrays[name] - healthy.arrays[f"params.{name}"] for name in arrays}


def _arrays(params: Any, optimizer_state: Any) -> Mapping[str, Array]:
    return {
        f"{what}.{name}": array
        for what, container in (("params", params), ("optimizer_state", optimizer_state))
        for name, array in named_arrays(container, what).items()
    }
