"""What a script hands to a run, checked: one loss, whole counts, a learning rate. Each error says what came."""

from __future__ import annotations

import numbers
import reprlib
from typing import Any

import numpy as np

from rnncallbacks.errors import LossError, OptionError


def as_loss(loss: Any, what: str) -> float:
    """The loss as a float, if it is one number; ``what`` names the call in an error."""
    if type(loss) is float:
        return loss
    number = loss.item() if isinstance(loss, (np.ndarray, np.generic)) and loss.ndim == 0 else loss
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise LossError(
            f"{what}: expected the batch's loss as one number, got {describe(loss)}",
            hint="average over time steps and sequences first, for example losses.mean()",
        )
    return float(number)


def as_count(value: Any, what: str, name: str) -> int:
    """The value as an int, if it is a whole number of at least 1."""
    if type(value) is int and value > 0:
        return value
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise OptionError(f"{what}: expected {name} to be a whole number >= 1, got {describe(value)}")
    return int(value)


def describe(value: object) -> str:
    """The value in a few words, an array by its shape."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"{type(value).__name__} {reprlib.repr(value)}" if value is not None else "None"
