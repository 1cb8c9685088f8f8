"""Going back to healthy parameters, with the optimizer state that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncallbacks.arrays import Array, named_arrays
from rnncallbacks.detectors.update.snapshots import Snapshots


class Rollback:
    """Snapshots of a run's parameters and optimizer state, in the script's own containers.

    Parameters
    ----------
    step:
        The step at which the run stands.
    params, optimizer_state:
        The containers of arrays. They may be replaced by others with the same names and shapes later on.
    every:
        Steps between two snapshots.

    Example
    -------
    >>> params = {"w": np.array([1.0])}
    >>> rollback = Rollback(0, params, None, every=20)
    >>> params["w"] += 5.0
    >>> rollback.restore(1, params, None), params["w"]
    (0, array([1.]))
    """

    def __init__(self, step: int, params: Any, optimizer_state: Any, every: int) -> None:
        self._snapshots = Snapshots(every)
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

        None if there is no such snapshot, or if the parameters never changed: the script then trains other arrays than
        those that the run knows, and restoring these would change nothing.
        """
        arrays = named_arrays(params, "params")
        if step > 1 and all(np.array_equal(array, self._first_params[name]) for name, array in arrays.items()):
            return None
        return self._snapshots.restore(_arrays(params, optimizer_state))


def _arrays(params: Any, optimizer_state: Any) -> Mapping[str, Array]:
    return {
        f"{what}.{name}": array
        for what, container in (("params", params), ("optimizer_state", optimizer_state))
        for name, array in named_arrays(container, what).items()
    }
