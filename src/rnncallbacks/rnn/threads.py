"""How many threads the linear algebra library uses for the products of one time step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

# Multiplications. Below, threads wait for one another longer than they compute.
MANY = 2**21


def with_step_threads(multiplications: int, compute: Callable[..., object], *arguments: object) -> None:
    """Call ``compute(*arguments)``, with one thread for the products of a step if they are small.

    A recurrence is a chain of products that wait for one another, each too small to be shared out at a profit. With
    2**21 multiplications and more, they are left to as many threads as there are. All other products of a training
    step are over whole sequences, and are left alone too. In the end, be it an error or Ctrl-C, all is as it was; the
    number of threads is never raised, whoever has set it.

    Parameters
    ----------
    multiplications:
        Of one step's product, rows times columns times inner size.
    compute, arguments:
        The recurrence, and what it is called with.

    Example
    -------
    >>> with_step_threads(32 * 128 * 128, print, "the steps, one after the other")
    the steps, one after the other
    """
    lowered: list[tuple[Any, int]] = []
    # No context manager: Ctrl-C may come when Python is already on the way into its __exit__, which then does nothing.
    try:
        if multiplications < MANY:
            _lower(lowered)
        compute(*arguments)
    finally:
        try:
            _put_back(lowered)
        finally:
            # Again, for Ctrl-C may have come within the first one.
            _put_back(lowered)


def _lower(lowered: list[tuple[Any, int]]) -> None:
    for library in _libraries():
        threads = library.get_num_threads()
        if threads > 1:
            lowered.append((library, threads))
            library.set_num_threads(1)


def _put_back(lowered: list[tuple[Any, int]]) -> None:
    while lowered:
        library, threads = lowered[-1]
        library.set_num_threads(threads)
        lowered.pop()


@functools.cache
def _libraries() -> tuple[Any, ...]:
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)
