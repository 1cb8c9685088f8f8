"""A training batch before its update, as the checks of gradients receive it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.arrays.containers import Array, named_arrays, parameters_of

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch


@attrs.frozen(eq=False)
class TrainingBatch:
    """What a script passed to ``run.backward`` in one training batch, and its parameters.

    Attributes
    ----------
    number:
        Number of the training batch, from 1.
    batch:
        The batch.
    loss:
        The loss that the script reported.
    gradients:
        The gradients before anything clips them.
    params:
        The parameters in the script's container; None if they are unknown.

    Example
    -------
    >>> import numpy as np
    >>> from rnncallbacks.arrays.gradients import Gradients
    >>> from rnncallbacks.core.batch import Batch
    >>> gradients, params = Gradients({"w": np.ones(2)}), {"w": np.zeros(2), "fixed": np.zeros(3)}
    >>> list(TrainingBatch(1, Batch(None, "train", 1), 2.5, gradients, params).parameters)
    ['w', '[fixed]']
    """

    number: int
    batch: Batch
    loss: float
    gradients: Gradients
    params: object

    @cached_property
    def parameters(self) -> dict[str, Array]:
        """The script's arrays in their order, by the names of their gradients; empty if a gradient has no array.

        An array without a gradient, which the script does not train, has its own name in brackets.
        """
        if self.params is None:
            return {}
        named = named_arrays(self.params, "params")
        pairs = parameters_of(self.gradients, named)
        if len(pairs) != len(self.gradients):
            return {}
        names = {id(array): name for name, array in pairs.items()}
        return {names.get(id(array), f"[{name}]"): array for name, array in named.items()}
