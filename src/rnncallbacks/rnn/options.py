"""Validators of the options of models and optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from rnncallbacks.errors import OptionError, closest
from rnncallbacks.rnn.checks import check_count

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def count(at_least: int = 1) -> Validator:
    """An integer of at least ``at_least``."""

    def validate(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        check_count(f"{type(owner).__name__}: {field.name}", value, at_least)

    return validate


def number(*, at_least: float, below: float = math.inf) -> Validator:
    """A finite number, ``at_least`` or more and less than ``below``."""

    def validate(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not _is_number(value) or not at_least <= value < below:
            raise OptionError(
                f"{type(owner).__name__}: {field.name}: expected a number of at least {at_least:g} and "
                f"{'finite' if below == math.inf else f'less than {below:g}'}, got {value!r}"
            )

    return validate


def one_of(*choices: str) -> Validator:
    """One of some words."""

    def validate(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            expected = " or ".join(repr(choice) for choice in choices)
            raise OptionError(
                f"{type(owner).__name__}: {field.name}: expected {expected}, got {value!r}",
                hint=closest(value, choices) if isinstance(value, str) else "",
            )

    return validate


def flag(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise OptionError(f"{type(owner).__name__}: {field.name}: expected True or False, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
