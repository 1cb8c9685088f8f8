"""The base class of optimizers, which keeps their state and runs their steps block by block."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, FlatArrays, FloatArray
from rnncallbacks.errors import OptionError, RunStateError, ShapeError

BLOCK_ELEMENTS = 2**15
"""Array elements per block, 128 KiB in float32. The four or five blocks of a step stay in the second-level cache."""


class ParameterBlock(NamedTuple):
    """A part of the parameters, the same part of each array of the state, and two work arrays."""

    parameter: FloatArray
    slots: list[FloatArray]
    first: FloatArray
    second: FloatArray


@attrs.define(eq=False, kw_only=True)
class Optimizer(ABC):
    """The base class of optimizers, which keeps their state and runs their steps block by block.

    A subclass names the arrays of its state in ``_state_arrays`` and implements ``_update``, which changes one block in
    place.

    Attributes
    ----------
    state:
        ``"step"``, the number of steps taken (a 0-d integer array), and the flat arrays of the optimizer by name, as
        long as the parameters. All are changed in place. To restore a checkpoint, write into them.
    """

    state: dict[str, Array] = attrs.field(init=False, factory=dict, repr=False)
    _parameters: FlatArrays | None = attrs.field(init=False, default=None, repr=False)
    _blocks: list[tuple[slice, ParameterBlock]] = attrs.field(init=False, factory=list, repr=False)

    def bind(self, parameters: FlatArrays) -> None:
        """Set the parameters that ``step`` changes, and reset the state. Nothing happens if they are bound already."""
        if parameters is self._parameters:
            return
        flat = parameters.flat
        self._parameters = parameters
        self.state = {"step": np.zeros((), dtype=np.int64)}
        for name, start in self._state_arrays().items():
            self.state[name] = np.full_like(flat, start)
        slots = [array for name, array in self.state.items() if name != "step"]
        scratch = np.empty((2, min(BLOCK_ELEMENTS, flat.size)), dtype=flat.dtype)
        self._blocks = []
        for begin in range(0, flat.size, BLOCK_ELEMENTS):
            part = slice(begin, min(begin + BLOCK_ELEMENTS, flat.size))
            first, second = scratch[:, : part.stop - begin]
            self._blocks.append((part, ParameterBlock(flat[part], [array[part] for array in slots], first, second)))

    def __reduce__(self) -> tuple[Callable[..., Optimizer], tuple[Any, ...]]:
        # The blocks are views of parameters and state, which would be copied as arrays of their own.
        chosen = {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.init}
        return _restored, (type(self), chosen, self._parameters, self.state)

    def step(self, gradients: FlatArrays, learning_rate: float) -> None:
        """Update the parameters in place. The gradients are not changed.

        Raises
        ------
        RunStateError
            ``bind`` was not called.
        ShapeError
            The gradients do not have the size of the parameters.
        OptionError
            The learning rate is negative or not finite.
        """
        if self._parameters is None:
            raise RunStateError(f"{type(self).__name__}: step before bind", hint="call bind(model.parameters) first")
        flat = gradients.flat
        if flat.shape != self._parameters.flat.shape:
            raise ShapeError(
                f"{type(self).__name__}: expected gradients of {self._parameters.flat.size} numbers, as in the "
                f"parameters, got {flat.size}",
                hint="use one optimizer per model, or call bind with the other parameters first",
            )
        if not 0.0 <= learning_rate < math.inf:
            raise OptionError(f"learning_rate: expected a finite number of 0 or more, got {learning_rate!r}")
        count = self.state["step"]
        count += 1
        coefficients = self._coefficients(float(learning_rate), int(count))
        for part, block in self._blocks:
            self._update(block, flat[part], coefficients)

    def _state_arrays(self) -> dict[str, float]:
        """The names of the state's arrays, and their initial values."""
        return {}

    def _coefficients(self, learning_rate: float, count: int) -> tuple[float, ...]:
        """The coefficients of ``_update`` in all blocks of step ``count``, counted from 1."""
        return (learning_rate,)

    @abstractmethod
    def _update(self, block: ParameterBlock, gradient: FloatArray, coefficients: tuple[float, ...]) -> None:
        """Change one block of the parameters and of the state. The gradient must not be changed."""


def _restored(
    kind: type[Optimizer], chosen: Mapping[str, Any], parameters: FlatArrays | None, state: Mapping[str, Array]
) -> Optimizer:
    optimizer = kind(**chosen)
    if parameters is not None:
        optimizer.bind(parameters)
        for name, array in optimizer.state.items():
            array[...] = state[name]
    return optimizer


def decayed_gradient(gradient: FloatArray, parameter: FloatArray, weight_decay: float, out: FloatArray) -> FloatArray:
    """The gradient with weight decay, in ``out`` because the caller's gradient must not be changed."""
    if not weight_decay:
        return gradient
    np.multiply(parameter, weight_decay, out)
    np.add(out, gradient, out)
    return out
