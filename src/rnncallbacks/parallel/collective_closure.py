"""The closure of a batch that several ranks share: the loss of all rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncallbacks.arrays.containers import Array, FlatArrays, named_arrays
from rnncallbacks.core.closure import ClosureError, restore_afterwards
from rnncallbacks.parallel.communicator import Communicator

if TYPE_CHECKING:
    from rnncallbacks.core.run import Run


class CollectiveClosure:
    """The batch's loss over all ranks, at the current parameters of rank 0.

    Parameters
    ----------
    evaluate:
        Evaluates the closures of all ranks. It returns the sum of their losses, each times the rank's share of the
        weight, and the number of ranks that could not evaluate their closure.
    """

    def __init__(self, evaluate: Callable[[], tuple[float, int]]) -> None:
        self._evaluate = evaluate

    def __call__(self) -> float:
        """The loss.

        Raises
        ------
        ClosureError
            A rank could not evaluate its closure.
        """
        loss, failed = self._evaluate()
        if failed:
            raise ClosureError(f"the closure failed on {failed} of the ranks")
        return loss


class ClosureEvaluation:
    """Evaluates the closures of one batch on all ranks, at the parameters of rank 0.

    Parameters
    ----------
    run:
        The run of this rank.
    communicator:
        The ranks.
    """

    def __init__(self, run: Run, communicator: Communicator) -> None:
        self._run = run
        self._ranks = communicator
        self._packing = Packing()

    def evaluate(self, closure: Callable[[], Any] | None, share: float) -> tuple[float, int]:
        """The loss over all ranks, and the number of ranks without one. All ranks must call it.

        Parameters
        ----------
        closure:
            The closure of this rank's rows, or None.
        share:
            The rows' share of the batch's weight, from 0 to 1.
        """
        arrays = whole_arrays(self._run.params)
        with restore_afterwards([] if self._ranks.rank == 0 else arrays):
            for buffer in self._packing.packed(arrays):
                self._ranks.broadcast(buffer)
            self._packing.unpack(arrays)
            result = np.array(weighted_loss(closure, share), dtype=float)
        self._ranks.sum(result)
        return float(result[0]), int(result[1])


def whole_arrays(container: Any) -> list[Array]:
    """The arrays of a container, or the one buffer of all of them."""
    return [container.flat] if isinstance(container, FlatArrays) else list(named_arrays(container, "params").values())


def weighted_loss(closure: Callable[[], Any] | None, share: float) -> tuple[float, int]:
    """A rank's loss times its share of the batch's weight, and 1 if the loss could not be evaluated, else 0."""
    if closure is None:
        return 0.0, 1
    if share == 0.0:
        return 0.0, 0
    try:
        loss = float(closure())
    except ClosureError:
        return 0.0, 1
    return loss * share if not math.isnan(loss) else math.nan, 0


class Packing:
    """Buffers for arrays that have the same shapes and dtypes in each call.

    A contiguous array that is the only one of its dtype, such as the buffer of a network's parameters, is not copied.

    Example
    -------
    >>> packing, arrays = Packing(), [np.ones(2), np.full((2, 1), 2.0)]
    >>> for buffer in packing.packed(arrays):
    ...     buffer *= 10
    >>> packing.unpack(arrays)
    >>> arrays
    [array([10., 10.]), array([[20.],
           [20.]])]
    """

    def __init__(self) -> None:
        self._buffers: dict[np.dtype[np.generic], Array] = {}

    def packed(self, arrays: Sequence[Array]) -> list[Array]:
        """One buffer for each dtype, with the entries of the arrays."""
        groups = _by_dtype(arrays)
        buffers = []
        for dtype, group in groups.items():
            if _is_buffer(group):
                buffers.append(group[0])
                continue
            size = sum(array.size for array in group)
            buffer = self._buffers.get(dtype)
            if buffer is None or buffer.size != size:
                buffer = self._buffers[dtype] = np.empty(size, dtype)
            np.concatenate([array.reshape(-1) for array in group], out=buffer)
            buffers.append(buffer)
        return buffers

    def unpack(self, arrays: Sequence[Array]) -> None:
        """Write the buffers of the last call back into the arrays."""
        for dtype, group in _by_dtype(arrays).items():
            if _is_buffer(group):
                continue
            begin = 0
            for array in group:
                array[...] = self._buffers[dtype][begin : begin + array.size].reshape(array.shape)
                begin += array.size


def _by_dtype(arrays: Sequence[Array]) -> dict[np.dtype[np.generic], list[Array]]:
    groups: dict[np.dtype[np.generic], list[Array]] = {}
    for array in arrays:
        groups.setdefault(array.dtype, []).append(array)
    return groups


def _is_buffer(group: list[Array]) -> bool:
    return len(group) == 1 and group[0].flags.c_contiguous
