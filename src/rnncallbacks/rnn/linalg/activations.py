"""Hyperbolic tangents in as few passes over memory as NumPy allows."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from rnncallbacks.arrays.containers import FloatArray

Elementwise = Callable[[FloatArray, FloatArray], object]

# Array elements. From this size, the five calls of tanh_by_exponential take less time than one of numpy.tanh, in
# float32 on a processor without AVX-512.
_MIN_SIZE_FOR_EXPONENTIAL = 1500


def tanh_by_exponential(values: FloatArray, out: FloatArray) -> None:
    r"""Write the hyperbolic tangent to ``out``, which may be ``values``.

    .. math:: \tanh x = 1 - \frac{2}{1 + e^{2x}}

    The absolute error is at most 2 ulp of 1: 2.4e-7 in float32 and 4.5e-16 in float64. The largest error of any float32
    from 2**-26 to 16 in magnitude is 1.94e-7 where NumPy uses AVX-512 or AVX2, and 1.79e-7 where it uses neither. An
    infinite exponential gives 1.

    Example
    -------
    >>> values = np.array([-1000.0, 0.0, 0.5, 1000.0])
    >>> with np.errstate(over="ignore"):
    ...     tanh_by_exponential(values, values)
    >>> values.round(4)
    array([-1.    ,  0.    ,  0.4621,  1.    ])
    """
    np.add(values, values, out)
    np.exp(out, out)
    np.add(out, 1.0, out)
    np.divide(2.0, out, out)
    np.subtract(1.0, out, out)


def select_tanh(size: int, dtype: np.dtype[np.floating]) -> Elementwise:
    """The faster hyperbolic tangent for arrays of ``size`` elements on this machine.

    The choice depends on size, dtype and machine only, so a repeated computation rounds in the same way.
    """
    by_exponential = size >= _MIN_SIZE_FOR_EXPONENTIAL and dtype == np.float32 and not has_avx512()
    return tanh_by_exponential if by_exponential else np.tanh


@functools.cache
def has_avx512() -> bool:
    """Whether NumPy uses AVX-512, with which its float32 tanh is as fast as its exponential."""
    features = np.show_config(mode="dicts")["SIMD Extensions"]
    # NumPy 2.4 renamed AVX512_SKX to X86_V4.
    return bool({"AVX512_SKX", "X86_V4"} & {*features.get("baseline", ()), *features.get("found", ())})
