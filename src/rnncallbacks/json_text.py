"""JSON as the library writes it: a number that is not finite is a word, for JSON has no such number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Plain values as JSON; "NaN", "Infinity" and "-Infinity" stand for the numbers of these names.

    Example
    -------
    >>> json_text({"loss": [float("nan"), 0.5]})
    '{"loss": ["NaN", 0.5]}'
    """
    return json.dumps(worded(value), allow_nan=False, indent=indent)


def worded(value: Any) -> Any:
    """The same values with words for the numbers that are not finite.

    Example
    -------
    >>> worded({"best": float("-inf"), "epochs": (1, 2)})
    {'best': '-Infinity', 'epochs': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {key: worded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [worded(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def number(value: Any) -> float | None:
    """The number that a value of such a text stands for, or None if it is none.

    Example
    -------
    >>> number("-Infinity"), number(3), number("a note")
    (-inf, 3.0, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value) if type(value) is str else None
