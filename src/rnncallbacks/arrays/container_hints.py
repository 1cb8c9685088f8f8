"""The remedy where an object was given that is no container of arrays, such as a model or a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np


def replacement_for(node: object) -> str:
    """What to pass in place of an object.

    Example
    -------
    >>> replacement_for(2.0)
    'leave it out, or make it an array, which can be changed in place: np.asarray(...)'
    """
    if isinstance(node, int | float | complex | np.generic):
        return "leave it out, or make it an array, which can be changed in place: np.asarray(...)"
    if isinstance(getattr(node, "parameters", None), Mapping):
        return "pass its arrays: model.parameters"
    if callable(getattr(node, "named_parameters", None)):
        return "pass its tensors by name: dict(model.named_parameters())"
    if isinstance(node, Iterator):
        return "pass a dict or a list of arrays, dict(model.named_parameters()): an iterator ends after one pass"
    names = _array_names(getattr(node, "__dict__", {}))
    if names:
        pairs = ", ".join(f"{name!r}: model.{name}" for name in names)
        return f"pass its arrays: {{{pairs}}}"
    return "leave it out: a container holds arrays, and containers of arrays, alone"


def _array_names(attributes: Mapping[str, object]) -> list[str]:
    return [name for name, value in attributes.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
