"""Gradients that vanish on their way back through time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncallbacks.gradients import global_norm

VANISHED = 1e-4
"""The share of a gradient that is left at the first step, where it vanishes."""

LEAST_STEPS = 10


def share_left(hidden_gradients: Any) -> float | None:
    """The norm of the gradient at the first time step beside the largest one; time is the list or the first axis.

    None if there are fewer than ten steps, or numbers that are not finite, or if the gradient was cut off on purpose:
    it is exactly zero at the first step, and far from that where it ends.

    Example
    -------
    >>> share_left([np.full(3, 0.5**t) for t in range(19, -1, -1)]) < 1e-5
    True
    """
    if not isinstance(hidden_gradients, np.ndarray | Sequence) or len(hidden_gradients) < LEAST_STEPS:
        return None
    steps = [np.asarray(step) for step in hidden_gradients]
    if any(step.dtype.kind != "f" for step in steps):
        return None
    norms = [global_norm([step]) for step in steps]
    largest = max(norms)
    if not math.isfinite(largest) or largest == 0.0:
        return None
    reached = [norm for norm in norms if norm > 0.0]
    if norms[0] == 0.0 and reached[0] > VANISHED * largest:
        return None
    return norms[0] / largest
