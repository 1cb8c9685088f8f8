"""The compilation of kernels.

Importing this module imports numba, so the rest of the package imports it only when compiled kernels are requested. A
kernel is compiled on its first call, and its machine code is kept for later processes.

Rules for kernels:

- The compiler vectorizes a loop only if it knows that the loop's arrays do not overlap. So an array that is overwritten
  is passed once, arrays are cut to one dimension before a loop, and long formulas are split into several loops over a
  row, which stays in the first-level cache.
- The compiler may fuse multiplications with additions. It must not assume that numbers are finite. Comparisons are
  written so that NaN fails them and is preserved.
- A kernel calls kernels of its own file only. Numba recompiles a kernel when its file has changed, and does not check
  the files that it imports.
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


def compiled_sum(kernel: Kernel) -> Kernel:
    """Compile a kernel whose sums may be computed in any order."""
    return cast(Kernel, numba.njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})(kernel))


def float32_constants(*values: float) -> tuple[Any, ...]:
    """The values as float32. Python floats would turn the arithmetic of a kernel into double precision."""
    return tuple(np.float32(value) for value in values)
