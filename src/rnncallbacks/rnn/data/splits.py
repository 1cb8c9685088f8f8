"""Splits a text into a part for training and a part for validation."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy.typing as npt

from rnncallbacks.errors import DataError, OptionError

Sequential = TypeVar("Sequential", str, list[Any], npt.NDArray[Any])


def split(tokens: Sequential, held_out: float = 0.1) -> tuple[Sequential, Sequential]:
    """The first part of a text, for training, and its last fraction ``held_out``, for validation.

    Slices of an array are views, not copies.

    Raises
    ------
    OptionError
        ``held_out`` is not between 0 and 1.
    DataError
        A part would be empty.

    Example
    -------
    >>> split("0123456789", held_out=0.2)
    ('01234567', '89')
    """
    if not 0.0 < held_out < 1.0:
        raise OptionError(f"held_out: expected a fraction between 0 and 1, got {held_out!r}")
    cut = len(tokens) - round(held_out * len(tokens))
    if not 0 < cut < len(tokens):
        raise DataError(f"{len(tokens)} tokens cannot be split with held_out {held_out}: one part would be empty")
    return tokens[:cut], tokens[cut:]
