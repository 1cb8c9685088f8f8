"""Division of data into parts for training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy.typing as npt

from rnncallbacks.errors import DataError, OptionError

Sequential = TypeVar("Sequential", str, list[Any], npt.NDArray[Any])
Item = TypeVar("Item")


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


def train_validation_test(
    sequences: Sequence[Item], validation: float = 0.1, test: float = 0.1
) -> tuple[list[Item], list[Item], list[Item]]:
    """The first, middle and last part of the sequences: by default 80 %, 10 % and 10 % of them.

    Raises
    ------
    OptionError
        A fraction is not between 0 and 1, or their sum leaves nothing for training.
    DataError
        A part would be empty.

    Example
    -------
    >>> [len(part) for part in train_validation_test(list(range(100)))]
    [80, 10, 10]
    """
    for name, fraction in (("validation", validation), ("test", test)):
        if not 0.0 < fraction < 1.0:
            raise OptionError(f"{name}: expected a fraction between 0 and 1, got {fraction!r}")
    if validation + test >= 1.0:
        raise OptionError(f"validation {validation} and test {test} leave nothing for training")
    total = len(sequences)
    tested = round(test * total)
    trained = total - tested - round(validation * total)
    parts = list(sequences[:trained]), list(sequences[trained : total - tested]), list(sequences[total - tested :])
    if not all(parts):
        raise DataError(
            f"{total} sequences are too few for validation {validation} and test {test}: the parts would have "
            f"{', '.join(str(len(part)) for part in parts)}"
        )
    return parts
