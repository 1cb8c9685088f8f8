"""The learning rate: the change of a parameter over its gradient."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, numbers_of
from rnncallbacks.doctor.roles.role_table import ParameterRole

RATE_NAMES = re.compile(r"(^|[._\['\"])(lr|learning_?rate|alpha|eta|step_?size)\b", re.IGNORECASE)
RATE_ERROR = 1e-6
"""Largest norm of the residual / norm of the change, in an update that is the learning rate times the gradient; the
rounding of the parameter is added. The residual is the part of the change that is no multiple of the gradient. Chosen
by eye."""
LARGEST_RATE_ERROR = 0.05
"""The same, with the rounding of float32. Chosen by eye."""


def learning_rate_of(
    parameters: Sequence[ParameterRole], records: Sequence[IterationRecord]
) -> tuple[float | None, bool]:
    """The learning rate, and whether the update is minus the rate times the gradient."""
    rates, plain, largest_error = [], True, RATE_ERROR
    for record in records:
        for one in parameters:
            gradient = None if one.gradient is None else record.get(one.gradient)
            # Under one name, an iteration may have an array of another shape than the others.
            if gradient is None or np.shape(gradient) != getattr(record.start.get(one.key), "shape", None):
                continue
            change = (record.end[one.key] - record.start[one.key]).reshape(-1)
            along = one.scale * np.asarray(gradient).reshape(-1)
            square = float(along @ along)
            if not square or not np.isfinite(square) or not change.any():
                continue
            rate = -float(change @ along) / square
            rounding = np.finfo(record.start[one.key].dtype).eps * np.linalg.norm(record.start[one.key])
            error = min(RATE_ERROR + float(rounding / np.linalg.norm(change)), LARGEST_RATE_ERROR)
            plain &= float(np.linalg.norm(change + rate * along)) <= error * float(np.linalg.norm(change))
            largest_error = max(largest_error, error)
            rates.append(rate)
    if rates and plain and np.ptp(rates) <= largest_error * abs(rates[0]):
        rate = float(f"{np.median(np.abs(rates)):.6g}")
        return (rate, True) if rate else (None, False)
    numbers = numbers_of(records[-1].end) | numbers_of(records[-1].inside)
    named = {value for key, value in numbers.items() if RATE_NAMES.search(key[2]) and 0 < value < 100}
    return (named.pop() if len(named) == 1 else None), False
