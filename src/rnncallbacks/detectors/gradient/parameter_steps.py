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
        parts = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        self._before, self._now, self._step = (_Buffer(np.empty(ends[-1], dtype), parts) for _ in range(3))
        self._now.fill(params)

    def fits(self, params: Mapping[str, Array]) -> bool:
        """Whether these parameters have the shapes of the first ones."""
        return all(array.shape == shape for array, shape in zip(params.values(), self._shapes, strict=True))

    def advance(self, params: Mapping[str, Array]) -> None:
        """Make ``arrays`` the step from the parameters before to these, which must fit, and keep these."""
        self._before, self._now = self._now, self._before
        self._now.fill(params)
        np.subtract(self._before.flat, self._now.flat, out=self._step.flat)

    @property
    def arrays(self) -> zip[tuple[Array, Array]]:
        """For each array, its values before minus those now, and its values now, both as vectors."""
        return zip(self._step.parts, self._now.parts, strict=True)


class _Buffer:
    """A vector, and the views of it that belong to the arrays."""

    def __init__(self, flat: Array, parts: list[slice]) -> None:
        self.flat = flat
        self.parts = [flat[part] for part in parts]

    def fill(self, params: Mapping[str, Array]) -> None:
        parts = [params.flat] if isinstance(params, FlatArrays) else [array.reshape(-1) for array in params.values()]
        np.concatenate(parts, out=self.flat, casting="same_kind")
