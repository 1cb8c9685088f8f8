"""Names that NumPy removed, and their replacements."""

from __future__ import annotations

NUMPY_NAMES = {
    "Inf": "np.inf",
    "Infinity": "np.inf",
    "NAN": "np.nan",
    "NINF": "-np.inf",
    "NZERO": "-0.0",
    "NaN": "np.nan",
    "PINF": "np.inf",
    "PZERO": "0.0",
    "alen": "len",
    "alltrue": "np.all",
    "asfarray": "np.asarray(a, dtype=float)",
    "asscalar": "a.item()",
    "bool": "bool",
    "bool8": "np.bool_",
    "cast": "np.asarray(a, dtype=...)",
    "cfloat": "np.complex128",
    "complex": "complex",
    "complex_": "np.complex128",
    "cumproduct": "np.cumprod",
    "find_common_type": "np.result_type",
    "float": "float",
    "float_": "np.float64",
    "in1d": "np.isin",
    "infty": "np.inf",
    "int": "int",
    "int0": "np.intp",
    "loads": "pickle.loads",
    "long": "int",
    "longfloat": "np.longdouble",
    "mat": "np.asmatrix",
    "msort": "np.sort(a, axis=0)",
    "object": "object",
    "object0": "object",
    "product": "np.prod",
    "rank": "np.ndim",
    "round_": "np.round",
    "row_stack": "np.vstack",
    "singlecomplex": "np.complex64",
    "sometrue": "np.any",
    "str": "str",
    "str0": "str",
    "string_": "np.bytes_",
    "trapz": "np.trapezoid",
    "uint0": "np.uintp",
    "unicode": "str",
    "unicode_": "np.str_",
}
"""Names of the module ``numpy``. Sources: the release notes of NumPy 1.24 and 2.0, and the migration guide to 2.0."""
RANDOM_NAMES = {"random_integers": "np.random.randint(low, high + 1)"}
"""Names of ``numpy.random``."""
ARRAY_METHODS = {
    "itemset": "a[index] = value",
    "newbyteorder": "a.view(a.dtype.newbyteorder())",
    "ptp": "np.ptp(a)",
    "tostring": "a.tobytes()",
}
"""Methods of arrays."""
