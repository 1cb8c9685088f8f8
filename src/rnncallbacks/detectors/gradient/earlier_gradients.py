"""Removing the gradients of earlier batches from gradients that a script never zeroes."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import Gradients


class EarlierGradients:
    """Removes from each batch's gradients those of earlier batches.

    A script may accumulate in the arrays that it passes to ``run.backward``: they are zeroed after the update. Or it
    accumulates elsewhere and passes copies: the sum of the batch before is subtracted.

    Example
    -------
    >>> earlier, total = EarlierGradients(), np.zeros(1)
    >>> for gradient in (1.0, 2.0):
    ...     total += gradient
    ...     grads = Gradients({"w": total.copy()})
    ...     earlier.remove(grads)
    ...     print(grads["w"])
    ...     earlier.zero(grads)
    [1.]
    [2.]
    """

    def __init__(self) -> None:
        self._sum: dict[str, Array] | None = None
        self._zeroed: Gradients | None = None

    def keep(self, grads: Gradients) -> None:
        """Keep the gradients of a batch as the script passed them, before its update."""
        self._sum = {name: array.copy() for name, array in grads.items()}

    def remove(self, grads: Gradients) -> None:
        """Subtract the sum of the batch before, in place; call it before plugins change the gradients."""
        earlier = self._sum
        self.keep(grads)
        if earlier is None or self._are_zeroed(grads):
            return
        for name, array in grads.items():
            array -= earlier[name]
        grads.forget_norm()

    def zero(self, grads: Gradients) -> None:
        """Set the gradients to zero, after the update."""
        for array in grads.arrays:
            array[...] = 0.0
        self._zeroed = grads

    def _are_zeroed(self, grads: Gradients) -> bool:
        """Whether the gradients were computed into arrays that were zeroed."""
        return self._zeroed is not None and any(
            np.shares_memory(array, other) for array, other in zip(self._zeroed.arrays, grads.arrays, strict=True)
        )
