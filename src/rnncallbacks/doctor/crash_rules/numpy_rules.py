"""Errors of NumPy, most of them new in NumPy 2, and the names that it removed."""

from __future__ import annotations

import ast
import re
from types import ModuleType

import numpy as np

from rnncallbacks.doctor.crash_rules.failure import Advice, Failure, numbers_made_in_line, values_in_line

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


def numpy_removal(failure: Failure) -> Advice | None:
    error = failure.error
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "numpy":
        for name, fix in NUMPY_NAMES.items():
            if f"name {name!r} " in failure.message:
                return f"NumPy {np.__version__} has no {name}", f"write {fix}"
    if not isinstance(error, AttributeError):
        return None
    # NumPy raises these itself, and does not fill in the name.
    removed = re.match(r"module 'numpy' has no attribute '(\w+)'|`np\.(\w+)` was removed", failure.message)
    if removed and (name := removed[1] or removed[2]) in NUMPY_NAMES:
        return f"NumPy {np.__version__} has no np.{name}", f"write {NUMPY_NAMES[name]}"
    owner, table, prefix = error.obj, {}, ""
    if isinstance(owner, ModuleType):
        table = {"numpy": NUMPY_NAMES, "numpy.random": RANDOM_NAMES}.get(owner.__name__, {})
        prefix = owner.__name__.replace("numpy", "np") + "."
    elif isinstance(owner, np.ndarray | np.generic):
        table, prefix = ARRAY_METHODS, "."
    if error.name not in table:
        return None
    return f"NumPy {np.__version__} has no {prefix}{error.name}", f"write {table[error.name]}"


def array_as_number(failure: Failure) -> Advice | None:
    scalars = r"only (0-dimensional|length-1|size-1) arrays can be converted"
    if not isinstance(failure.error, TypeError) or not re.search(scalars, failure.message):
        return None
    made = [
        one for one in numbers_made_in_line(failure) if not isinstance(one, ast.Name | ast.Attribute | ast.Subscript)
    ]
    for one in made[:1]:
        text = ast.unparse(one)
        squares = re.search(r"(?:\bdot\((\w+)\.T, |\b(\w+)\.T @ )(\w+)\b", text)
        if squares and squares[3] in squares.groups()[:2]:
            return (
                f"a number is expected, and {text} is an array",
                f"for a sum of squares write np.sum({squares[3]} ** 2)",
            )
        fix = f"write ({text}).item() if it has one entry, else its mean or its sum"
        return f"a number is expected, and {text} is an array", fix
    arrays = [(text, value) for text, value in values_in_line(failure) if isinstance(value, np.ndarray) and value.ndim]
    single = [(text, value) for text, value in arrays if value.size == 1]
    for text, value in single[:1]:
        cause = f"a number is expected, and {text} is an array of shape {value.shape}"
        return cause, f"write {text}.item(), here or where {text} is computed"
    for text, value in arrays[:1]:
        cause = f"a number is expected, and {text} is an array of {value.size} numbers, shape {value.shape}"
        return cause, f"write {text}.mean(), {text}.sum() or one of its entries"
    return "a number is expected, and an array was given", "append .item() if it has one entry"


def ragged(failure: Failure) -> Advice | None:
    if not isinstance(failure.error, ValueError) or "setting an array element with a sequence" not in failure.message:
        return None
    if "inhomogeneous" in failure.message:
        fix = "pad the sequences to one length, keep them in a list, or write np.array(..., dtype=object)"
        return "NumPy makes no array of lists with different lengths", fix
    arrays = [
        (text, value) for text, value in values_in_line(failure) if isinstance(value, np.ndarray) and value.size == 1
    ]
    for text, value in arrays[:1]:
        return f"one entry is set to {text}, an array of shape {value.shape}", f"write {text}.item()"
    return "one entry of an array is set to several numbers", "give it one number, or set a slice"


def numpy2_behavior(failure: Failure) -> Advice | None:
    if "np.sum(generator)" in failure.message:
        return (
            f"NumPy {np.__version__} does not add the items of a generator",
            "write sum(...), or np.sum([...]) of a list",
        )
    if isinstance(failure.error, TypeError) and 'must be passed as a "sequence" type' in failure.message:
        return (
            f"NumPy {np.__version__} does not stack the items of a generator",
            "write a list: [... for ...] in brackets",
        )
    if "Unable to avoid copy" in failure.message:
        return "copy=False forbids a copy since NumPy 2", "write np.asarray(...)"
    if isinstance(failure.error, OverflowError) and "out of bounds" in failure.message:
        return (
            "since NumPy 2, a number that does not fit into the dtype is an error",
            "choose a wider dtype, such as np.int64",
        )
    return None


def not_finite(failure: Failure) -> Advice | None:
    if isinstance(failure.error, ValueError) and "probabilities" in failure.message:
        arrays = [(text, value) for text, value in values_in_line(failure) if isinstance(value, np.ndarray)]
        for text, value in arrays:
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                return f"{text} is not finite: the training has diverged", "look at the learning rate and the gradients"
        if "sum to 1" in failure.message:
            return "the probabilities do not sum to 1", "divide them by their sum, in float64"
    return None
