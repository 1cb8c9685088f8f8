"""The loss of a batch with all parameters at zero, by its closure or by a recognized network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.closure import (
    ClosureError,
    evaluate_closure,
    evaluate_closure_once,
    restore_afterwards,
)

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class LossAtZeroThresholds:
    """Tolerances of the agreement of the closure with the reported loss."""

    smallest_closure_ratio: float = 0.67
    """Smallest ratio of the closure's loss to the reported one: with a dropout mask of its own, a closure gives another
    loss, but not one that is much smaller. Chosen by eye."""

    largest_closure_ratio: float = 1.5
    """Largest ratio of the two. Chosen by eye."""

    network_tolerance: float = 1e-5
    """Largest relative distance of the loss of a recognized network from the reported one. Chosen by eye: networks are
    recognized by nine digits, or by six of single precision."""


LOSS_AT_ZERO = LossAtZeroThresholds()


def batch_loss_function(batch: Batch, loss: float) -> Callable[[], object] | None:
    """A function that gives the loss of a batch at the current parameters: its closure, else that of a recognized
    network which gives the reported loss; None without either.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> batch_loss_function(Batch(None, "train", 1, network_loss=lambda: 2.0), 2.0)()
    2.0
    """
    if batch.closure is not None or batch.network_loss is None:
        return batch.closure
    here = batch.network_loss()
    if here is None or not math.isclose(here, loss, rel_tol=LOSS_AT_ZERO.network_tolerance):
        return None
    return batch.network_loss


def evaluate_loss_at_zero(batch: Batch, loss: float, params: Mapping[str, Array]) -> float:
    """The loss of a batch with all floating-point parameters at zero; they are restored bit for bit.

    It is that of the batch's closure or, without one, that of a network that a guard recognized.

    Raises
    ------
    ClosureError
        There is no closure or nothing to set to zero, the closure fails, gives another loss than the script, or does
        not use these parameters, or the loss at zero is not finite.

    Example
    -------
    >>> import numpy as np
    >>> from rnncallbacks.core.batch import Batch
    >>> params = {"w": np.array([3.0, 4.0])}
    >>> batch = Batch(None, "train", 1, loss=26.0, closure=lambda: 1.0 + float(params["w"] @ params["w"]))
    >>> evaluate_loss_at_zero(batch, 26.0, params), params["w"]
    (1.0, array([3., 4.]))
    """
    arrays = [array for array in params.values() if array.dtype.kind == "f"]
    closure = batch_loss_function(batch, loss)
    if closure is None:
        raise ClosureError(batch.no_closure)
    if not arrays or not all(array.flags.writeable for array in arrays):
        raise ClosureError("give the parameters to Run(params), in arrays that can be written to")
    with restore_afterwards(arrays):
        here = loss if batch.closure is None else evaluate_closure_once(batch)
        for array in arrays:
            array[...] = 0.0
        at_zero = evaluate_closure(closure)
    if loss == 0.0 or not LOSS_AT_ZERO.smallest_closure_ratio < here / loss < LOSS_AT_ZERO.largest_closure_ratio:
        raise ClosureError(f"the closure gives the loss {here:.6g}, run.backward was given {loss:.6g}")
    if at_zero == here and any(array.any() for array in arrays):
        raise ClosureError("the closure does not see run.params")
    if not math.isfinite(at_zero):
        raise ClosureError("the loss is not finite with all parameters at zero: run.observe(logits=...)")
    return at_zero
