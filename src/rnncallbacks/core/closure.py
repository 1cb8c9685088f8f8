"""Evaluates the closure at perturbed parameters, then restores them.

A closure is the function that a script passes as ``run.backward(..., closure=...)``: it returns the loss of the batch
at the current parameters. ``batch.closure`` undoes what the script's function changes, see
:mod:`script_function <rnncallbacks.core.script_function>`. Every perturbation is made inside
:func:`restore_afterwards`:

>>> weights = np.array([3.0, 4.0])
>>> with restore_afterwards([weights]):
...     weights[:] = 0.0
...     loss_at_zero = evaluate_closure(lambda: float(weights @ weights))
>>> loss_at_zero, weights
(0.0, array([3., 4.]))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.arguments import as_loss

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


class ClosureError(Exception):
    """The closure cannot be evaluated, or its loss cannot be used; the message says what the script can change.

    Guards catch it and report the message as the reason why a code was not checked.
    """


def evaluate_closure(closure: Callable[[], Any]) -> float:
    """The closure's loss at the current parameters, in the unit of the loss. Floating-point warnings are silenced.

    Raises
    ------
    ClosureError
        The closure raised an exception, or returned something other than one number.

    Example
    -------
    >>> evaluate_closure(lambda: np.float32(0.5))
    0.5
    """
    try:
        with np.errstate(all="ignore"):
            return as_loss(closure(), "closure")
    except ClosureError:
        raise
    except Exception as error:
        raise ClosureError(f"the closure failed: {type(error).__name__}: {error}") from error


def evaluate_closure_once(batch: Batch) -> float:
    """The closure's loss at the parameters of ``run.backward``, evaluated at most once per batch.

    The first call evaluates the closure; later calls return the same number. The first call must therefore come before
    the update, from ``on_backward``.

    Raises
    ------
    ClosureError
        The batch has no closure, or :func:`evaluate_closure` raises.
    """
    if batch.closure is None:
        raise ClosureError(batch.no_closure)
    if batch.closure_loss is None:
        batch.closure_loss = evaluate_closure(batch.closure)
    return batch.closure_loss


@contextmanager
def restore_afterwards(arrays: Iterable[Array]) -> Iterator[None]:
    """Restore the arrays bit for bit when the block ends, also after an exception or a keyboard interrupt.

    Example
    -------
    >>> weights = np.array([1.0, -0.0])
    >>> with restore_afterwards([weights]):
    ...     weights[:] = 7.0
    >>> weights
    array([ 1., -0.])
    """
    copies = [(array, array.copy()) for array in arrays]
    try:
        yield
    finally:
        try:
            _restore(copies)
        except BaseException:  # a second Ctrl-C may come between two arrays
            _restore(copies)
            raise


def _restore(copies: list[tuple[Array, Array]]) -> None:
    for array, copy in copies:
        array[...] = copy
