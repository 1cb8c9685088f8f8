"""How kernels are compiled.

Importing this module imports numba, so only what was told to use compiled kernels does. A kernel is compiled when it is
first called, and its machine code is kept for the next process.

A loop becomes vector instructions only if the compiler can tell its arrays apart. So kernels get what they overwrite
once, cut arrays to one dimension before a loop, and compute long formulae by several loops over a row, which stays in
the first-level cache.

The compiler may fuse multiplications with additions. It may not assume that numbers are finite, and comparisons are
written such that a NaN fails them and stays.

Numba compiles a kernel again when its own file has changed, and does not look at the files that it imports. So kernels
call none of another file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """Compile a kernel."""
    return cast(Kernel, numba.njit(cache=True, error_model="numpy", fastmath={"contract"})(kernel))


def summing(kernel: Kernel) -> Kernel:
    """Compile a kernel that may add up numbers in any order."""
    return cast(Kernel, numba.njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})(kernel))


def constants(*values: float) -> tuple[Any, ...]:
    """Numbers for kernels. Python's own would make all arithmetic with them double."""
    return tuple(np.float32(value) for value in values)
