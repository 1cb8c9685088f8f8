"""How many threads the linear algebra library uses for the products of one time step."""

from __future__ import annotations

import functools
from types import TracebackType
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

# Multiplications. Below, threads wait for one another longer than they compute.
MANY = 2**22


class StepThreads:
    """While it is entered, the products of one step are computed by one thread if they are small.

    A recurrence is a chain of products that wait for one another, each too small to be shared out at a profit. With
    2**22 multiplications and more, they are left to as many threads as there are. All other products of a training
    step are over whole sequences, and are left alone too. On the way out, all is as it was; the number of threads is
    never raised, whoever has set it.

    Parameters
    ----------
    multiplications:
        Of one step's product, rows times columns times inner size.

    Example
    -------
    >>> with StepThreads(32 * 128 * 128):
    ...     pass
    """

    def __init__(self, multiplications: int) -> None:
        self._lowered: list[tuple[Any, int]] = []
        self._small = multiplications < MANY

    def __enter__(self) -> None:
        if self._small:
            for library in _libraries():
                threads = library.get_num_threads()
                if threads > 1:
                    library.set_num_threads(1)
                    self._lowered.append((library, threads))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._lowered:
            library, threads = self._lowered.pop()
            library.set_num_threads(threads)


@functools.cache
def _libraries() -> tuple[Any, ...]:
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)
