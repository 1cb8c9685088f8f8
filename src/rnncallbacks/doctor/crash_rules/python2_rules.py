"""Errors of scripts that were written for Python 2, or for an early Python 3."""

from __future__ import annotations

import builtins
import re

import numpy as np

from rnncallbacks.doctor.crash_rules.failure import Advice, Failure, values_in_line
from rnncallbacks.doctor.crash_rules.python2 import PYTHON2_ATTRIBUTES, PYTHON2_BUILTINS, all_leftovers
from rnncallbacks.errors import closest

ABSTRACT = {"Callable", "Iterable", "Iterator", "Mapping", "MutableMapping", "Sequence", "Set"}
"""Names that moved from ``collections`` to ``collections.abc``."""
ITERATORS = ("map", "zip", "filter", "dict_keys", "dict_values", "dict_items", "range")
"""Types that were lists in Python 2."""
MOST_LEFTOVERS = 6
"""Largest number of listed lines of Python 2. Chosen by eye."""
EXPIRED = {
    "fractions.gcd": "math.gcd",
    "inspect.getargspec": "inspect.getfullargspec",
    "time.clock": "time.perf_counter",
}
"""Names that the standard library removed."""


def syntax(failure: Failure) -> Advice | None:
    error = failure.error
    if not isinstance(error, SyntaxError):
        return None
    if isinstance(error, TabError):
        return (
            "tabs and spaces are mixed in the indentation",
            "replace each tab by spaces; python -m tabnanny SCRIPT prints the lines",
        )
    left = all_leftovers(failure.text)
    if not left:
        return f"Python cannot parse this line: {error.msg}", "correct the line"
    listed = [f"line {one.line}: {one.found}: {one.fix}" for one in left[:MOST_LEFTOVERS]]
    more = [f"and {len(left) - MOST_LEFTOVERS} more"] if len(left) > MOST_LEFTOVERS else []
    return "the script is written for Python 2", "\n".join([*listed, *more])


def python2_names(failure: Failure) -> Advice | None:
    error = failure.error
    if isinstance(error, NameError) and error.name:
        if error.name in PYTHON2_BUILTINS:
            return f"{error.name} exists only in Python 2", f"write {PYTHON2_BUILTINS[error.name]}"
        known = [*failure.names, *dir(builtins)]
        return f"the name {error.name} is not defined here", closest(error.name, known) or "define it before this line"
    if isinstance(error, AttributeError) and error.name:
        whole = f"{getattr(error.obj, '__name__', '')}.{error.name}"
        if whole in EXPIRED:
            return f"Python no longer has {whole}", f"write {EXPIRED[whole]}"
        if error.name in ABSTRACT and whole.startswith("collections."):
            return f"{error.name} is in collections.abc", f"write collections.abc.{error.name}"
        if error.name in PYTHON2_ATTRIBUTES:
            return f".{error.name} exists only in Python 2", f"write {PYTHON2_ATTRIBUTES[error.name]}"
    if isinstance(error, TypeError) and ">>" in failure.line and "print" in failure.line:
        return "print >> is a statement of Python 2", "write print(..., file=...)"
    return None


def python2_lists(failure: Failure) -> Advice | None:
    """``map``, ``zip``, ``range`` and the keys of a dict were lists."""
    if not isinstance(failure.error, TypeError | AttributeError | ValueError | IndexError):
        return None
    for name in ITERATORS:
        if f"'{name}' object" in failure.message or f"type '{name}'" in failure.message:
            return f"{name.replace('dict_', 'dict.')}() does not return a list in Python 3", "write list(...) around it"
    return None


def python2_division(failure: Failure) -> Advice | None:
    index = (
        r"'(\w+\.)?float(64|32)?' object cannot be interpreted as an integer|indices must be integers"
        r"|only integers, slices|must be integers or slices, not .*float"
        r"|can't multiply sequence by non-int of type 'float'"
    )
    if not isinstance(failure.error, TypeError | IndexError) or not re.search(index, failure.message):
        return None
    if _divides(failure.line):
        return "/ gives a float in Python 3, and an integer is expected", "write // in place of /"
    for text, value in values_in_line(failure):
        if isinstance(value, float | np.floating):
            lines = failure.text.splitlines()[: failure.number]
            assigned = rf"^\s*{re.escape(text)}\s*=[^=]"
            places = [number for number, line in enumerate(lines, 1) if re.match(assigned, line) and _divides(line)]
            if places:
                cause = f"{text} is the float {value}, and an integer is expected; / gives a float in Python 3"
                return cause, f"write // in line {places[-1]}: {lines[places[-1] - 1].strip()}"
            return f"{text} is the float {value}, and an integer is expected", f"write int({text})"
    return "an integer is expected, and a float was given", "write int(...), or // in place of /"


def bytes_and_text(failure: Failure) -> Advice | None:
    if not isinstance(failure.error, TypeError | UnicodeDecodeError):
        return None
    if "write() argument must be str, not bytes" in failure.message or "bytes-like object is required, not 'str'" in (
        failure.message
    ):
        return "a file is open in text mode and holds bytes, or the reverse", "open it with 'wb' or 'rb' for pickle"
    if isinstance(failure.error, UnicodeDecodeError):
        if "pickle" in failure.line:
            return "the pickle was written by Python 2", "write pickle.load(file, encoding='latin1')"
        return "the file is not in the encoding in which it is read", "write open(path, encoding='utf-8') or 'latin-1'"
    return None


def _divides(line: str) -> bool:
    return bool(re.search(r"(?<!/)/(?!/)", re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", line)))
