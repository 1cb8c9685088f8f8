"""Questions put to a script's closure: the loss at other parameters, which are then put back bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.core.arguments import as_loss

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


class CannotProbe(Exception):  # noqa: N818  (a reason, which a guard notes down; no error that reaches a user)
    """The closure gives no answer; the message says why, in words that say what to do."""


def evaluate(closure: Callable[[], Any]) -> float:
    """The closure's loss.

    Raises
    ------
    CannotProbe
        It failed, or gave something else than one number.
    """
    try:
        with np.errstate(all="ignore"):
            return as_loss(closure(), "closure")
    except Exception as error:
        raise CannotProbe(f"the closure failed: {type(error).__name__}: {error}") from error


def evaluate_here(batch: Batch) -> float:
    """The closure's loss at the parameters with which the script called ``run.backward``.

    All who ask within ``on_backward`` share one answer, as a batch takes long to evaluate.

    Raises
    ------
    CannotProbe
        As in :func:`evaluate`.
    """
    if batch.closure is None:
        raise CannotProbe("pass closure= to run.backward")
    if batch._here is None:
        batch._here = evaluate(batch.closure)
    return batch._here


@contextmanager
def put_back(arrays: Iterable[Array]) -> Iterator[None]:
    """Whatever happens inside, the arrays are afterwards what they were before, bit for bit.

    Example
    -------
    >>> weights = np.array([1.0, -0.0])
    >>> with put_back([weights]):
    ...     weights[:] = 7.0
    >>> weights
    array([ 1., -0.])
    """
    kept = [(array, array.copy()) for array in arrays]
    try:
        yield
    finally:
        try:
            _write(kept)
        except BaseException:  # Ctrl-C once more, between two arrays
            _write(kept)
            raise


def _write(kept: list[tuple[Array, Array]]) -> None:
    for array, before in kept:
        array[...] = before
