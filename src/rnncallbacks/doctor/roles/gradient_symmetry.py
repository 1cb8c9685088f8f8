r"""Whether gradients are those of one function: their derivative is then symmetric.

A script may report another number than the one it descends: an absolute error in place of a squared one, or an
accuracy. Its gradients :math:`g` then differ from the derivatives of the reported number without being wrong. For the
gradients of one function, and steps :math:`s_i` of the arrays, the second derivatives agree:
:math:`s_j \cdot \partial_{s_i} g_j = s_i \cdot \partial_{s_j} g_i`. A term that is missing from a backward pass, or an
array that is off by a factor, breaks this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.roles.role_table import ParameterRole
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.doctor.watch_messages import ReplayRequest
from rnncallbacks.doctor.watched_script import FrozenIteration, ReplayError


@attrs.frozen(kw_only=True)
class SymmetryThresholds:
    """Tolerances of two second derivatives. Chosen by eye."""

    difference: float = 2e-3
    """Largest difference of the two second derivatives of a pair of arrays, over the larger one."""
    float32_difference: float = 5e-2
    """The same in float32."""
    smallest: float = 1e-3
    """Second derivative of a pair over the root of the product of those of its arrays, below which it is
    inconclusive."""
    share: float = 0.5
    """Smallest share of arrays in a conclusive pair."""


SYMMETRY = SymmetryThresholds()


def is_gradient_of_one_function(
    parameters: Sequence[ParameterRole], pushes: Mapping[Key, Push], frozen: FrozenIteration
) -> bool | None:
    """Whether the gradients of these parameters are those of one function; None if it is unknown."""
    with_gradient = [one for one in parameters if one.gradient is not None]
    steps = [pushes[one.key].step for one in with_gradient]
    double = all(step.dtype == np.float64 for step in steps)
    wanted = frozenset(one.gradient for one in with_gradient if one.gradient is not None)
    rows = []
    for one, step in zip(with_gradient, steps, strict=True):
        start = pushes[one.key].record.start[one.key]
        try:
            up = frozen.replay(ReplayRequest({one.key: start + step}, arrays=wanted))
            down = frozen.replay(ReplayRequest({one.key: start - step}, arrays=wanted))
        except ReplayError:
            return None
        row = []
        for other, along in zip(with_gradient, steps, strict=True):
            above, below = (_gradient(other, answer) for answer in (up, down))
            if not all(isinstance(value, np.ndarray) and value.shape == along.shape for value in (above, below)):
                return None
            row.append(other.scale * float(np.vdot(above - below, along)) / 2)
        rows.append(row)
    return is_symmetric(np.array(rows), double=double)


def _gradient(one: ParameterRole, record: IterationRecord) -> Any:
    return None if one.gradient is None else record.get(one.gradient)


def is_symmetric(second: Any, *, double: bool = True) -> bool | None:
    """Whether a matrix of second derivatives is symmetric; None if too few of its entries are conclusive.

    Example
    -------
    >>> right, wrong = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[2.0, 0.5], [0.9, 1.0]])
    >>> is_symmetric(right), is_symmetric(wrong), is_symmetric(np.eye(2))
    (True, False, None)
    """
    if len(second) < 2 or not np.isfinite(second).all():
        return None
    own = np.abs(np.diag(second))
    larger = np.maximum(np.abs(second), np.abs(second.T))
    speaks = larger > SYMMETRY.smallest * np.sqrt(np.outer(own, own))
    np.fill_diagonal(speaks, False)
    speaks &= larger > 0
    tolerance = SYMMETRY.difference if double else SYMMETRY.float32_difference
    if (np.abs(second - second.T) > tolerance * larger)[speaks].any():
        return False
    return True if speaks.any(axis=0).mean() >= SYMMETRY.share else None
