"""The steps of the parameters from one batch to the next, from copies in one buffer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, FlatArrays
from rnncallbacks.core.plugin_state import state_field


@attrs.define(eq=False)
class ParameterSteps:
    """A copy of the parameters, and the step from it to those of the next batch.

    The copies of all arrays share one buffer: for small arrays, the calls take longer than the arithmetic.

    Attributes
    ----------
    names:
        The names of the arrays, in order.

    Example
    -------
    >>> params = {"w": np.array([[3.0, 4.0]]), "b": np.array([1.0])}
    >>> steps = ParameterSteps.begin(params)
    >>> params["w"] -= 0.5
    >>> steps.advance(params)
    >>> [step.tolist() for step, now in steps.arrays]
    [[0.5, 0.5], [0.0]]
    """

    names: list[str]
    _shapes: list[tuple[int, ...]]
    _now: Array
    _before: Array | None = state_field(None, saved=False)
    _step: Array | None = state_field(None, saved=False)

    @classmethod
    def begin(cls, params: Mapping[str, Array]) -> ParameterSteps:
        """Copy the parameters, which may be of any real dtype, by name."""
        # Integers may become floats later, and half precision loses small steps.
        dtype = np.result_type(np.float32, *{array.dtype for array in params.values()})
        size = sum(array.size for array in params.values())
        return cls([*params], [array.shape for array in params.values()], _filled(np.empty(size, dtype), params))

    def fits(self, params: Mapping[str, Array]) -> bool:
        """Whether these parameters have the shapes of the first ones."""
        return all(array.shape == shape for array, shape in zip(params.values(), self._shapes, strict=True))

    def advance(self, params: Mapping[str, Array]) -> None:
        """Make ``arrays`` the step from the parameters before to these, which must fit, and keep these."""
        if self._before is None or self._step is None:
            self._before, self._step = np.empty_like(self._now), np.empty_like(self._now)
        self._before, self._now = self._now, _filled(self._before, params)
        np.subtract(self._before, self._now, out=self._step)

    @property
    def arrays(self) -> list[tuple[Array, Array]]:
        """For each array, its values before minus those now, and its values now, both as vectors."""
        assert self._step is not None, "advance comes first"
        ends = np.cumsum([math.prod(shape) for shape in self._shapes]).tolist()
        return [(self._step[start:end], self._now[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _filled(buffer: Array, params: Mapping[str, Array]) -> Array:
    """The buffer, with the values of all arrays."""
    parts = [params.flat] if isinstance(params, FlatArrays) else [array.reshape(-1) for array in params.values()]
    np.concatenate(parts, out=buffer, casting="same_kind")
    return buffer
