"""Validators and converters for attrs fields: the options of plugins, models and optimizers.

A validator raises :class:`~rnncallbacks.errors.OptionError` with the class, the field, the expected value and the
given one.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rnncallbacks.errors import OptionError, closest, short_repr

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def number(
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> Validator:
    """A validator for a finite number within bounds.

    Example
    -------
    >>> @attrs.define
    ... class Clip:
    ...     max_norm: float = attrs.field(validator=number(above=0))
    >>> Clip(0.0)
    Traceback (most recent call last):
    rnncallbacks.errors.OptionError: Clip: max_norm: expected a number > 0, got 0.0
    """
    bounds = {">": above, ">=": at_least, "<": below, "<=": at_most}
    wanted = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None)

    def validate(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float, np.integer, np.floating))
            or not math.isfinite(value)
            or (above is not None and value <= above)
            or (at_least is not None and value < at_least)
            or (below is not None and value >= below)
            or (at_most is not None and value > at_most)
        ):
            raise _refusal(owner, field, f"a number {wanted}" if wanted else "a finite number", value)

    return validate


def count(at_least: int = 1) -> Validator:
    """A validator for an integer of at least ``at_least``."""

    def validate(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < at_least:
            raise _refusal(owner, field, f"an integer >= {at_least}", value)

    return validate


def one_of(*choices: str) -> Validator:
    """A validator for one of several strings."""

    def validate(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            hint = closest(value, choices) if isinstance(value, str) else ""
            raise _refusal(owner, field, " or ".join(repr(choice) for choice in choices), value, hint)

    return validate


def flag(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """The validator for True or False."""
    if not isinstance(value, bool):
        raise _refusal(owner, field, "True or False", value)


def column(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """The validator for the name of a history column."""
    if not isinstance(value, str) or not value.isidentifier():
        raise _refusal(owner, field, "the name of a history column, such as 'val_loss'", value)


def text(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """The validator for a string that is not empty, such as a name or an address."""
    if not isinstance(value, str) or not value:
        raise _refusal(owner, field, "a non-empty string", value)


def as_tuple(value: Any) -> Any:
    """The converter for :func:`words` and :func:`tuple_of`: makes a list a tuple, and passes on anything else."""
    return tuple(value) if isinstance(value, list) else value


def words(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """The validator for a tuple of strings, with the converter :func:`as_tuple`."""
    if not isinstance(value, tuple) or not all(isinstance(word, str) for word in value):
        raise _refusal(owner, field, "a list of strings", value)


def tuple_of(member: Validator) -> Validator:
    """A validator for a tuple whose items pass another validator, with the converter :func:`as_tuple`."""

    def validate(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, tuple):
            raise _refusal(owner, field, "a list", value)
        for item in value:
            member(owner, field, item)

    return validate


def as_path(value: Any) -> Any:
    """The converter for :func:`path`: makes a string a path, and passes on anything else, the empty string too."""
    return Path(value) if isinstance(value, str | os.PathLike) and value != "" else value


def path(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """The validator for a path, with the converter :func:`as_path`."""
    if not isinstance(value, Path) or not _is_encodable(value):
        raise _refusal(owner, field, "a path", value)


def _is_encodable(value: Path) -> bool:
    """Whether the operating system takes a path: it takes no NUL, and no surrogate that does not stand for a byte."""
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _refusal(owner: Any, field: attrs.Attribute[Any], expected: str, value: Any, hint: str = "") -> OptionError:
    return OptionError(f"{type(owner).__name__}: {field.name}: expected {expected}, got {short_repr(value)}", hint=hint)
