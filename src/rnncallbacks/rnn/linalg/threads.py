"""The number of threads that the linear algebra library uses for the products of one time step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

# Multiplications of the product of one step. Below, threads wait for one another longer than they compute. The
# exact number is chosen by eye.
MIN_MULTITHREADED_MULTIPLICATIONS = 2**21


def with_step_threads(multiplications: int, compute: Callable[..., object], *arguments: object) -> None:
    """Call ``compute(*arguments)``, with a single thread if the product of each step is small.

    The products of a recurrence wait for one another, and most are too small to be shared between threads. Products of
    2**21 or more multiplications use all threads, as do the products over whole sequences outside of the recurrence.
    The number of threads is never raised. It is restored afterwards, also after an error or Ctrl-C.

    Parameters
    ----------
    multiplications:
        Of the product of one step: rows times columns times inner size.
    compute, arguments:
        The recurrence, and its arguments.

    Example
    -------
    >>> with_step_threads(32 * 128 * 128, print, "all steps")
    all steps
    """
    lowered: list[tuple[Any, int]] = []
    # Not a context manager: a Ctrl-C that arrives while Python enters __exit__ would skip the restoration.
    try:
        if multiplications < MIN_MULTITHREADED_MULTIPLICATIONS:
            _lower(lowered)
        compute(*arguments)
    finally:
        try:
            _restore(lowered)
        finally:
            # A Ctrl-C may have interrupted the first call.
            _restore(lowered)


def linear_algebra_threads() -> int:
    """The number of threads that the linear algebra library uses now."""
    return max((library.get_num_threads() for library in _libraries()), default=1)


def _lower(lowered: list[tuple[Any, int]]) -> None:
    for library in _libraries():
        threads = library.get_num_threads()
        if threads > 1:
            lowered.append((library, threads))
            library.set_num_threads(1)


def _restore(lowered: list[tuple[Any, int]]) -> None:
    while lowered:
        library, threads = lowered[-1]
        library.set_num_threads(threads)
        lowered.pop()


@functools.cache
def _libraries() -> tuple[Any, ...]:
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)
