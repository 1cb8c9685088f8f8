"""The steps of the parameters from one batch to the next, from copies in one buffer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnncallbacks.arrays import Array, FlatArrays


class ParameterSteps:
    """A copy of the parameters, and the step from it to those of the next batch.

    The copies of all arrays lie in one buffer: of small arrays, the calls take longer than the arithmetic.

    Parameters
    ----------
    params:
        The parameters by name, of any real dtype.

    Attributes
    ----------
    names:
        The names of the arrays, in order.

    Example
    -------
    >>> params = {"w": np.array([[3.0, 4.0]]), "b": np.array([1.0])}
    >>> steps = ParameterSteps(params)
    >>> params["w"] -= 0.5
    >>> steps.advance(params)
    >>> [step.tolist() for step, now in steps.arrays]
    [[0.5, 0.5], [0.0]]
    """

    def __init__(self, params: Mapping[str, Array]) -> None:
        self.names = [*params]
        self._shapes = [array.shape for array in params.values()]
        # Integers may become floats later, and half precision loses small steps.
        dtype = np.result_type(np.float32, *{array.dtype for array in params.values()})
        ends = np.cumsum([array.size for array in params.values()]).tolist()
        self._parts = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        self._before, self._now, self._step = (np.empty(ends[-1], dtype) for _ in range(3))
        self._gather(params)

    def fits(self, params: Mapping[str, Array]) -> bool:
        """Whether these parameters have the shapes of the first ones."""
        return [array.shape for array in params.values()] == self._shapes

    def advance(self, params: Mapping[str, Array]) -> None:
        """Make ``arrays`` the step from the parameters before to these, which must fit, and keep these."""
        self._before, self._now = self._now, self._before
        self._gather(params)
        np.subtract(self._before, self._now, out=self._step)

    @property
    def arrays(self) -> list[tuple[Array, Array]]:
        """For each array, its values before minus those now, and its values now, both as vectors."""
        step, now = self._step, self._now
        return [(step[part], now[part]) for part in self._parts]

    def _gather(self, params: Mapping[str, Array]) -> None:
        parts = [params.flat] if isinstance(params, FlatArrays) else [array.reshape(-1) for array in params.values()]
        np.concatenate(parts, out=self._now, casting="same_kind")
